"""What the graph of a logit says: how much of it comes along few moves, from which token most of that, and the largest move."""

from infoflow.analyses.graph import Graph
from infoflow.summaries.sentence import Sentence, adds_most, off, quoted
from infoflow.tables import graph as tables

ENOUGH = 0.5
"""of the logit: a graph that keeps less, or misses more, names nobody"""


def sentences(found: Graph) -> tuple[Sentence, ...]:
    """The share that is kept, the token that brings most, and the largest move."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    what = tables.what(found)
    if not abs(found.share - 1) <= ENOUGH:  # nor of a logit of 0
        much = f"{found.share:.0%} of it comes along" if found.total else "there is no share that comes along"
        return (
            Sentence(
                f"{what[0].upper()}{what[1:]} is {found.total:+.1f}, and {much} {tables.moves(found)}: they do not say "
                "where it came from. A lower threshold keeps more of them."
            ),
        )
    kept = Sentence(f"{found.share:.0%} of {what} ({found.total:+.1f}) comes along {tables.moves(found)} and what stays.")
    brings = Sentence(
        f"Along these paths {adds_most(found.by_source, found.position_labels)}.", {"position": int(found.by_source.argmax())}
    )
    if not found.edges.moves.any():
        return kept, brings
    largest = tables.edges(found).query("kind == 'move'").iloc[0]
    layer, head = int(largest["layer"]), int(largest["head"])
    move = (
        f"The largest move is in layer {layer}, {largest['amount']:+.1f} from {quoted(largest['from'])} to "
        f"{quoted(largest['to'])}, most of it by head {layer}.{head}."
    )
    return kept, brings, Sentence(move, {"layer": layer, "head": head})
