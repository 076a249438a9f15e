"""A picture as a figure of a paper: light, of true size, with its type in points, and a caption beside it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infoflow.errors import InfoflowError
from infoflow.files import atomic
from infoflow.pictures.picture import Picture
from infoflow.pictures.rendering import chart_fitted, svg_converted
from infoflow.summaries.sentence import sentences_of, spoken

KINDS = ("pdf", "svg", "png")
COLUMNS = {"1col": 3.25, "2col": 6.75}
"""inches of one column, and of both, of a paper of two columns on letter or A4"""
UNITS = {"in": 72.0, "cm": 72 / 2.54, "mm": 72 / 25.4, "pt": 1.0}
"""points of each"""
NARROWEST, WIDEST = 72.0, 1440.0
SMALLEST, LARGEST = 4.0, 30.0
FONT_SIZE = 8.0
PPI = 300.0
"""pixels an inch of a PNG"""
_LABEL = 10.0
"""pixels of what stands at the axes of our charts"""
GROUND = "#ffffff"


@dataclass(frozen=True)
class Paper:
    """How a figure is set."""

    width: float
    """in points: an inch is 72"""
    font_size: float = FONT_SIZE
    """in points, of what stands at the axes; other type keeps its proportion to it"""
    titled: bool = True

    def __post_init__(self) -> None:
        if not NARROWEST <= self.width <= WIDEST:
            raise InfoflowError(f"A figure is 1 to 20 inches wide; this would be {self.width / 72:.3g}.")
        if not SMALLEST <= self.font_size <= LARGEST:
            raise InfoflowError(f"Type is of {SMALLEST:g} to {LARGEST:g} points; this would be of {self.font_size:g}.")


def width_of(text: str) -> float:
    """Points of a width as it is typed: 1col, 2col, 3.25in, 8.5cm, 85mm, 234pt.

    Raises:
        InfoflowError: something else.
    """
    said = text.strip().lower()
    if said in COLUMNS:
        return 72 * COLUMNS[said]
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(in|cm|mm|pt)", said)
    if found is None:
        raise InfoflowError(f"'{text}' is no width. Use 1col, 2col, or a length such as 3.25in, 8.5cm, 85mm or 234pt.")
    return float(found[1]) * UNITS[found[2]]


def check(path: str | Path) -> str:
    """The kind of figure that a file's ending names.

    Raises:
        InfoflowError: one that has no size on paper.
    """
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise InfoflowError(f"A figure for a paper is .pdf, .svg or .png, and '{Path(path).name}' is none. Name one with --out.")
    return kind


def figure(picture: Picture, kind: str, paper: Paper) -> bytes:
    """A light picture as PDF, SVG or PNG (300 pixels an inch), as wide as the paper says.

    It is laid out as wide as leaves the type at the axes in proportion, and scaled as a whole: bars, lines and gaps keep theirs.

    Raises:
        InfoflowError: it could not be drawn.
    """
    wide = round(paper.width * _LABEL / paper.font_size)
    svg = chart_fitted(picture.with_words(wide) if paper.titled else picture.chart, GROUND, wide).decode()
    width, height = _size(svg)
    scale = paper.width / width
    if kind == "svg":
        return _of_size(svg, f"{scale * width / 72:.6g}in", f"{scale * height / 72:.6g}in").encode()
    if kind == "pdf":
        return svg_converted(_of_size(svg, f"{scale * width:.6g}", f"{scale * height:.6g}").encode(), kind)
    return svg_converted(svg.encode(), kind, scale, PPI)


def _size(svg: str) -> tuple[float, float]:
    found = re.search(r'<svg [^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert found is not None, "every SVG of the converter's says its size"
    return float(found[1]), float(found[2])


def _of_size(svg: str, width: str, height: str) -> str:
    head, end, rest = svg.partition(">")
    return re.sub(r' height="[^"]*"', f' height="{height}"', re.sub(r' width="[^"]*"', f' width="{width}"', head)) + end + rest


def caption(picture: Picture, result: Any = None) -> str:
    """What stands under the figure: what it is of, what the result says in sentences, what is shown and hidden."""
    said = "" if result is None else spoken(sentences_of(result))
    return " ".join(f"{text.rstrip('.')}." for text in (picture.title, said, picture.note) if text)


def write(picture: Picture, path: str | Path, paper: Paper) -> None:
    """Write a figure in the format of the file's ending.

    Raises:
        InfoflowError: another ending, or a place that can't be written to.
    """
    atomic.write(atomic.place(path), figure(picture, check(path), paper))
