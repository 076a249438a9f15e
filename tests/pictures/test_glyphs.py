"""Every character of an exported picture has a glyph, or it is said which has none."""

import base64
import io
import re

import altair as alt
import pandas as pd
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from infoflow.pictures import glyphs
from infoflow.pictures.rendering import chart_pdf, chart_png, chart_svg
from infoflow.text import characters

SIGNS = "⟨bos⟩ ␣×40 ⏎ ⇥ ⍽ ◌́ 日₁ ⟨E4 B8⟩ ⟨U+2003⟩ κ −→ …"


def chart(*texts: str) -> alt.Chart:
    rows = pd.DataFrame({"t": texts, "y": range(len(texts))})
    return alt.Chart(rows, width=300, height=30 * len(texts)).mark_text(fontSize=20).encode(y=alt.Y("y:Q", axis=None), text="t:N")


def ink(*texts: str) -> list[tuple[int, int]]:
    picture = Image.open(io.BytesIO(chart_png(chart(*texts), "#ffffff", 1.0))).convert("L")
    return sorted(picture.resize((60, 20)).getcolors() or [])


def test_names_that_we_give_to_tokens_have_glyphs() -> None:
    names = [SIGNS, *characters._CONTROLS, *characters._NAMED.values(), *characters._DRAWN.values(), "₀₁₂₃₄₅₆₇₈₉", "␣"]
    assert glyphs.lacking(names) == ""


@pytest.mark.parametrize(
    "text", ["日本語の文", "中文测试", "한국어 문장", "😀👍🏽🎉", "⟨bos⟩", "␣⏎⇥", "Ελληνικά", "Привет", "שלום", "مرحبا"]
)
def test_scripts_have_glyphs_and_no_boxes(text: str) -> None:
    assert glyphs.lacking([text]) == ""
    boxes = "\U0001f9ff\u0e01\u0e02\u0e03\u0e04\u0e05"[1 : 1 + len(text)]
    assert ink(text) != ink(boxes)  # what has no glyph looks otherwise
    one, other = text[0], text[-1]
    if one != other and "⟨" not in text:
        assert ink(one * 3) != ink(other * 3)  # two boxes would look the same


def test_what_no_font_has_is_named_once() -> None:
    assert glyphs.lacking(["ไทย", "ไ", "abc", "é", "👨\u200d👩"]) == "ไทย"
    assert glyphs.sentence("ไทย").startswith("No font here has ไ ท ย: in PNG, SVG and PDF boxes")
    assert "and 3 more" in glyphs.sentence("กขฃคฅฆงจฉชซฌญฎฏ")
    assert glyphs.lacking(["plain", "naïve – “quoted”", "\n\t"]) == ""


def test_an_svg_carries_the_glyphs_that_it_needs() -> None:
    svg = chart_svg(chart("日本", "plain"), "#ffffff").decode()
    (data,) = re.findall(r"base64,([^)]+)\)", svg)
    font = TTFont(io.BytesIO(base64.b64decode(data)))
    assert {ord("日"), ord("本")} <= set(font.getBestCmap()) and len(data) < 20_000
    assert f'font-family="{glyphs.FAMILY}"' in svg and svg.count(f'font-family="{glyphs.FAMILY}"') == 1
    plain = chart_svg(chart("plain", "a <b> & c"), "#ffffff").decode()
    assert "@font-face" not in plain and "&lt;b&gt; &amp; c" in plain


def test_a_pdf_has_them_too() -> None:
    usual, unusual = chart_pdf(chart("plain"), "#ffffff"), chart_pdf(chart("日本"), "#ffffff")
    assert usual.startswith(b"%PDF") and unusual.startswith(b"%PDF") and b"infoflow" in unusual and b"infoflow" not in usual
