"""What kind of head is it? Scores of attention patterns, by formulas that need nothing but the pattern and the token ids.

    previous    mean over i >= 1 of A[i, i-1]
    duplicate   for each i whose token occurred before, the largest A[i, j] over those j < i; the mean of these
    induction   for each such i, the largest A[i, j+1]; the mean of these

Scores from one prompt say what heads did there; those from random tokens said twice (`attention.calibrate`) say what they
do when nothing but repetition can be used.

Source: Elhage et al. (2021), Olsson et al. (2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

KINDS = ("previous token", "duplicate token", "induction")
DIFFUSE = "diffuse"
THRESHOLD = 0.4
"""the largest score names a head if it is above this; adjustable wherever it is used"""

PerHead = Float[np.ndarray, "layer head"]
Pattern = Float[np.ndarray, "layer head dest src"]


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """Three scores of every head, 0 to 1; not a number where no position was eligible (no token occurs twice)."""

    scores: Float[np.ndarray, "kind layer head"]
    """in the order of `KINDS`"""
    eligible: tuple[int, int, int]
    """how many positions each score is a mean over"""
    basis: str
    """what was run: "this prompt", or "random tokens said twice" """

    def labels(self, threshold: float = THRESHOLD) -> np.ndarray:
        """The kind of each head, [layer, head]: that of its largest score if it is above the threshold, else diffuse."""
        known = np.where(np.isnan(self.scores), -1.0, self.scores)
        best = known.argmax(0)
        names = np.array(KINDS, dtype=object)[best]
        return np.where(known.max(0) > threshold, names, DIFFUSE)


def score(pattern: Pattern, ids: Sequence[int], basis: str = "this prompt") -> HeadScores:
    """The three scores of every head from its pattern on these tokens."""
    n = len(ids)
    nothing = np.full(pattern.shape[:2], np.nan)
    previous = np.diagonal(pattern, offset=-1, axis1=-2, axis2=-1).mean(-1) if n > 1 else nothing
    earlier = {i: [j for j in range(i) if ids[j] == ids[i]] for i in range(n)}
    again = [i for i in range(n) if earlier[i]]
    duplicate = induction = nothing
    if again:
        duplicate = np.stack([pattern[:, :, i, earlier[i]].max(-1) for i in again]).mean(0)
        induction = np.stack([pattern[:, :, i, [j + 1 for j in earlier[i]]].max(-1) for i in again]).mean(0)
    scores = np.stack([previous, duplicate, induction]).astype(float)
    return HeadScores(scores=scores, eligible=(max(0, n - 1), len(again), len(again)), basis=basis)


def entropy(pattern: Pattern) -> PerHead:
    """Mean over destinations of -sum A log A, in nats."""
    logs = np.log(np.where(pattern > 0, pattern, 1.0))
    return -(pattern * logs).sum(-1).mean(-1)


def concentration(pattern: Pattern) -> PerHead:
    """Mean over destinations of the largest weight."""
    return pattern.max(-1).mean(-1)


def sink_share(pattern: Pattern) -> PerHead:
    """Mean over destinations after the first of the weight on the first token."""
    n = pattern.shape[-1]
    return pattern[:, :, 1:, 0].mean(-1) if n > 1 else np.ones(pattern.shape[:2], dtype=pattern.dtype)


def without_sinks(pattern: np.ndarray, sinks: Sequence[int], renormalise: bool) -> np.ndarray:
    """Patterns with some source columns emptied, and, if wished, rows scaled to what they summed to before.

    Rows that had nothing else stay empty. [..., dest, src]
    """
    out = pattern.copy()
    out[..., list(sinks)] = 0.0
    if not renormalise:
        return out
    left, whole = out.sum(-1, keepdims=True), pattern.sum(-1, keepdims=True)
    return np.divide(out * whole, left, out=np.zeros_like(out), where=left > 1e-12)


def top_pairs(weights: Float[np.ndarray, "dest src"], most: int) -> Int[np.ndarray, "pair 2"]:
    """Destination and source of the largest weights, a token's weight on itself left out."""
    off = np.where(np.eye(len(weights), dtype=bool), -1.0, weights)
    order = np.argsort(-off, axis=None, kind="stable")[:most]
    found = np.stack(np.unravel_index(order, off.shape), -1)
    return found[off[found[:, 0], found[:, 1]] > 0]
