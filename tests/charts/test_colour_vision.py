"""Colours that mean something are told apart by every kind of colour vision, by simulation (Brettel et al. 1997, Vienot 1999, as
coloraide has them); distances are CIEDE2000, of which 2 are just seen."""

import itertools
from collections.abc import Iterable

import pytest
from coloraide import Color as Base
from coloraide.filters.cvd import Deutan, Protan, Tritan

from infoflow.charts import palette


class Color(Base):
    """With the three filters."""


Color.register([Protan(), Deutan(), Tritan()], overwrite=True)
KINDS = (None, "protan", "deutan", "tritan")


def nearest(pairs: Iterable[tuple[str, str]]) -> float:
    """The least distance of some pairs under any kind of vision."""

    def distance(a: str, b: str, kind: str | None) -> float:
        first, second = (Color(c) if kind is None else Color(c).filter(kind) for c in (a, b))
        return float(first.delta_e(second, method="2000"))

    return min(distance(a, b, kind) for a, b in pairs for kind in KINDS)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_that_mean_something_differ_for_every_eye(dark: bool) -> None:
    names = [str(i) for i in range(12)]
    top = palette.source_colours(names, palette.Palette.TOP, dark, [1.0] * 12)[:10]  # the first token, eight, the rest
    few = {
        "raised and lowered": (palette.signs(dark), 15), "their grounds": (palette.signed_ramp(dark), 12),
        "lines of a lens": (palette.series(6, dark), 7), "eight sources": ([*top, palette.ink(dark).own], 5),
        "an ordered few": (palette.source_colours(names[:6], palette.Palette.ORDERED, dark), 10),
    }  # fmt: skip
    for what, (colours, least) in few.items():
        assert nearest(itertools.combinations(colours, 2)) > least, what
    role = palette.writing(dark)
    assert nearest([(role["input line"], role["output line"]), (role["current"], role["later"])]) > 15
    hues = palette.source_colours(names, palette.Palette.HUE, dark)
    assert nearest(itertools.pairwise(hues)) > 8  # neighbours, by lightness alone


def test_the_measure_finds_colours_that_some_can_not_tell_apart() -> None:
    assert nearest([("#0072b2", "#8a6bbd")]) < 3
