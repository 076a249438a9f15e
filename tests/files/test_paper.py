"""Figures for a paper: as wide as asked to the point, type of the size that was asked for, light, with every letter."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infoflow.errors import InfoflowError
from infoflow.files import paper
from infoflow.files.paper import Paper, caption, figure, width_of
from infoflow.pictures.picture import Picture, lines_of, picture_of
from infoflow.pictures.rendering import svg_converted
from tests.helpers import made

PATTERN = np.tile(np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None], (2, 2, 1, 1))
MADE: dict[str, Callable[[], Any]] = {
    "flow": made.flow, "attention": lambda: made.attention(PATTERN), "lens": lambda: made.lens([[5, 5, 0], [5, 1, 0], [5, 1, 3]]),
    "generation": lambda: made.generation([[0.5, 0.3, 0.2]], 3),
    "location": lambda: made.location([[1, 4, 1], [1, 4, 1], [0, 0, 6]]),
    "attribution": lambda: made.attribution([1.0, -3.0, 2.0]), "query_key": lambda: made.query_key([[0.5, 0.0], [0.0, 1.0]]),
    "readers": lambda: made.readers(1.0, [0.5, -0.25], 2.0), "carriers": made.carriers,
    "graph": lambda: made.graph([(0, 0, 0, 1.0), (1, 0, 1, 1.0)], [1.0, 0.0]),
}  # fmt: skip


def page_of(pdf: bytes) -> tuple[float, float]:
    """Width and height of a PDF's only page, in points."""
    (box,) = re.findall(rb"/MediaBox ?\[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
    return float(box[0]), float(box[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_every_picture_is_as_wide_as_it_should_be(name: str) -> None:
    """Its axes and legends included: nothing is laid out beyond the width, so that no type is smaller than was asked for."""
    drawn = picture_of(MADE[name]())
    svg = figure(drawn, "svg", Paper(width_of("1col"))).decode()
    size = re.match(r'<svg [^>]*?width="([\d.]+)in" height="([\d.]+)in" viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert size is not None, svg[:200]
    wide, high, pixels, tall = map(float, size.groups())
    assert wide == pytest.approx(3.25, abs=1e-3) and high / wide == pytest.approx(tall / pixels, rel=1e-3)
    assert pixels == round(234 * 10 / 8)  # 8 points for what is drawn with 10 pixels
    assert svg.count(f">{drawn.title.split()[0]}") >= 1 or drawn.title.split()[0] in svg


ENDS: dict[str, Callable[[], Any]] = {"carriers": made.carriers, "promotions": lambda: made.promotions(5)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDS)
def test_no_text_at_the_end_of_a_bar_is_cut_off(name: str) -> None:
    """In a picture with more paper on both sides nothing is drawn there, nor under the names of the bars."""
    svg = figure(picture_of(ENDS[name]()), "svg", Paper(72.0 * 2.4, titled=False)).decode()
    (wide, high) = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    more = re.sub(r'width="[^"]*" height="[^"]*" viewBox="[^"]*"', f'viewBox="-60 0 {wide + 120} {high}"', svg, count=1)
    drawn = np.asarray(Image.open(io.BytesIO(svg_converted(more.encode(), "png"))).convert("RGBA"))
    assert drawn.shape[1] == pytest.approx(wide + 120, abs=1)
    assert not drawn[:, :59, 3].any() and not drawn[:, -59:, 3].any()
    ends = re.findall(r'<text [^>]*role="graphics-symbol"[^>]*text-anchor="end" transform="translate\((-?[\d.]+),', svg)
    assert all(float(x) > 30 for x in ends)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "points"), [("1col", 234.0), ("2col", 486.0), ("8.5cm", 8.5 * 72 / 2.54), ("300pt", 300.0)])
def test_a_pdf_has_the_size_in_points(width: str, points: float) -> None:
    drawn = picture_of(made.attribution([1.0, -3.0]))
    found = page_of(figure(drawn, "pdf", Paper(width_of(width), 9.0)))
    assert found[0] == pytest.approx(points, abs=0.02) and 40 < found[1] < 400
    plain = page_of(figure(drawn, "pdf", Paper(width_of(width), 9.0, titled=False)))
    assert plain[0] == found[0] and plain[1] < found[1] - 10  # without title and note


@pytest.mark.slow
def test_type_has_the_size_that_was_asked_for() -> None:
    drawn = picture_of(made.attribution([1.0, -3.0]))
    for size in (6.0, 8.0, 12.0):
        svg = figure(drawn, "svg", Paper(234.0, size)).decode()
        (pixels,) = re.findall(r'viewBox="0 0 ([\d.]+) ', svg)
        labels = re.findall(r'<text [^>]*font-size="([\d.]+)px"[^>]*>−?\d', svg)
        assert labels and all(float(label) * 234 / float(pixels) == pytest.approx(size, rel=0.01) for label in labels)


def test_a_png_has_300_pixels_an_inch() -> None:
    found = Image.open(io.BytesIO(figure(picture_of(made.attribution([1.0])), "png", Paper(144.0, titled=False))))
    assert abs(found.width - 600) <= 1 and found.info["dpi"][0] == pytest.approx(300, abs=0.1)
    corner = found.convert("RGB").getpixel((2, 2))
    assert corner == (255, 255, 255)


def test_long_titles_are_broken_and_ideographs_count_twice() -> None:
    assert (
        lines_of("one two three", 7.0) == ["one two", "three"]
        and lines_of("", 5.0) == []
        and lines_of("abcdefg", 3.0) == ["abc", "def", "g"]
    )
    assert lines_of("日本の首都", 4.0) == ["日本", "の首", "都"] and lines_of("a 日本", 4.0) == ["a 日", "本"]
    many = replace(picture_of(made.attribution([1.0])), title="日本の首都は東京です。" * 4, note="Word " * 60)
    svg = figure(many, "svg", Paper(width_of("1col"))).decode()
    lines = re.findall(r"<tspan[^>]*>([^<]+)</tspan>", svg)
    assert len(lines) > 8 and max(map(len, lines)) < 60
    assert re.search(r'viewBox="0 0 292(\.\d+)? ', svg)


@pytest.mark.slow
@pytest.mark.parametrize("kind", paper.KINDS)
def test_letters_of_every_script_are_in_the_figure(kind: str) -> None:
    """The picture with boxes in their place looks otherwise; a PDF and an SVG have the font."""
    words, none = (
        ("東京", "مرحبا", "한국", "😀👍"),
        ("\u0e01\u0e02", "\u0e01\u0e02\u0e03\u0e04\u0e05", "\u0e01\u0e02", "\u0e01\u0e02"),
    )
    both = [
        figure(picture_of(made.attribution([1.0, 2.0, 3.0, 4.0], labels=names)), kind, Paper(300.0)) for names in (words, none)
    ]
    assert both[0] != both[1]
    if kind == "svg":
        assert both[0].count(b"@font-face") == 1 and "東京" in both[0].decode()
    if kind == "pdf":
        assert b"infoflow" in both[0]


def test_a_caption_says_what_the_sentences_say() -> None:
    found = made.attribution([1.0, -3.0])
    drawn = picture_of(found)
    said = caption(drawn, found)
    assert said.startswith(f"{drawn.title}. ") and found.summary() in said and said.endswith(drawn.note) and ".." not in said
    assert caption(drawn) == f"{drawn.title}. {drawn.note}"
    assert caption(Picture(drawn.chart, drawn.frame, "T", "")) == "T."


def test_what_is_no_size_is_told() -> None:
    for text in ("", "3", "3 col", "-1in", "1e9in", "inch", "nanpt"):
        with pytest.raises(InfoflowError, match="is no width"):
            width_of(text)
    assert width_of(" 2COL ") == 486 and width_of("25.4 mm") == pytest.approx(72) and width_of(".5in") == 36
    for width, size, match in ((36.0, 8.0, "1 to 20 inches"), (2000.0, 8.0, "1 to 20 inches"), (234.0, 3.0, "4 to 30 points"),
                               (float("nan"), 8.0, "1 to 20"), (234.0, float("nan"), "4 to 30")):  # fmt: skip
        with pytest.raises(InfoflowError, match=match):
            Paper(width, size)


def test_it_is_written_by_its_ending(tmp_path: Path) -> None:
    drawn = picture_of(made.attribution([1.0]))
    paper.write(drawn, tmp_path / "a.pdf", Paper(234.0))
    assert page_of((tmp_path / "a.pdf").read_bytes())[0] == pytest.approx(234, abs=0.02)
    for name in ("a.html", "a.vl.json", "a"):
        with pytest.raises(InfoflowError, match="is .pdf, .svg or .png"):
            paper.write(drawn, tmp_path / name, Paper(234.0))
