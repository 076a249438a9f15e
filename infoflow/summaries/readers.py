"""What the readers of a head or an MLP say: how much it contributes in all, by which way, and what its write promotes."""

from infoflow.analyses.readers import Readers
from infoflow.metrics.effects import HARDLY
from infoflow.summaries.sentence import Sentence, off
from infoflow.tables import readers as tables

MUCH = 0.05
"""logits: a reader that takes less on, or a token that is moved by less, is not named"""


def sentences(found: Readers) -> tuple[Sentence, ...]:
    """The total with the direct part and the reader that takes most of it on; what is promoted and suppressed most."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    return Sentence(_by_way(found), {"layer": found.layer, "head": found.head}), Sentence(_promotes(found))


def _by_way(found: Readers) -> str:
    what = "logit" if found.against is None else "lead"
    name = f"{found.name[0].upper()}{found.name[1:]}"
    of = f" of {found.logit_total:+.2f}" if abs(found.logit_total) >= HARDLY else ""
    said = f"{name} adds {found.total:+.2f}{of} to the {what} along all paths: {found.direct:+.2f} directly"
    readers = found.to_frame().query("kind != 'direct'")
    if not len(readers):
        return f"{said}, for nothing comes after it."
    rest = found.total - found.direct
    most = readers.loc[readers["logit"].abs().idxmax()]
    if abs(float(most["logit"])) < MUCH:
        return f"{said}, {rest:+.2f} through others, none of which takes much of it on."
    through = "" if most["kind"] == "MLP" else "head "
    return f"{said}, {rest:+.2f} through others, most through {through}{most['name']} ({float(most['logit']):+.2f})."


def _promotes(found: Readers) -> str:
    high, low = (float(side[0]) for side in found.promoted)
    first, last = (tables.quoted(found.names[int(side[0])]) for side in found.token_ids)
    if max(high, -low) < MUCH:
        return "Its write at this position moves no token by much directly."
    return f"Its write at this position promotes {first} most ({high:+.2f}) and suppresses {last} most ({low:+.2f}), directly."
