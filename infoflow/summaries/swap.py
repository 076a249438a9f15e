"""What a swap ratio says: how much more of a residual one group is than the other, early, middle and late."""

import numpy as np

from infoflow.studies.swap import SwapRatio
from infoflow.summaries.sentence import Sentence, quoted


def sentences(found: SwapRatio) -> tuple[Sentence, ...]:
    """The ratio of each third of the layers."""
    ours, theirs = map(quoted, found.group)
    whose = {-1: "the last residual", None: "the residuals after it"}.get(found.position, f"position {found.position}’s residual")
    ratios = {band: ratio for band, ratio in found.ratios.items() if np.isfinite(ratio)}
    if not ratios:
        return (Sentence(f"Neither {ours} nor {theirs} is a part of {whose} that can be told."),)
    said = ", ".join(f"{ratio:.2f} in {band} layers" for band, ratio in ratios.items())
    return (Sentence(f"Of {whose} {ours} in A is so many times what {theirs} is in B: {said}."),)
