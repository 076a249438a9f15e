"""Heads of no model: numbers for pictures of layers by heads, the same at each call."""

from collections.abc import Sequence

import numpy as np

from infoflow.charts.heads_3d import Edge, Labels

WORDS = Labels(
    "norm of what the head writes", "contribution to the logit difference", "towards “Paris”", "towards “Rome”",
    "from what a head writes to what a later one reads",
)  # fmt: skip


def heights_and_colours(layers: int, heads: int) -> tuple[np.ndarray, np.ndarray]:
    """A few large ones, many small, as heads have them."""
    made = np.random.default_rng(1)
    values = made.gamma(0.45, 1.0, (layers, heads))
    return values, values * made.normal(size=(layers, heads))


def edges(values: np.ndarray, colour: np.ndarray, most: int = 6) -> Sequence[Edge]:
    """Between the tallest heads, where one comes after another."""
    heads = values.shape[1]
    best = [(int(i) // heads, int(i) % heads) for i in np.argsort(-values, axis=None)[:most]]
    return [Edge(a, b, float(colour[b])) for a in best for b in best if a[0] < b[0]][:most]
