"""What a split score says: how hard the head looks, and which sources of query and key that comes from."""

import numpy as np

from infoflow.analyses.query_key import POSITION, QueryKey
from infoflow.summaries.sentence import Sentence, off, quoted
from infoflow.text.tokens import BIAS, PUT_IN


def sentences(found: QueryKey) -> tuple[Sentence, ...]:
    """The score among those of its row, and its largest part; where no part raises it, that."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    place = {"layer": found.layer, "head": found.head, "position": found.query}
    names = found.position_labels
    looks = f"Head {found.layer}.{found.head} of {quoted(names[found.query])} looks at {quoted(names[found.key])}"
    visible = int(np.isfinite(found.scores).sum())
    if found.against is not None:
        rather = f"rather than at {quoted(names[found.against])} ({float(found.weights[found.against]):.0%})"
        said = f"{looks} ({found.weight:.0%}) {rather}: its score is {found.score:+.1f} above that one's"
    elif visible == 1:
        return (Sentence(f"{looks}, the only one that it may look at: whatever the score, the weight is the same.", place),)
    else:
        above = int((found.scores > found.scores[found.key]).sum())
        rank = "the highest" if above == 0 else f"after {above} higher one{'s' if above > 1 else ''},"
        said = f"{looks} ({found.weight:.0%}): score {found.score:.1f}, {rank} of {visible}"
    return Sentence(f"{said}.", place), Sentence(_from(found), place)


def _from(found: QueryKey) -> str:
    """Where most of a score comes from."""
    table = found.to_frame()
    most = table.loc[table["part"].idxmax()]
    if not most["part"] > 0:
        return "No pair of sources raises it."
    if most["query_source"] == POSITION:
        return f"The position adds most of it ({most['part']:+.1f})."
    by_query, by_key = (side.loc[side["part"].idxmax()] for side in (found.by_query(), found.by_key()))
    return (
        f"The largest part is {_called(most['query_source'])} in the query by {_called(most['key_source'])} in the key "
        f"({most['part']:+.1f}); of the query's sources {_called(by_query['source_label'])} adds most in all "
        f"({by_query['part']:+.1f}), of the key's {_called(by_key['source_label'])} ({by_key['part']:+.1f})."
    )


def _called(label: str) -> str:
    return {BIAS: "the weights' biases", PUT_IN: "what interventions put in"}.get(label) or quoted(label)
