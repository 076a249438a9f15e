"""What carriers say: what brought the source most."""

from infoflow.analyses.carriers import Carriers
from infoflow.summaries.sentence import LIMIT, Sentence, quoted
from infoflow.tables import carriers as tables


def sentences(found: Carriers) -> tuple[Sentence, ...]:
    """The largest carrier."""
    if not found.max_error <= LIMIT:
        return (Sentence(f"The shares miss 1 by {found.max_error:.0e}, so that nothing here names a winner."),)
    largest = tables.carried(found, 1).iloc[0]
    row = found.to_frame().iloc[0]
    place = {"layer": int(row["layer"]), "head": int(row["head"])} if row["kind"] == "head" else {}
    said = f"{largest['name']} brought more of {quoted(found.source)} here than any other: {largest['share']:+.0%} of it."
    return (Sentence(said[0].upper() + said[1:], place),)
