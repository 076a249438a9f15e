"""The grid and its companions where Vega draws them: rectangles, labels and texts in pixels, worked out by hand."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from infoflow.charts import flow as charts
from infoflow.charts.palette import DARK, LIGHT
from tests.helpers.drawn import Drawing, drawing

COLOURS = ["#111111", "#222222", "#333333"]
TOKENS = ["zero", "one", "two", "three"]
ROWS = ("mid", "post")
HEIGHTS = {"both": (0.42, 0.42), "attention": (0.70, 0.14), "MLP": (0.14, 0.70)}


def table(cells: Sequence[tuple[int, str, int]], shares: Sequence[float]) -> pd.DataFrame:
    """The same shares in each of some cells (layer, stage, position)."""
    rows = [(*cell, TOKENS[cell[2]], s, f"s{s}", share) for cell in cells for s, share in enumerate(shares)]
    return pd.DataFrame(rows, columns=["layer", "stage", "position", "token", "source", "source_label", "share"])


def cells(layers: Sequence[int], positions: Sequence[int]) -> list[tuple[int, str, int]]:
    return [(layer, stage, p) for layer in layers for stage in ROWS for p in positions]


def grid(frame: pd.DataFrame, picked: dict[str, Any] | None = None, **more: Any) -> Drawing:
    """400 pixels wide: 100 a position where all four are shown."""
    look = charts.Look(colours=COLOURS, **{k: v for k, v in more.items() if k not in ("hidden_share", "predictions")})
    rest = {k: v for k, v in more.items() if k in ("hidden_share", "predictions")}
    return drawing(charts.grid(frame, TOKENS, [0, 1, 2, 2], look, **rest), 400, **(picked or {}))


def box(item: dict[str, Any]) -> tuple[float, float, float, float]:
    """left, right, top, bottom"""
    left, top = round(item["x"], 4), round(item["y"], 4)
    return left, round(left + item["width"], 4), top, round(top + item["height"], 4)


def vertical(bottom: float, height: float, layers: int, pixels: float = 300) -> tuple[float, float]:
    """Top and bottom in pixels of what is so high above the embedding's ground: 1.05 units are above and below the layers."""
    unit = pixels / (layers + 1.05)
    return pixels - (bottom + height + 1) * unit, pixels - (bottom + 1) * unit


@pytest.mark.parametrize("emphasis", HEIGHTS)
def test_every_bar_stands_in_its_cell_and_is_as_wide_as_its_shares(emphasis: str) -> None:
    drawn = grid(table(cells([3, 4], range(4)), [0.25, 0.5, 0.25]), first_layer=3, emphasis=emphasis)
    assert (drawn.width, drawn.height) == (400, 300)
    low, high = HEIGHTS[emphasis]
    rows = {(3, "mid"): (0.06, low), (3, "post"): (0.1 + low, high), (4, "mid"): (1.06, low), (4, "post"): (1.1 + low, high)}
    found = sorted((*box(bar), bar["fill"]) for bar in drawn.of("rect", "bars"))
    wanted = sorted(
        (100 * p + 6 + left, 100 * p + 6 + right, *vertical(*row, layers=2), colour)
        for row in rows.values()
        for p in range(4)
        for (left, right), colour in zip(((0, 22), (22, 66), (66, 88)), COLOURS, strict=True)
    )
    for one, other in zip(found, wanted, strict=True):
        assert one[:4] == pytest.approx(other[:4], abs=0.03) and one[4] == other[4]
    said = [bar["description"] for bar in drawn.of("rect", "bars") if (bar["x"], bar["fill"]) == (128, COLOURS[1])]
    told = "share: 50.0%; at position of: one; position: 1; layer: {}; row: {}"
    assert [text[text.index("share") :] for text in said] == [
        told.format(layer, row) for layer in (3, 4) for row in ("after attention", "after MLP")
    ]
    ground = sorted(box(cell) for cell in drawn.of("rect", "ground"))
    hulls = sorted((100 * p + 6, 100 * p + 94, *vertical(*row, layers=2)) for row in rows.values() for p in range(4))
    for one, other in zip(ground, hulls, strict=True):
        assert one == pytest.approx(other, abs=0.03)


def test_embeddings_and_the_stripe_of_tokens_lie_below_the_layers() -> None:
    frame = pd.concat([table(cells([0, 1], range(4)), [1.0]), table([(-1, "embed", p) for p in range(4)], [1.0])])
    drawn = grid(frame)
    row = vertical(-0.42, 0.34, layers=2)
    below = [box(bar) for bar in drawn.of("rect", "bars") if bar["y"] > vertical(0, 0, 2)[0]]
    assert [b[:2] for b in below] == [(100 * p + 6, 100 * p + 94) for p in range(4)]
    assert all(b[2:] == pytest.approx(row, abs=0.03) for b in below)
    assert [box(g) for g in drawn.of("rect", "ground") if g["y"] > vertical(0, 0, 2)[0]] == below
    stripe = drawn.of("rect", "stripe")
    assert [box(s)[:2] for s in stripe] == [(100 * p + 6, 100 * p + 94) for p in range(4)]
    assert all(box(s)[2:] == pytest.approx(vertical(-0.92, 0.26, 2), abs=0.03) for s in stripe)
    assert [s["fill"] for s in stripe] == [COLOURS[s] for s in (0, 1, 2, 2)]
    assert drawn.axes["bottom"] == [(50, "zero"), (150, "one"), (250, "two"), (350, "three")]
    assert len(drawn.of("rect", "ground")) == 20 and len(grid(table(cells([0], range(4)), [1.0])).of("rect", "ground")) == 8


@pytest.mark.parametrize(
    ("emphasis", "names"),
    [
        ("both", ["embed", "attn", "L5 MLP", "attn", "L6 MLP"]),
        ("attention", ["embed", "L5 attn", "L6 attn"]),
        ("MLP", ["embed", "L5 MLP", "L6 MLP"]),
    ],
)
def test_rows_are_named_at_their_middle(emphasis: str, names: list[str]) -> None:
    frame = pd.concat([table(cells([5, 6], [0]), [1.0]), table([(-1, "embed", 0)], [1.0])])
    drawn = grid(frame, first_layer=5, emphasis=emphasis, positions=(0, 0), height=1000)
    at = {name: y for y, name in reversed(drawn.axes["left"])}
    assert [name for _, name in sorted(drawn.axes["left"], reverse=True)] == names
    tall = {"attn": 0.06, "L5 attn": 0.06, "L5 MLP": 0.1 + HEIGHTS[emphasis][0], "embed": -0.42}
    for name, bottom in tall.items():
        if name in at:
            height = 0.34 if name == "embed" else max(HEIGHTS[emphasis])
            assert at[name] == pytest.approx(sum(vertical(bottom, height, 2, 1000)) / 2, abs=4)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "pixels"), [(1, 300), (4, 358), (8, 606), (9, 640)])
def test_the_grid_grows_with_its_layers_up_to_a_limit(layers: int, pixels: int) -> None:
    assert grid(table(cells(range(layers), [0]), [1.0])).height == pixels


def test_a_window_of_positions_is_all_that_is_drawn() -> None:
    frame = table(cells([0], range(4)), [1.0])
    ticks = frame[["layer", "stage", "position"]].assign(share=0.5)
    drawn = grid(frame, positions=(1, 2), hidden_share=ticks)  # 200 pixels a position
    for name, n in (("bars", 4), ("ground", 4), ("stripe", 2)):
        assert sorted({box(item)[:2] for item in drawn.of("rect", name)}) == [(12, 188), (212, 388)], name
        assert len(drawn.of("rect", name)) == n
    assert drawn.axes["bottom"] == [(100, "one"), (300, "two")]
    hidden = [item for item in drawn.of("rect") if item["fill"] == LIGHT.muted]
    assert sorted(box(h)[:2] for h in hidden) == [(12, 100), (12, 100), (212, 300), (212, 300)]


def test_negative_shares_hang_in_a_band_of_their_own_within_the_row() -> None:
    frame = pd.concat([table([(0, "mid", 0)], [1.5, -0.5, 0.5]), table([(0, "mid", 1)], [0.5, 0.3, -0.009]),
                       table([(0, "post", 1)], [0.6, 0.4, -0.02]), table([(0, "post", 2)], [0.501, 0.4985, 0.0005])])  # fmt: skip
    drawn = grid(frame)
    by: dict[tuple[int, str], list[tuple[float, float, float, float]]] = {}
    for item in drawn.of("rect", "bars"):
        by.setdefault((int(item["x"] // 100), item["fill"]), []).append(box(item))
    band, row = 0.26 * 0.42, vertical(0.06, 0.42, 1)
    up, last, (down,) = by[0, COLOURS[0]][0], by[0, COLOURS[2]][0], by[0, COLOURS[1]]
    assert up == pytest.approx((6, 72, row[0], vertical(0.06 + band, 0, 1)[1]), abs=0.03)  # 1.5 of 2.0, above the band
    assert last[:2] == pytest.approx((72, 94), abs=0.02)
    assert down == pytest.approx((6, 28, *vertical(0.06, 0.8 * band, 1)), abs=0.03)
    assert all(0 <= box(item)[2] <= box(item)[3] <= 300 for item in drawn.of("rect", "bars"))
    mid, post = sorted(by[1, COLOURS[0]], key=lambda b: -b[2])
    assert mid[2:] == pytest.approx(row, abs=0.03)  # next to nothing is negative: no band is kept free
    assert mid[1] - mid[0] == pytest.approx(44, abs=0.02)  # a bar that is not full
    assert post[3] == pytest.approx(vertical(0.52 + band, 0, 1)[1], abs=0.03) and post[1] - post[0] == pytest.approx(
        52.8, abs=0.02
    )
    assert len(by[1, COLOURS[2]]) == 2 and (2, COLOURS[2]) not in by  # less than 0.2 % is no rectangle
    assert by[2, COLOURS[1]][0][:2] == pytest.approx((206 + 44.088, 206 + 87.956), abs=0.03)


def test_hidden_shares_are_ticks_just_below_their_bars() -> None:
    frame = table(cells([2], [0, 1]), [1.0])
    ticks = frame[["layer", "stage", "position"]].assign(share=[0.25, 1.2, 0.5, -0.1])
    drawn = grid(frame, first_layer=2, hidden_share=ticks)
    found = [box(item) for item in drawn.of("rect") if item["fill"] == LIGHT.muted]
    unit = 300 / 2.05
    for bar, width, bottom in zip(found, (22, 88, 44, 0), (0.06, 0.06, 0.52, 0.52), strict=True):
        assert bar[1] - bar[0] == pytest.approx(width, abs=0.02) and bar[0] in (6, 106)
        assert bar[2:] == pytest.approx((300 - (bottom - 0.006 + 1) * unit, 300 - (bottom - 0.028 + 1) * unit), abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "n"), [(1, 1), (2, 5), (9, 3)])
def test_predictions_stand_one_under_the_other_above_the_last_bar(layers: int, n: int) -> None:
    said = pd.DataFrame({
        "token": [f"t{i}" for i in range(n)], "probability": [0.6, 0.01, 0.009, 0.004, 0.001][:n], "logit": 1.0, "id": range(n)
    }, index=range(7, 7 + n))  # fmt: skip
    drawn = grid(table(cells(range(layers), range(3)), [1.0]), predictions=said, positions=(0, 2))
    texts = sorted(drawn.of("text"), key=lambda item: item["y"])
    assert [t["text"] for t in texts] == ["next token", "t0  60%", "t1  1%", "t2  <1%", "t3  <1%", "t4  <1%"][: n + 1]
    assert all(t["x"] == pytest.approx(400 * (3 - 0.06) / 3) and t["align"] == "right" for t in texts)
    gaps = [b["y"] - a["y"] for a, b in zip(texts, texts[1:], strict=False)]
    assert all(15.5 < gap < 17.5 for gap in gaps) and texts[0]["y"] > 8
    assert min(item["y"] for item in drawn.of("rect", "ground")) - texts[-1]["y"] > 3
    assert drawn.of("text", "first_answer")[0]["text"] == "t0  60%" and len(drawn.of("text", "answers")) == n - 1


def test_a_traced_source_stays_bright_and_a_chosen_cell_is_outlined() -> None:
    frame = table(cells([0], [0, 1]), [0.5, 0.5])
    where = {"layer": 0, "stage": "post", "position": 1}
    drawn = grid(frame, traced=1, picked={"cell": where})
    assert {(b["fill"], b["opacity"]) for b in drawn.of("rect", "bars")} == {(COLOURS[0], 0.13), (COLOURS[1], 1)}
    (ring,) = [item for item in drawn.of("rect") if item.get("stroke") == LIGHT.text]
    top, bottom = vertical(0.52 - 0.015, 0.42 + 0.03, 1)
    assert box(ring) == pytest.approx((104, 196, top, bottom), abs=0.03) and ring["fillOpacity"] == 0
    assert {b["opacity"] for b in grid(frame).of("rect", "bars")} == {1}
    pale = {b["opacity"] for b in grid(frame, picked={"pin": {"source": 0}}).of("rect", "bars") if b["fill"] == COLOURS[1]}
    assert pale == {0.12}


def test_folding_keeps_each_bars_largest_by_size_and_one_grey_rest() -> None:
    frame = pd.concat([table([(0, "mid", 0)], [0.1, -0.6, 0.2]), table([(0, "mid", 1)], [0.2, 0.2, 0.6])], ignore_index=True)
    folded = charts.fold(frame, keep=2)
    first, second = (bar.set_index("source") for _, bar in folded.groupby("position"))
    assert first["share"].to_dict() == pytest.approx({-1: 0.1, 1: -0.6, 2: 0.2})
    assert second["share"].to_dict() == pytest.approx({-1: 0.2, 0: 0.2, 2: 0.6})
    assert first.loc[-1, "source_label"] == "other sources" and first.loc[-1, "token"] == "zero"
    assert folded["source"].tolist() == [-1, 1, 2, -1, 0, 2]
    many = table([(0, "mid", 0)], [0.1] * 8)
    assert len(charts.fold(many)) == 7 and charts.fold(many)["share"].iloc[0] == pytest.approx(0.2)
    assert [b["fill"] for b in grid(folded).of("rect", "bars")][0] == LIGHT.rest


def test_the_sources_of_a_cell_are_bars_from_zero_with_their_numbers_beside_them() -> None:
    sources = pd.DataFrame({"source": [1, 0, -1], "source_label": ["b", "a", "other"], "share": [0.8, 0.4, -0.2]})
    drawn = drawing(charts.cell_bars(sources, COLOURS, dark=True), 400)
    drawn_at = {b["fill"]: box(b) for b in drawn.of("rect")}
    zero, whole = drawn_at[COLOURS[1]][0], drawn_at[COLOURS[1]][1] - drawn_at[COLOURS[1]][0]
    assert drawn.height == 76 and [name for _, name in drawn.axes["left"]] == ["b", "a", "other"]
    assert drawn_at[COLOURS[0]][:2] == pytest.approx((zero, zero + whole / 2))
    assert drawn_at[DARK.rest][:2] == pytest.approx((zero - whole / 4, zero))
    assert drawn_at[DARK.rest][0] > 0.15 * drawn.width and drawn_at[COLOURS[1]][1] < 0.85 * drawn.width  # room for the numbers
    texts = {t["text"]: (t["x"], t["align"]) for t in drawn.of("text")}
    assert texts["80.0%"][0] > zero + whole - 0.01 and texts["80.0%"][1] == "left"
    assert texts["−20.0%"][0] < zero - whole / 4 + 0.01 and texts["−20.0%"][1] == "right"


def test_bars_of_one_sign_start_at_the_edge() -> None:
    for shares, edge in (([0.5, 0.25], 0), ([-0.5, -0.25], 1)):
        sources = pd.DataFrame({"source": [0, 3], "source_label": ["a", "b"], "logit": shares})
        drawn = drawing(charts.cell_bars(sources, COLOURS, "logit", percent=False))
        a, b = (box(item) for item in drawn.of("rect"))
        assert drawn.of("rect")[1]["fill"] == LIGHT.rest
        if edge:
            assert a[1] > 0.7 * drawn.width and a[0] > 0.1 * drawn.width
        else:
            assert a[0] == 0 and a[1] == pytest.approx(drawn.width / 1.28, abs=0.5)
        assert (a[1] - a[0]) == pytest.approx(2 * (b[1] - b[0]))
        assert {t["text"] for t in drawn.of("text")} == ({"−0.50", "−0.25"} if edge else {"+0.50", "+0.25"})
    nothing = pd.DataFrame({"source": [0], "source_label": ["a"], "share": [0.0]})
    assert drawing(charts.cell_bars(nothing, COLOURS)).of("text")[0]["text"] == "0.0%"


def test_a_share_through_depth_is_a_staircase() -> None:
    path = pd.DataFrame({"depth": [0.0, 0.5, 1.0], "row": ["a", "b", "c"], "share": [0.0, 0.5, 0.25]})
    drawn = drawing(charts.through_depth(path, "#123456"), 300)
    points = drawn.of("symbol")
    assert drawn.height == 150 and [p["x"] for p in points] == pytest.approx([0, drawn.width / 2, drawn.width])
    heights = [150 - p["y"] for p in points]
    assert heights[0] == 0 and heights[2] == pytest.approx(heights[1] / 2)
    assert {p["fill"] for p in points} == {"#123456"} and drawn.of("line")[0]["stroke"] == "#123456"


def test_errors_are_on_a_log_scale_with_the_limit_marked() -> None:
    found = pd.DataFrame({"row": ["a", "b"], "depth": [0.0, 0.5], "worst": [1e-5, 1e-1], "median": [0.0, 1e-9]})
    drawn = drawing(charts.error_by_layer(found), 300)
    assert drawn.height == 190
    worst = [190 - p["y"] for p in drawn.of("symbol") if p.get("fill", p.get("stroke")) == LIGHT.accent]
    assert worst == pytest.approx([190 / 2, 190])  # 1e-9 to 1e-1: eight decades
    assert [190 - p["y"] for p in drawn.of("symbol") if p.get("fill", p.get("stroke")) == LIGHT.rest] == pytest.approx([0, 0])
    (limit,) = drawn.of("rule")
    assert 190 - limit["y"] == pytest.approx(190 * 6 / 8)
    small = drawing(charts.error_by_layer(found.assign(worst=1e-6), tolerance=1e-4), 300)
    assert 190 - small.of("rule")[0]["y"] == pytest.approx(190 * 5 / 7)  # up to 1e-2 at least


def test_a_positions_own_token_is_told_from_the_others_that_have_no_colour() -> None:
    colours = ["#111111", LIGHT.rest, LIGHT.rest]
    look = charts.Look(colours=colours)
    drawn = drawing(charts.grid(table([(0, "mid", p) for p in range(4)], [0.5, 0.25, 0.25]), TOKENS, [0, 1, 2, 2], look), 400)
    bars = sorted((box(item)[0], item["fill"]) for item in drawn.of("rect", "bars"))
    by_position = [[fill for _, fill in bars[i : i + 3]] for i in range(0, 12, 3)]
    plain, own = LIGHT.rest, LIGHT.own
    assert by_position == [["#111111", plain, plain], ["#111111", own, plain], *[["#111111", plain, own]] * 2]
    stripe = sorted((box(item)[0], item["fill"]) for item in drawn.of("rect", "stripe"))
    assert [fill for _, fill in stripe] == ["#111111", own, own, own]
