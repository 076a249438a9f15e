"""What a written text rests on, through what was written on the way.

A token's logit is a sum over everything before it, written tokens included, so the prompt's part hides in those. Row t of P (on
the prompt's tokens) and of B (on tokens written before) are the contributions to the logit of step t's token, the negative ones
set aside, divided by their sum: together they sum to 1. Followed back over all hops,

    R = P + B P + B^2 P + ... = (I - B)^-1 P

B is strictly lower triangular, so that the sum is finite, and each row of R sums to 1. The normalisation is a choice.

Source: the recursion as in FlashTrace (2026) and CAGE (2025), on rows that sum to the logit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Through:
    """Shares of each step's token. Where nothing raises a token its row is 0, and what others have through it is missing."""

    prompt: Float[np.ndarray, "step prompt"]
    """R: of each token of the prompt, all hops counted; a row sums to 1"""
    direct: Float[np.ndarray, "step prompt"]
    """P: of each token of the prompt, on one hop"""
    written: Float[np.ndarray, "step step"]
    """B: of each token written before, on one hop"""
    negative: Float[np.ndarray, " step"]
    """what was set aside: the sum of the negative contributions, in logits"""

    def of_span(
        self, first: int, last: int, weights: Sequence[float] | Sequence[int] | np.ndarray | None = None
    ) -> Float[np.ndarray, " prompt"]:
        """Of the steps from one to another (both included), in the mean, or weighted (by surprise, for one)."""
        rows = self.prompt[first : last + 1]
        if weights is None:
            return rows.mean(0)
        chosen = np.asarray(weights, dtype=np.float64)[first : last + 1]
        total = chosen.sum()
        return rows.mean(0) if total <= 0 else (rows * chosen[:, None]).sum(0) / total


def through(parts: Float[np.ndarray, "step source"], n_prompt: int, aside: Sequence[int] = ()) -> Through:
    """From contributions to each step's logit, a column for each token of the prompt and then for each written one; `aside`:
    tokens that are left out, as an attention sink."""
    parts = np.array(parts, dtype=np.float64)
    parts[:, list(aside)] = 0.0
    raising = np.clip(parts, 0.0, None)
    whole = raising.sum(1, keepdims=True)
    shares = np.divide(raising, whole, out=np.zeros_like(raising), where=whole > 0)
    n = len(parts)
    written = np.zeros((n, n))
    written[:, : shares.shape[1] - n_prompt] = shares[:, n_prompt:]
    written = np.tril(written, -1)
    direct = shares[:, :n_prompt]
    found = np.linalg.solve(np.eye(n) - written, direct)
    return Through(found, direct, written, np.clip(parts, None, 0.0).sum(1))
