"""Colours by role, for paper-like light and dark pages. Source colours are steady: a source has one everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from coloraide import Color


class Palette(StrEnum):
    """How sources are coloured."""

    HUE = "hue"
    ORDERED = "ordered"
    TOP = "top 8"


@dataclass(frozen=True)
class Ink:
    """The page's own colours, which charts share."""

    text: str
    muted: str
    line: str
    paper: str
    empty: str
    """the ground of a cell, and of what is folded or hidden"""
    sink: str
    """the first token"""
    bias: str
    rest: str
    own: str
    """a position's own token, where it has no colour"""
    accent: str
    final: str
    """outline of what is already the final answer"""


LIGHT = Ink(
    text="#2b2a28",
    muted="#6f6a62",
    line="#dcd8cd",
    paper="#fffffb",
    empty="#f1efe9",
    sink="#cfc9bc",
    bias="#8f877b",
    rest="#b9b4a9",
    own="#605c54",
    accent="#3d6f8e",
    final="#c8553d",
)
DARK = Ink(
    text="#e6e2da",
    muted="#a39d93",
    line="#3d3a35",
    paper="#191816",
    empty="#2a2825",
    sink="#5c5952",
    bias="#8a8378",
    rest="#6b675f",
    own="#b4b0a8",
    accent="#7fb4d0",
    final="#e0795f",
)


def ink(dark: bool) -> Ink:
    return DARK if dark else LIGHT


def signs(dark: bool) -> tuple[str, str]:
    """What raises, what lowers: emerald and magenta, told apart by every kind of colour vision."""
    return ("#4cb38f", "#d17ab0") if dark else ("#1f8a68", "#b23a86")


def signed_ramp(dark: bool) -> tuple[str, str, str]:
    """From lowering through nothing to raising, as a ground for text."""
    return ("#8a3f70", "#2a2825", "#1f6f56") if dark else ("#dc8fbf", "#f6f4ee", "#74c4a5")


def signed_ground(value: float, largest: float, dark: bool) -> str:
    """The colour of `signed_ramp` for a value, full at `largest`, as #rrggbb."""
    t = max(-1.0, min(1.0, value / largest)) if largest > 0 else 0.0
    low, middle, high = signed_ramp(dark)
    channels = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (middle, high if t > 0 else low)]
    return "#" + "".join(f"{round(a + (b - a) * abs(t)):02x}" for a, b in zip(*channels, strict=True))


def ramp(dark: bool) -> list[str]:
    """From little to much, grey-blue: a ground for text, which turns to the first colour where the ground is strong."""
    if dark:
        return "#21252a #2c414e #3f6579 #618fa6 #9bbecd #c3dae2".split()
    return "#f7f6f1 #dfe6e6 #b3cbd0 #749fb0 #3f6c86 #1b3a52".split()


def writing(dark: bool) -> dict[str, str]:
    """Of a text that is written: the tokens by their role (the first five), and the two kinds of lines."""
    page = ink(dark)
    return {
        "input": page.accent, "earlier": "#e39ab8" if not dark else "#c97d9d", "current": "#ff6f52" if not dark else "#ff7f66",
        "selected": "#f4c430", "later": page.line, "input line": "#3f7fc1" if not dark else "#6aa5e0",
        "output line": "#e08a2b" if not dark else "#f0a04b",
    }  # fmt: skip


def series(n: int, dark: bool) -> list[str]:
    """Colours of a few lines, told apart by every kind of colour vision; they repeat after eight."""
    of = _OKABE_ITO if not dark else [*_OKABE_ITO[4:5], *_OKABE_ITO[1:4], *_OKABE_ITO[5:], *_OKABE_ITO[:1]]
    return [of[i % len(of)] for i in range(n)]


def oklch(lightness: float, chroma: float, hue: float) -> str:
    """A colour of the perceptual OKLCH space as #rrggbb (Ottosson 2020), clipped to the screen's range."""
    return _hex(Color("oklch", [lightness, chroma, hue]).convert("srgb"))


def _hex(colour: Color) -> str:
    return str(colour.clip().to_string(hex=True, upper=False))


def _hues(n: int, dark: bool) -> list[str]:
    """Hue 30 to 330 in reading order; lightness alternates, so that neighbours differ without hue."""
    base = 0.66 if dark else 0.64
    return [oklch(base + (0.055 if i % 2 else -0.055), 0.105, 30 + 300 * i / max(1, n - 1)) for i in range(n)]


_VIRIDIS = "#440154 #482878 #3e4989 #31688e #26828e #1f9e89 #35b779 #6ece58 #b5de2b #fde725".split()
_OKABE_ITO = "#0072b2 #e69f00 #009e73 #cc79a7 #56b4e9 #d55e00 #f0e442 #5d175a".split()


def _ordered(n: int, dark: bool) -> list[str]:
    """A colour-blind-safe ramp of rising lightness, its ends trimmed for contrast with the page."""
    low, high = (0.18, 0.95) if dark else (0.02, 0.88)
    between = Color.interpolate(_VIRIDIS, space="srgb")
    return [_hex(between(low + (high - low) * i / max(1, n - 1))) for i in range(n)]


def source_colours(
    labels: Sequence[str], palette: str = Palette.HUE, dark: bool = False, weights: Sequence[float] | None = None
) -> list[str]:
    """One colour per source: the first token warm grey, the bias another grey, the others by `palette`.

    "top 8" gives colours (Okabe-Ito) to the eight sources of the largest `weights` and one grey to the rest.
    """
    page = ink(dark)
    n = len(labels)
    has_bias = n > 0 and labels[-1] == "bias"
    inner = n - 1 - has_bias
    if palette == Palette.TOP:
        weight = list(weights) if weights is not None else [1.0] * n
        best = sorted(sorted(range(1, 1 + inner), key=lambda i: -weight[i])[:8])
        middle = [page.rest] * inner
        for colour, i in zip(_OKABE_ITO, best, strict=False):
            middle[i - 1] = colour
    else:
        middle = (_ordered if palette == Palette.ORDERED else _hues)(inner, dark)
    return ([page.sink] + middle + [page.bias] * has_bias)[:n]
