"""What a direct attribution says: which head and which MLP wrote most of a logit themselves."""

import numpy as np

from infoflow.analyses.direct import DirectAttribution
from infoflow.summaries.sentence import Sentence, off


def sentences(found: DirectAttribution) -> tuple[Sentence, ...]:
    """The head and the MLP that raise it most."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    what = "difference" if found.against is not None else "centred logit" if found.centred else "logit"
    layer, head = (int(i) for i in np.unravel_index(int(found.by_head.argmax()), found.by_head.shape))
    mlp = int(found.by_mlp.argmax())
    said = (
        f"Of the {what}, {found.total:+.1f}, head {layer}.{head} writes most of all heads itself "
        f"({found.by_head[layer, head]:+.1f}), and of the MLPs that of layer {mlp} ({found.by_mlp[mlp]:+.1f})."
    )
    return (Sentence(said, {"layer": layer, "head": head}),)
