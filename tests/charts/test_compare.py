"""Two runs and their difference: three panels of one view on one scale, told by where their marks are drawn."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import infoflow
from infoflow.analyses.result import Prediction
from infoflow.charts import compare as charts
from infoflow.charts.palette import DARK, LIGHT, signed_ramp
from infoflow.pictures import compare as pictures
from infoflow.pictures import rendering
from infoflow.pictures import swap as swap_pictures
from infoflow.pictures.picture import background, picture_of
from infoflow.studies.compare import Comparison
from infoflow.summaries import compare as summaries
from infoflow.tables import compare as tables
from tests.helpers import made
from tests.helpers.drawn import drawing

TITLES = ("A", "B", "B − A")


def flows() -> Comparison:
    """Sources A, bc, d at the last position: shares of bc 2/3 and 1/2 in layer 0, else alike."""
    one = made.flow(2, {(0, 1, 3): [5, 2, 1]}, top=())
    other = replace(made.flow(2, top=()), tokens=("A", " x", "c", " d"), labels=("A", "x", "c", "d"), token_ids=(0, 9, 2, 3))
    return infoflow.compare(one, other)


def test_a_share_is_as_long_in_the_difference_as_in_the_bars() -> None:
    table = tables.residual(flows())
    assert table["source_label"].unique().tolist() == ["bc", "d"]  # of the hidden first one there is nothing
    drawn = drawing(charts.stacks(table, TITLES, ["#000000", "#111111", "#222222"]), 1000)
    bars = drawn.of("rect", "bars")
    assert len(bars) == 4 + 4 + 2 and {bar["fill"] for bar in bars} == {"#111111", "#222222"}
    whole = max(bar["x"] + bar["width"] for bar in bars[:4]) - min(bar["x"] for bar in bars[:4])
    widths = sorted(bar["width"] / whole for bar in bars)
    assert widths == pytest.approx([1 / 6, 1 / 6, 1 / 3, *[1 / 2] * 6, 2 / 3], abs=2e-3)
    (zero,) = drawn.of("rule", "zero")
    less, more = sorted(bars[-2:], key=lambda bar: bar["x"])
    assert less["x"] + less["width"] == pytest.approx(zero["x"], abs=0.1) == pytest.approx(more["x"], abs=0.1)
    assert less["fill"] == "#111111" and more["fill"] == "#222222" and less["y"] == more["y"]
    assert [text["text"] for text in drawn.of("text", "titles")] == list(TITLES)
    assert [text["text"] for text in drawn.of("text", "largest") if text["text"]] in (["−17% bc"], ["+17% d"])
    assert [name for _, name in sorted(drawn.axes["left"])] == ["L1", "L0"]


def test_negative_shares_go_left_of_each_panels_zero() -> None:
    table = pd.DataFrame(
        {"layer": [0, 0], "row": "L0", "source": [0, 1], "source_label": ["x", "y"], "a": [1.5, -0.5], "b": [1.2, -0.2]}
    )
    drawn = drawing(charts.stacks(table.assign(difference=table["b"] - table["a"]), TITLES, ["#000000", "#111111"]), 1000)
    x, y = (next(b for b in drawn.of("rect", "bars") if b["fill"] == fill) for fill in ("#000000", "#111111"))
    assert y["x"] + y["width"] == pytest.approx(x["x"], abs=0.1) and x["width"] == pytest.approx(3 * y["width"], rel=1e-3)


def cells(a: list[list[float]], b: list[list[float]]) -> pd.DataFrame:
    one, other = np.array(a), np.array(b)
    order, place = (at.ravel() for at in np.indices(one.shape))
    table = pd.DataFrame({"order": order, "place": place, "row": [f"L{o}" for o in order], "column": [f"c{p}" for p in place]})
    return table.assign(a=one.ravel(), b=other.ravel(), difference=(other - one).ravel())


@pytest.mark.parametrize("dark", [False, True])
def test_a_colour_means_the_same_in_all_panels(dark: bool) -> None:
    table = cells([[2.0, 0.0], [0.0, -2.0]], [[0.0, 0.0], [0.0, -2.0]])
    columns = pd.DataFrame({"a": ["x", "y"], "b": ["x", "z"], "differs": [False, True]})
    chart = charts.maps(table, TITLES, columns, "+.1f", dark=dark)
    drawn = drawing(chart, 900)
    found = drawn.of("rect", "cells")
    assert len(found) == 12 and len({cell["x"] for cell in found}) == 6 and len({round(cell["width"], 2) for cell in found}) == 1
    low, plain, high = signed_ramp(dark)
    as_rgb = [f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})" for colour in (low, plain, high)]
    assert [found[i]["fill"] for i in (0, 1, 3, 4, 7, 8, 11)] == [as_rgb[i] for i in (2, 1, 0, 1, 0, 0, 1)]
    assert found[0]["y"] > found[2]["y"], "the last row on top"
    names = [name for _, name in sorted(drawn.axes["bottom"])]
    assert names == ["x", "y", "x", "z", "x", "y | z"]
    (axis,) = [layer["encoding"]["x"]["axis"] for layer in chart.to_dict()["layer"][:1]]
    assert (
        axis["labelColor"]["condition"]["value"] == (DARK if dark else LIGHT).final
        and "[1.65, 4.75, 7.85]" in axis["labelColor"]["condition"]["test"]
    )
    assert [text["text"] for text in drawn.of("text", "numbers")][:4] == ["+2.0", "+0.0", "+0.0", "−2.0"]
    assert {text.get("opacity") for text in drawing(chart, 150).of("text", "numbers")} == {0}, "no room"


def test_colour_goes_by_the_square_root_where_small_weights_shall_show() -> None:
    table = cells([[1.0, 0.25]], [[1.0, 0.25]])
    columns = pd.DataFrame({"a": ["x", "y"], "b": ["x", "y"], "differs": False})
    straight, rooted = (
        drawing(charts.maps(table, TITLES, columns, root=root)).of("rect", "cells")[1]["fill"] for root in (False, True)
    )
    half = drawing(charts.maps(cells([[1.0, 0.5]], [[1.0, 0.5]]), TITLES, columns)).of("rect", "cells")[1]["fill"]
    assert rooted == half != straight
    nothing = drawing(charts.maps(cells([[0.0, 0.0]], [[0.0, 0.0]]), TITLES, columns))
    assert len({cell["fill"] for cell in nothing.of("rect", "cells")}) == 1


def test_bars_are_of_one_length_a_number() -> None:
    table = pd.DataFrame({"name": ["p", "q"], "a": [0.8, 0.1], "b": [0.2, 0.6], "difference": [-0.6, 0.5]})
    drawn = drawing(charts.bars(table, TITLES), 900)
    widths = [bar["width"] for bar in drawn.of("rect", "bars")]
    assert widths == pytest.approx([width * widths[0] / 0.8 for width in (0.8, 0.1, 0.2, 0.6, 0.6, 0.5)], rel=1e-3)
    fell, rose = drawn.of("rect", "bars")[4:]
    assert (
        fell["x"] + fell["width"] == pytest.approx(rose["x"], abs=0.1) and fell["fill"] != rose["fill"] and fell["y"] < rose["y"]
    )
    said = [text["text"] for text in (*drawn.of("text", "numbers_left"), *drawn.of("text", "numbers_right"))]
    assert said == ["80.0%", "10.0%", "20.0%", "60.0%", "+50.0%", "−60.0%"]


def test_a_band_that_has_no_ratio_leaves_the_others_drawn() -> None:
    """By distance “bc” is nothing in the last layer: the other two have their bars."""
    one = made.flow(parts={(2, 1, 3): [5, 0, 1]})
    drawn = swap_pictures.picture(infoflow.swap_ratio(one, made.flow(), "bc"))
    assert drawn.note.endswith("A over B: early 1.00, middle 1.00, late none.")
    bars = drawing(drawn.chart, 900).of("rect", "bars")
    assert sorted(round(bar["width"] / bars[0]["width"], 3) for bar in bars) == [0, 0, 1, 1, 1, 1, 1]
    assert [name for _, name in sorted(drawing(drawn.chart, 900).axes["left"])][0] == "late (L2): no ratio"
    assert "nan%" not in json.dumps(drawn.chart.to_dict())


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_every_picture_renders_and_says_what_it_is(dark: bool, demo: infoflow.Model) -> None:
    runs = {
        "flow": lambda p: infoflow.decompose(demo, p), "location": lambda p: infoflow.locate(demo, p, " Paris"),
        "attention": lambda p: infoflow.attention(demo, p), "generation": lambda p: infoflow.generate(demo, p, 1),
        "logit_lens": lambda p: infoflow.logit_lens(demo, p, targets=[" Rome"]),
    }  # fmt: skip
    for kind, run in runs.items():
        found = infoflow.compare(run("The capital of France is"), run("The capital of Italy is"))
        drawn = picture_of(found, dark)
        assert found.kind == kind and "“The capital of France is” (A) and “The capital of Italy is” (B) on demo" in drawn.title
        assert "One scale for all three." in drawn.note and {*TITLES} <= {*drawn.frame}
        assert rendering.chart_svg(drawn.with_words(), background(dark)).startswith(b"<svg")
    swapped = infoflow.swap_ratio(*(runs["flow"](f"The capital of {name} is") for name in ("France", "Italy")), "France", "Italy")
    shown = swap_pictures.picture(swapped, dark)
    assert "A over B: early 1.09" in shown.note and rendering.chart_svg(shown.with_words(), background(dark)).startswith(b"<svg")
    assert "image/png" in rendering.in_notebook(swapped)


def test_titles_say_what_the_two_have_in_common_once() -> None:
    one = made.attention(np.tril(np.ones((1, 1, 3, 3))))
    same = infoflow.compare(one, one)
    assert pictures.picture(same).title == "Attention of head 0.0, of “a bb c” on by-hand (A) and by-hand (B)"
    other = replace(one, provenance=replace(one.provenance, weights="4-bit weights"))
    assert infoflow.compare(one, other).provenance.apart == "weights"
    assert pictures.sides(infoflow.compare(one, other).provenance).endswith("on by-hand (A) and by-hand, 4-bit weights (B)")


def test_what_is_said_of_two_runs() -> None:
    pattern = np.tril(np.ones((2, 2, 3, 3)))
    moved = pattern.copy()
    moved[1, 0, 2] = [0.25, 1, 1]
    one = made.attention(pattern)
    other = made.attention(moved, next_token=Prediction(" else", 8, 0.5, 3.0))
    first, second = summaries.sentences(infoflow.compare(one, other))
    assert first.text == "From A to B “next” falls from 80.0% to less than 50.0%; the likeliest is now “else” (50.0%)."
    assert second.text == "Their patterns are farthest apart in layer 1, head 0, at “C”, on “A”: 100% in A, 25% in B."
    same = summaries.sentences(infoflow.compare(one, one))
    assert [s.text for s in same] == [
        "From A to B “next” stays at 80.0%, and is still the likeliest.",
        "Their patterns are the same to 0.1%.",
    ]
    wrong = made.flow(error=np.full((3, 2, 4), 0.5, np.float32), top=())
    assert "names a winner" in summaries.sentences(infoflow.compare(made.flow(top=()), wrong))[0].text


def test_of_long_prompts_the_last_positions_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_COLUMNS", 2)
    one = made.attention(np.tril(np.ones((1, 1, 4, 4))))
    drawn = pictures.attention(infoflow.compare(one, one))
    assert drawn.note.endswith("The last 2 of 4 positions.") and len(drawing(drawn.chart).of("rect", "cells")) == 3 * 3
    assert [name for _, name in drawing(drawn.chart).axes["left"]][::-1] in (["C", "D"], ["D", "C"])
    where = made.location([[1, 2, 3]] * 3, bias=np.ones(3, np.float32))
    where = replace(where, provenance=replace(where.provenance, ids=(5, 6, 7)), top=())
    columns = sorted(drawing(pictures.answer(infoflow.compare(where, where)).chart).axes["bottom"])
    assert [name for _, name in columns] == ["B", "C", "bias"] * 3


@pytest.mark.parametrize(("n", "width", "shown"), [(30, 300, 12), (30, 900, 42), (64, 300, 22), (64, 900, 77), (5, 300, 12)])
def test_names_of_many_sources_leave_room_for_the_bars(n: int, width: int, shown: int) -> None:
    """Six rows of names, or as many as all take in six columns: a narrow window has two of them, a wide one seven."""
    rows = [
        {"layer": 0, "row": "L0", "source": s, "source_label": f"a long name {s}", "a": 1 / n, "b": 1 / n, "difference": 0.0}
        for s in range(n)
    ]
    spec = json.dumps(charts.stacks(pd.DataFrame(rows), ("A", "B", "B − A"), ["#123456"] * n).to_dict())
    (limit,) = set(re.findall(r'"symbolLimit": {"expr": "([^"]+)"}', spec))
    names = {"width": width, "floor": math.floor, "clamp": lambda value, low, high: max(low, min(high, value))}
    assert eval(limit, {}, names) == shown  # noqa: S307  our own
