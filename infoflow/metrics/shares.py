"""Every number that several places need, once. Functions of Gram matrices G[s, s'] = <C_s, C_s'> (float64 inside).

Axes: `source` are the parts a vector x = sum_s C_s is split into; leading axes (`...`) are layer, stage, position.
"""

import numpy as np
from jaxtyping import Bool, Float

Gram = Float[np.ndarray, "*cells source source"]
PerSource = Float[np.ndarray, "*cells source"]
PerCell = Float[np.ndarray, "*cells"]

METRICS = {
    "norm": "Norm share: |C_s| / Σ|C_s'|. Always positive; says how long each part is, not whether it points along the whole.",
    "projection": "Projection share: ⟨C_s, x⟩ / |x|². Signed; adds to 1 because the parts add to the whole.",
    "distance": "Distance share: max(0, |x| − |x − C_s|), normalised: how much shorter the whole gets without a part.",
}


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Zero where the denominator is zero: a cell with nothing in it has no shares."""
    return np.divide(
        numerator,
        denominator,
        out=np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape)),
        where=denominator > 0,
    )


def norms(gram: Gram) -> PerSource:
    """|C_s| = sqrt(G[s, s])."""
    return np.sqrt(np.maximum(np.diagonal(gram, axis1=-2, axis2=-1).astype(np.float64), 0.0))


def total_norm(gram: Gram) -> PerCell:
    """|x| = sqrt(sum of all entries of G)."""
    return np.asarray(np.sqrt(np.maximum(gram.sum((-2, -1), dtype=np.float64), 0.0)))


def cancellation(gram: Gram) -> PerCell:
    """κ = sum_s |C_s| / |sum_s C_s|: 1 when all parts point the same way, large when they cancel."""
    return _divide(np.asarray(norms(gram).sum(-1)), total_norm(gram))


def shares(gram: Gram, metric: str) -> PerSource:
    """Share of each source by one of METRICS; sums to 1 wherever the whole is not zero.

    Raises:
        KeyError: an unknown metric.
    """
    if metric == "norm":
        length = norms(gram)
        return _divide(length, length.sum(-1, keepdims=True))
    along = gram.sum(-1, dtype=np.float64)  # sums in float64 need no copy of G in it
    if metric == "projection":
        return _divide(along, np.maximum(along.sum(-1, keepdims=True), 0.0))
    if metric == "distance":
        squared = total_norm(gram)[..., None] ** 2
        own = np.diagonal(gram, axis1=-2, axis2=-1).astype(np.float64)
        without = np.sqrt(np.maximum(squared - 2 * along + own, 0.0))
        closer = np.maximum(0.0, np.sqrt(squared) - without)
        return _divide(closer, closer.sum(-1, keepdims=True))
    raise KeyError(metric)


def cosine(gram: Gram) -> PerSource:
    """cos(C_s, x) = <C_s, x> / (|C_s| |x|): how a part points to the whole, whatever its length; 0 for nothing."""
    return _divide(gram.sum(-1, dtype=np.float64), norms(gram) * np.asarray(total_norm(gram))[..., None])


def without(gram: Gram, hidden: Bool[np.ndarray, " source"]) -> Gram:
    """Gram matrix of what is left when the hidden sources are taken out of the sum."""
    keep = ~hidden
    return gram * (keep[:, None] & keep[None, :])


def effective_number(share: Float[np.ndarray, " source"]) -> float:
    """exp(-sum_s q_s log q_s) with q = |share| / sum |share|: 1 for a single source, S for S equal ones."""
    size = np.abs(share)
    q = size[size > 0] / size.sum() if size.sum() > 0 else np.ones(1)
    return float(np.exp(-(q * np.log(q)).sum()))
