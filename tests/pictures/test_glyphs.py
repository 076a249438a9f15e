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


TEXTS = ("日本語の文", "中文测试", "한국어 문장", "😀👍🏽🎉", "⟨bos⟩", "␣⏎⇥", "Ελληνικά", "Привет", "שלום", "مرحبا")


@pytest.fixture(scope="module")
def ink() -> dict[str, list[tuple[int, int]]]:
    """How texts look, all drawn in one picture: every text, as many boxes, and its first and last character three times."""
    lines = [line for text in TEXTS for line in (text, boxes(text), text[0] * 3, text[-1] * 3)]
    picture = Image.open(io.BytesIO(chart_png(chart(*lines), "#ffffff", 1.0))).convert("L")
    high = picture.height / len(lines)
    found = {}
    for number, line in enumerate(lines):
        row = picture.crop((0, round(number * high), picture.width, round((number + 1) * high)))
        found[line] = sorted(row.resize((60, 20)).getcolors() or [])
    return found


def boxes(text: str) -> str:
    """What no font here has, as long as a text."""
    return "\u0e01\u0e02\u0e03\u0e04\u0e05"[: len(text)]


def test_names_that_we_give_to_tokens_have_glyphs() -> None:
    names = [SIGNS, *characters._CONTROLS, *characters._NAMED.values(), *characters._DRAWN.values(), "₀₁₂₃₄₅₆₇₈₉", "␣"]
    assert glyphs.lacking(names) == ""


@pytest.mark.parametrize("text", TEXTS)
def test_scripts_have_glyphs_and_no_boxes(text: str, ink: dict[str, list[tuple[int, int]]]) -> None:
    assert glyphs.lacking([text]) == ""
    assert ink[text] != ink[boxes(text)]  # what has no glyph looks otherwise
    one, other = text[0], text[-1]
    if one != other and "⟨" not in text:
        assert ink[one * 3] != ink[other * 3]  # two boxes would look the same


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


def test_lines_of_a_title_are_set_in_one_font() -> None:
    titled = chart("plain").properties(title=alt.Title(["plain", "日本"], subtitle=["of one", "line ⟨bos⟩"]))
    svg = chart_svg(titled, "#ffffff").decode()
    assert svg.count(f'font-family="{glyphs.FAMILY}"') == 2
    (data,) = re.findall(r"base64,([^)]+)\)", svg)
    assert {ord(char) for char in "日本⟨⟩"} <= set(TTFont(io.BytesIO(base64.b64decode(data))).getBestCmap())


def test_a_pdf_has_them_too() -> None:
    usual, unusual = chart_pdf(chart("plain"), "#ffffff"), chart_pdf(chart("日本"), "#ffffff")
    assert usual.startswith(b"%PDF") and unusual.startswith(b"%PDF") and b"infoflow" in unusual and b"infoflow" not in usual
