"""A result as its picture: what a page, the command line, a report and a notebook share.

`pictures/<method>.py` has a function `picture(result, dark)` for the results of `analyses/<method>.py` (or `studies/`).
"""

import hashlib
import re
import textwrap
import unicodedata
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import altair as alt
import pandas as pd

from infoflow.analyses.provenance import Provenance
from infoflow.charts.palette import ink

LINE = 90
"""characters in a line of a title"""
MOST_OF_A_NAME = 80
_TITLE, _NOTE = 14, 11
"""sizes of the words above a picture, in pixels"""


@dataclass(frozen=True)
class Picture:
    """A chart with its numbers and its words."""

    chart: alt.Chart | alt.LayerChart
    frame: pd.DataFrame
    """the numbers behind it"""
    title: str
    """what it is of"""
    note: str
    """what it shows: layer, head, metric, and what is hidden"""

    def with_words(self, width: int | None = None) -> "alt.Chart | alt.LayerChart":
        """The chart with its title and note above it, for where nothing else says what it is; in lines of so many pixels."""
        if width is None:
            title, note = textwrap.wrap(self.title, LINE), textwrap.wrap(self.note, LINE)
        else:
            title, note = lines_of(self.title, width / (0.56 * _TITLE)), lines_of(self.note, width / (0.53 * _NOTE))
        heading = alt.Title(
            title, subtitle=note, anchor="start", fontSize=_TITLE, subtitleFontSize=_NOTE, subtitleFont="sans-serif", offset=12
        )
        return self.chart.properties(title=heading)

    @property
    def file_name(self) -> str:
        """Of a file that holds it, without its ending: what it is of, in letters that every system takes."""
        plain = unicodedata.normalize("NFKD", self.title).encode("ascii", "ignore").decode().lower()
        words = re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.")
        return f"infoflow-{words[:MOST_OF_A_NAME].strip('-.')}" if words else "infoflow"


def lines_of(text: str, wide: float) -> list[str]:
    """A text in lines of so many letters; an ideograph is two, and a word that is longer than a line is broken."""
    lines: list[str] = []
    line, used = "", 0.0
    for piece in re.findall(r"\s+|[^\s\u2e80-\uffef\U00020000-\U0003ffff]+|\S", text):
        for part in [piece] if _letters(piece) <= wide else list(piece):
            if used + _letters(part) > wide and line:
                lines.append(line.rstrip())
                line, used = "", 0.0
            if line or not part.isspace():
                line, used = line + part, used + _letters(part)
    return [*lines, line.rstrip()] if line.strip() else lines


def _letters(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def picture_of(result: Any, dark: bool = False) -> Picture:
    """The picture of any result, as it is first shown."""
    method = type(result).__module__.rpartition(".")[2]
    found: Picture = import_module(f"infoflow.pictures.{method}").picture(result, dark=dark)
    return found


def identity(made: Provenance, *of: tuple[int | str, ...]) -> str:
    """A short name for what was run and the tokens it is about, the same in every process: for widgets that belong to them."""
    return hashlib.sha256(repr((made.model, made.revision, *of)).encode()).hexdigest()[:12]


def background(dark: bool = False) -> str:
    """The paper of a picture."""
    return ink(dark).paper


def short(prompt: str, most: int = 40) -> str:
    """A prompt as a title has room for."""
    one_line = " ".join(prompt.split())
    return one_line if len(one_line) <= most else one_line[: most - 1] + "…"
