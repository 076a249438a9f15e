"""What a test by removal says: how well contributions foretell what happens, and where they are furthest off."""

import numpy as np

from infoflow.analyses.causal import Causal
from infoflow.summaries.sentence import Sentence, off, quoted


def sentences(found: Causal) -> tuple[Sentence, ...]:
    """The correlations, and the largest gap."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    if not found.tested.any():
        return (Sentence("No source could be removed in this way."),)
    gap = np.where(found.tested, np.abs(found.linear - found.effect), -1.0)
    worst = int(gap.argmax())
    most = (
        f"They are furthest apart at {quoted(found.source_labels[worst])}: it contributes {found.linear[worst]:+.1f}, and "
        f"removing it takes {found.effect[worst]:+.1f} away."
    )
    return Sentence(found.agreement), Sentence(most, {"position": int(np.flatnonzero(found.source_of == worst)[0])})
