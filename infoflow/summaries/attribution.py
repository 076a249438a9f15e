"""What an attribution says: which token raised the logit most, which lowered it, and which head wrote most of it."""

import numpy as np

from infoflow.analyses.attribution import Attribution
from infoflow.summaries.sentence import Sentence, adds_most, off, quoted, would_say


def sentences(found: Attribution) -> tuple[Sentence, ...]:
    """The largest contribution of either sign, and the largest head."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    what = "difference" if found.against is not None else "centred logit" if found.centred else "logit"
    parts, names = found.by_source, found.position_labels
    up, down = int(parts.argmax()), int(parts.argmin())
    if parts[up] <= 0:
        said = f"No token raises the {what}, {found.total:+.1f}"
    else:
        adds = adds_most(np.append(parts, [*found.of_no_token.values()]), [*names, *found.of_no_token])
        said = f"Of the {what}, {found.total:+.1f}, {adds}"
    lowers = f"; {quoted(names[down])} lowers it most ({parts[down]:+.1f})" if parts[down] < 0 else ""
    layer, head = (int(i) for i in np.unravel_index(int(found.by_head.argmax()), found.by_head.shape))
    wrote = f"Of all heads, {layer}.{head} writes most of it here itself: {found.by_head[layer, head]:+.1f}."
    parts_said = Sentence(f"{said}{lowers}.", {"position": up})
    if found.specific is not None:
        return parts_said, would_say(parts, found.specific, names)
    return parts_said, Sentence(wrote, {"layer": layer, "head": head})
