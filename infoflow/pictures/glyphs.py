"""Glyphs for what pictures say: a text with unusual characters is set in a font that has them, and what no font here has is told.

The converter takes one font for a text and draws boxes for what that lacks: for the ⟨ ⟩ ␣ ⏎ of token names too. The font that
ships in `fonts/` has letters, signs, common ideographs, Hangul and emoji together (`scripts/make_font.py`).
"""

import base64
import html
import io
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("fonts")
FONT = FOLDER / "infoflow.ttf"
FAMILY = "infoflow"
_USUAL = re.compile(r"[\x20-\x7e\xa0-\xac\xae-\u017f–—‘’“”•…€−]*")
"""what the converter's own font has"""
_TEXT = re.compile(r'(<text [^>]*font-family=")([^"]*)("[^>]*>)((?:[^<]|</?tspan[^>]*>)+)(</text>)')
"""with the lines of one that has several"""
_LINE = re.compile(r"</?tspan[^>]*>")
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
"""shape what they stand between, and have no glyph of their own"""


@cache
def _characters() -> frozenset[int]:
    from fontTools.ttLib import TTFont  # heavy: only for what is exported

    with TTFont(FONT, lazy=True) as found:
        return frozenset(found.getBestCmap())


def lacking(texts: Iterable[str]) -> str:
    """The characters of some texts that have no glyph in an exported picture, each once, in order."""
    seen = dict.fromkeys(char for text in texts if not text.isascii() for char in text)
    unusual = [c for c in seen if not (_USUAL.fullmatch(c) or c in _JOINERS or c.isspace())]
    return "".join(c for c in unusual if ord(c) not in _characters())


def sentence(missing: str, most: int = 12) -> str:
    """What is to be said of `lacking` characters."""
    more = f" and {len(missing) - most} more" if len(missing) > most else ""
    which = f"No font here has {' '.join(missing[:most])}{more}"
    return f"{which}: in PNG, SVG and PDF boxes stand there; HTML shows what the browser has."


def with_font(svg: str) -> str:
    """The same picture, in which texts with unusual characters are set in the font that has them."""

    def written(found: re.Match[str]) -> str:
        usual = _USUAL.fullmatch(_said(found[4]))
        return found[0] if usual else f"{found[1]}{FAMILY}{found[3]}{found[4]}{found[5]}"

    return _TEXT.sub(written, svg)


def _said(inside: str) -> str:
    return html.unescape(_LINE.sub("", inside))


def embedded(svg: str) -> str:
    """The same, with what it needs of that font in it: a viewer need not have it."""
    used = "".join(_said(text) for _, family, _, text, _ in _TEXT.findall(svg) if family == FAMILY)
    if not used:
        return svg
    return re.sub(r"(<svg [^>]*>)", lambda found: f"{found[1]}<style>{font_face(used)}</style>", svg, count=1)


def unusual(texts: Iterable[str]) -> str:
    """The characters of some texts that a usual font may lack, each once, in order."""
    seen = dict.fromkeys(char for text in texts if not text.isascii() for char in text)
    return "".join(char for char in seen if not _USUAL.fullmatch(char))


def font_face(text: str) -> str:
    """The font, with the glyphs of a text, as a rule of CSS."""
    data = base64.b64encode(_cut("".join(sorted(set(text))))).decode()
    return f"@font-face{{font-family:{FAMILY};src:url(data:font/ttf;base64,{data})}}"


@lru_cache(maxsize=16)
def _cut(characters: str) -> bytes:
    """Of the font, what some characters need."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    options: Any = subset.Options()
    tool: Any = subset.Subsetter(options)
    out = io.BytesIO()
    with TTFont(FONT) as found:
        tool.populate(text=characters)
        tool.subset(found)
        found.save(out)
    return out.getvalue()
