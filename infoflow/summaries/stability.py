"""What the directions of contributions say: which source keeps its own, and which is worked over most."""

import numpy as np

from infoflow.analyses.stability import Stability
from infoflow.summaries.sentence import Sentence, off, quoted

LONG = 0.05
"""of the longest at the end: what is shorter is not named"""


def sentences(found: Stability) -> tuple[Sentence, ...]:
    """Of the sources that count at the end: from where on each points as it does at the end, the earliest and the latest."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    ends = found.norms[:, -1]
    some = np.flatnonzero(ends >= LONG * ends.max())
    half = found.dots.shape[1] // 2
    kept = {int(s): float(found.cosine[s, half, -1]) for s in some if found.norms[s, half] > 0}
    if not kept:
        return (Sentence("No source that counts at the end is there halfway through."),)
    row = found.rows[half]
    most, least = max(kept, key=kept.__getitem__), min(kept, key=kept.__getitem__)
    name = quoted(found.source_labels[most])
    said = f"Of what counts at the end, {name} points most as it did halfway (cosine {kept[most]:.2f} at {row})"
    if least == most:
        return (Sentence(f"{said}."),)
    return (Sentence(f"{said}, {quoted(found.source_labels[least])} least ({kept[least]:.2f})."),)
