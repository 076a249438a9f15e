"""Whether a result that was made again still says what was kept: every number, each within a tolerance."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from infoflow.analyses.activations import Activations
from infoflow.files.results import pack


@dataclass(frozen=True)
class Agreement:
    """How far a result that was made again is from the one that was kept."""

    differences: dict[str, float]
    """of each array, the largest difference over the largest value; infinite where it has another shape"""
    changed: tuple[str, ...]
    """what else is not the same: tokens, names, settings"""
    tolerance: float

    @property
    def worst(self) -> float:
        return max(self.differences.values(), default=0.0)

    @property
    def agrees(self) -> bool:
        return not self.changed and self.worst <= self.tolerance

    def to_frame(self) -> pd.DataFrame:
        """What is not the same any more, the furthest apart first: name, difference."""
        apart = {name: value for name, value in self.differences.items() if value > self.tolerance}
        rows = sorted(apart.items(), key=lambda item: -item[1])
        return pd.DataFrame([*rows, *((name, float("nan")) for name in self.changed)], columns=["name", "difference"])

    def summary(self) -> str:
        """The same in a sentence."""
        if self.agrees:
            far = f"at most {self.worst:.1e} apart, of {self.tolerance:.0e} that rounding may take"
            return f"The numbers are the same: {far}." if self.worst else "The numbers are the same, to the last bit."
        n, other = sum(value > self.tolerance for value in self.differences.values()), len(self.changed)
        words = [f"{n} of {len(self.differences)} kinds of numbers are further apart than {self.tolerance:.0e}"] * bool(n)
        words += [f"{other} other values are not what they were"] * bool(other)
        return f"Not the same: {' and '.join(words)}."


EXACT, KEPT_AS_HALF, HALF = 1e-4, 1e-3, 2e-2
"""relative to the largest value: what float32 rounding may take, that of tensors kept as float16, and that of half precision"""


def tolerance_of(kept: Any) -> float:
    """How far numbers may be apart when they are made again, by the type that the model computed in, and that of the file."""
    if kept.provenance.dtype != "float32":
        return HALF
    if isinstance(kept, Activations) and np.array_equal(kept.resid_post.astype(np.float16), kept.resid_post):
        return KEPT_AS_HALF
    return EXACT


def agreement(kept: Any, again: Any, tolerance: float = 1e-4) -> Agreement:
    """Whether numbers are still the same: each array within `tolerance` of its largest value."""
    (plain, arrays), (plain_now, arrays_now) = pack(kept), pack(again)
    far: dict[str, float] = {}
    for name in sorted(name for name in arrays.keys() | arrays_now.keys() if "error" not in name):
        a, b = arrays.get(name), arrays_now.get(name)
        far[name] = _apart(a, b) if a is not None and b is not None and a.shape == b.shape else float("inf")
    other: list[str] = []
    for name, value in plain["values"].items():
        _compare(value, plain_now["values"].get(name), name, far, other)
    return Agreement(far, tuple(other), tolerance)


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        known = np.isfinite(a)
        if (known != np.isfinite(b)).any() or not np.array_equal(a[~known], b[~known], equal_nan=True):
            return float("inf")
        most = float(np.abs(a[known]).max(initial=0.0))
        return float(np.abs(a[known].astype(np.float64) - b[known]).max(initial=0.0)) / max(most, 1e-30)
    return 0.0 if np.array_equal(a, b) else float("inf")


def _compare(kept: Any, again: Any, where: str, far: dict[str, float], other: list[str]) -> None:
    """Plain values: numbers by how far they are apart, all else by whether it is the same."""
    if where.endswith("provenance"):
        return
    if isinstance(kept, float) and isinstance(again, float):
        small = "error" in where  # rounding itself, which has no digits to agree in
        far[where] = 0.0 if small else abs(kept - again) / max(abs(kept), 1.0)
    elif isinstance(kept, list) and isinstance(again, list) and len(kept) == len(again):
        for place, (a, b) in enumerate(zip(kept, again, strict=True)):
            _compare(a, b, f"{where}.{place}", far, other)
    elif isinstance(kept, dict) and isinstance(again, dict) and kept.keys() == again.keys():
        for name in kept:
            _compare(kept[name], again[name], f"{where}.{name}", far, other)
    elif kept != again:
        other.append(where)
