"""The package's annotations are checked while it is under test: types by one library, shapes by another."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from infoflow.text import tokens
from tests.helpers import checked

MODULE = """
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
import numpy as np
from jaxtyping import Float
if TYPE_CHECKING:
    from nowhere import Later

def typed(x: int, later: "Later | None" = None) -> float:
    def inside(x: int) -> float:
        return x
    return inside(x) if later else x / 2

def each(n: int) -> Iterator[int]:
    yield n

def shaped(a: Float[np.ndarray, "x y"], b: Float[np.ndarray, "y"]) -> None:
    pass

@dataclass(frozen=True)
class Typed:
    x: float
    later: "Later | None" = None

    @property
    def whole(self) -> int:
        return self.x

@dataclass
class Shaped:
    x: Float[np.ndarray, "x"]
    y: int
"""


def test_what_is_not_as_annotated_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "annotated.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr("jaxtyping.jaxtyped", sys.modules["jaxtyping"].jaxtyped)
    checked.check(["annotated"])
    made = importlib.import_module("annotated")
    ones = np.ones
    assert made.typed(3) == 1.5 and made.Typed(0.5).x == 0.5 and list(made.each(2)) == [2]
    made.shaped(ones((2, 3)), ones(3))
    made.Shaped(ones(2), 1)
    for wrong in (
        lambda: made.typed("3"), lambda: made.typed(3, later=True), lambda: list(made.each("2")), lambda: made.Typed(1),
        lambda: made.Typed(1.5).whole, lambda: made.shaped(ones((2, 3)), ones(2)), lambda: made.Shaped(ones((2, 2)), 1),
        lambda: made.Shaped(ones(2), "1"),
    ):  # fmt: skip
        with pytest.raises((BeartypeCallHintViolation, TypeCheckError)):
            wrong()


def test_the_package_is_checked() -> None:
    with pytest.raises(BeartypeCallHintViolation):
        tokens.label(3)  # type: ignore[arg-type]
