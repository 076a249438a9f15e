"""What kind of head is it? Scores of attention patterns, by formulas that need nothing but the pattern and the token ids.

    previous    of each i, A[i, i-1]
    duplicate   of each i whose token occurred at j < i, the largest A[i, j]
    induction   of each such i, the largest A[i, j+1]

Each is the mean over the positions at which it can be told from anything else: the first position is where sinks are, a token's
weight on itself is no search, and a source that two kinds would look at (in `ha ha ha` all three look at the token before) speaks
for neither. Where fewer than `NEEDED` positions are left, a score says nothing.

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
NEEDED = 3
"""positions, at the least, for a score to name a head"""
UNKNOWN = "too few positions"
"""for any of the scores"""

PerHead = Float[np.ndarray, "layer head"]
Pattern = Float[np.ndarray, "layer head dest src"]


@dataclass(frozen=True, kw_only=True)
class HeadScores:
    """Three scores of every head, 0 to 1; not a number where no position was eligible (as where no token occurs twice)."""

    scores: Float[np.ndarray, "kind layer head"]
    """in the order of `KINDS`"""
    eligible: tuple[int, int, int]
    """how many positions each score is a mean over"""
    basis: str
    """what was run: "this prompt", or "random tokens said twice" """

    @property
    def counted(self) -> Float[np.ndarray, "kind layer head"]:
        """The scores of `NEEDED` positions or more; not a number elsewhere."""
        return np.where((np.array(self.eligible) >= NEEDED)[:, None, None], self.scores, np.nan)

    def labels(self, threshold: float = THRESHOLD) -> np.ndarray:
        """The kind of each head, [layer, head]: that of its largest score if it is above the threshold, else diffuse. Scores of
        fewer than `NEEDED` positions don't count; where there are no others, the kind is not known."""
        if max(self.eligible) < NEEDED:
            return np.full(self.scores.shape[1:], UNKNOWN, dtype=object)
        known = np.where(np.isnan(self.counted), -1.0, self.counted)
        best = known.argmax(0)
        names = np.array(KINDS, dtype=object)[best]
        return np.where(known.max(0) > threshold, names, DIFFUSE)


def score(pattern: Pattern, ids: Sequence[int], basis: str = "this prompt") -> HeadScores:
    """The three scores of every head from its pattern on these tokens."""
    nothing = np.full(pattern.shape[:2], np.nan)
    scores, eligible = [], []
    for of_kind in evidence(ids):
        seen = [pattern[:, :, i, sources].max(-1) for i, sources in enumerate(of_kind) if sources]
        scores.append(np.stack(seen).mean(0) if seen else nothing)
        eligible.append(len(seen))
    previous, duplicate, induction = eligible
    return HeadScores(scores=np.stack(scores).astype(float), eligible=(previous, duplicate, induction), basis=basis)


def evidence(ids: Sequence[int]) -> tuple[list[list[int]], ...]:
    """For each of `KINDS` and each position, the sources where a head of that kind, and of no other, would look."""
    n = len(ids)
    before: list[list[list[int]]] = [[], [], []]
    for i in range(n):
        same = [j for j in range(i) if ids[j] == ids[i]]
        looks = {i - 1}, set(same), {j + 1 for j in same}
        for kind, found in enumerate(looks):
            others = set().union(*(looks[other] for other in range(3) if other != kind))
            before[kind].append(sorted(found - others - {0, i, -1}))
    return before[0], before[1], before[2]


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
