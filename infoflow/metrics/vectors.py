"""Lengths of vectors and the angles between them, over the last axis."""

from enum import StrEnum

import numpy as np
from jaxtyping import Float

SMALL = 0.01
"""of a vector's largest entry: what L0 does not count"""


class Norm(StrEnum):
    """How long a vector is."""

    L2 = "L2"
    L1 = "L1"
    LARGEST = "L∞"
    COUNT = "L0"


def norm(x: Float[np.ndarray, "*rows d_model"], kind: str = Norm.L2) -> Float[np.ndarray, "*rows"]:
    """L2: sqrt(sum x²). L1: sum |x|. L∞: max |x|. L0: how many entries are above 1 % of the largest."""
    size = np.abs(x)
    found = {
        Norm.L2: lambda: np.linalg.norm(x, axis=-1), Norm.L1: lambda: size.sum(-1), Norm.LARGEST: lambda: size.max(-1),
        Norm.COUNT: lambda: (size > SMALL * size.max(-1, keepdims=True)).sum(-1),
    }[Norm(kind)]()  # fmt: skip
    return np.asarray(found, dtype=np.float32)


def cosine(x: Float[np.ndarray, "*rows d_model"], y: Float[np.ndarray, "*others d_model"]) -> Float[np.ndarray, "..."]:
    """<x, y> / (|x| |y|), in float64; 0 where one of them is nothing. Rows are matched as numpy broadcasts them."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    inner = (a * b).sum(-1)
    return np.asarray(np.divide(inner, lengths, out=np.zeros_like(inner), where=lengths > 0), dtype=np.float32)
