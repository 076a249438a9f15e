"""Maps, arcs, connections, trajectories and signed bars where Vega draws them."""

import numpy as np
import pandas as pd
import pytest

from infoflow.charts import attention, generation, lenses, logit_lens, palette, signed
from infoflow.charts.labels import by_value
from infoflow.charts.palette import DARK, LIGHT, ink, ramp, series, signed_ramp, signs, writing
from tests.helpers.drawn import drawing


def rgb(colour: str) -> tuple[int, ...]:
    """Of #rrggbb, or of rgb(r, g, b), which Vega writes where it has mixed one."""
    if colour.startswith("#"):
        return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return tuple(int(part) for part in colour[4:-1].split(","))


def weights() -> pd.DataFrame:
    """Rows of three tokens, two of which have the same name."""
    rows = [(0, 0, 1.0), (1, 0, 0.75), (1, 1, 0.25), (2, 0, 0.0), (2, 1, 0.5), (2, 2, 0.5)]
    names = ["a", "b", "a"]
    return pd.DataFrame([(d, s, names[d], names[s], w) for d, s, w in rows],
                        columns=["dest", "src", "dest_token", "src_token", "weight"])  # fmt: skip


def test_names_go_by_value() -> None:
    assert by_value([3, 5], ["a", 'b"']) == '{"3": "a", "5": "b\\""}[datum.value]'


@pytest.mark.parametrize("dark", [False, True])
def test_a_map_has_destinations_downwards_and_sources_across(dark: bool) -> None:
    drawn = drawing(attention.heatmap(weights(), "pattern", dark))
    cells = drawn.of("rect")
    assert [n for _, n in drawn.axes["top"]] == ["a", "b", "a"] == [n for _, n in sorted(drawn.axes["left"])]
    columns, rows = sorted({round(c["x"], 2) for c in cells}), sorted({round(c["y"], 2) for c in cells})
    assert [(rows.index(round(c["y"], 2)), columns.index(round(c["x"], 2))) for c in cells] == [
        (0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)
    ]  # fmt: skip
    assert rgb(cells[0]["fill"]) == rgb(ramp(dark)[-1]) and rgb(cells[3]["fill"]) == rgb(ramp(dark)[0])
    assert cells[4]["fill"] == cells[5]["fill"] and "pattern: 0.750" in cells[1]["description"]
    half = drawing(attention.heatmap(weights().assign(weight=lambda t: t["weight"] / 2), "pattern", dark)).of("rect")
    assert [c["fill"] for c in half] == [c["fill"] for c in cells]  # full at the largest


@pytest.mark.parametrize(("n", "height"), [(2, 230), (10, 420), (60, 870)])
def test_a_map_grows_with_its_tokens_up_to_a_limit(n: int, height: int) -> None:
    table = pd.DataFrame({"dest": range(n), "src": 0, "dest_token": "t", "src_token": "t", "weight": 0.0})
    assert attention.heatmap(table, "x").to_dict()["height"] == height


def test_all_heads_by_a_number_with_the_letter_of_their_kind() -> None:
    kinds = ["previous token", "induction", "diffuse", "duplicate token"]
    table = pd.DataFrame(
        {"layer": [0, 0, 1, 1], "head": [0, 1, 0, 1], "value": [0.5, 1.0, 0.0, 0.4], "kind": kinds, "induction": 0.1}
    )
    drawn = drawing(attention.overview(table, "kind", (1, 0)))
    cells, letters = drawn.of("rect"), drawn.of("text")
    assert [t["text"] for t in letters if t["text"]] == ["P", "I", "D"]
    assert cells[0]["y"] == cells[1]["y"] > cells[2]["y"] and cells[0]["x"] == cells[2]["x"] < cells[1]["x"]  # layers upwards
    assert [bool(c.get("stroke")) for c in cells] == [False, False, True, False] and cells[2]["stroke"] == LIGHT.final
    assert rgb(cells[1]["fill"]) == rgb(ramp(False)[-1]) and rgb(cells[2]["fill"]) == rgb(ramp(False)[0])
    by = {t["text"]: t["fill"] for t in letters}
    assert by["P"] == by["I"] == ramp(False)[0] and by["D"] == LIGHT.text  # light on strong grounds
    assert attention.overview(table, "kind", (1, 0)).to_dict()["height"] == 102
    many = pd.DataFrame({"layer": range(30), "head": 0, "value": 0.0, "kind": "diffuse"})
    assert attention.overview(many, "kind", (0, 0)).to_dict()["height"] == 610


def test_small_maps_lie_side_by_side_each_from_its_own_largest_weight() -> None:
    maps = np.array([[[1, 0], [0.25, 0.75]], [[0.5, 0], [0.004, 0.5]], [[1, 0], [1, 0]]])
    drawn = drawing(attention.small_maps(maps, ["one", "two", "three"], 2), 700)
    unit = 700 / 7  # two of 2 + 1.5
    cells = [(round(c["x"] / unit, 3), round(c["width"] / unit, 3), c["y"], c["height"], c["fill"]) for c in drawn.of("rect")]
    assert [c[0] for c in cells] == [0, 0, 1, 3.5, 4.5, 0, 0] and all(c[1] == 1 for c in cells)  # below a hundredth: left out
    down = cells[1][2] - cells[0][2]
    assert (
        down == pytest.approx(cells[0][3])
        and cells[2][2] == pytest.approx(cells[1][2])
        and cells[3][2] == pytest.approx(cells[0][2])
    )
    assert (cells[5][2] - cells[0][2]) / down == pytest.approx(3.5 + 1 / 3, abs=1e-3)
    assert rgb(cells[0][4]) == rgb(cells[3][4]) == rgb(ramp(False)[-1]) != rgb(cells[1][4])
    titles = {t["text"]: (t["x"] / unit, t["y"]) for t in drawn.of("text")}
    assert [titles[name][0] for name in ("one", "two", "three")] == pytest.approx([0, 3.5, 0])
    assert 0 < titles["one"][1] < cells[0][2] and cells[1][2] + down < titles["three"][1] < cells[5][2]
    assert all(c[2] + c[3] <= drawn.height for c in cells) and max(c["x"] + c["width"] for c in drawn.of("rect")) <= 700
    assert attention.small_maps(maps[:1], ["one"], 4).to_dict()["height"] == 900
    assert attention.small_maps(maps[[0] * 4], list("abcd"), 4).to_dict()["height"] == 276


def test_arcs_stand_on_their_tokens_and_are_as_thick_as_their_weight() -> None:
    colours = ["#111111", "#222222", "#333333"]
    drawn = drawing(attention.arcs(weights(), ["a", "b", "a"], colours, 0.5), 320)  # 100 pixels a token, 60 in the first's middle
    lines = [m.items for m in drawn.marks if m.kind == "line"]
    flat = [line for items in lines for line in items]
    dots = drawn.of("symbol")
    assert [d["x"] for d in dots] == pytest.approx([60 * 320 / 320, 160, 260], abs=0.5) and [d["fill"] for d in dots] == colours
    assert len({line["stroke"] for line in flat}) == 2 and {line["stroke"] for line in flat} == set(colours[:2])
    for colour, ends in ((colours[0], (60, 160)), (colours[1], (160, 260))):
        points = [line for line in flat if line["stroke"] == colour]
        xs, ys = [p["x"] for p in points], [p["y"] for p in points]
        assert len(points) == 24 and (min(xs), max(xs)) == pytest.approx(ends, abs=0.5) and xs == sorted(xs)
        assert ys[0] == pytest.approx(ys[-1], abs=0.01) and min(ys) < ys[0] - 100 and min(ys) > 0
        assert points[0]["strokeWidth"] == pytest.approx(0.4 + 8.6 * (0.75 if colour == colours[0] else 0.5))
    texts = drawn.of("text")
    assert [t["text"] for t in texts] == ["a", "b", "a"] and all(max(p["y"] for p in flat) < t["y"] for t in texts)
    nothing = drawing(attention.arcs(weights(), ["a", "b", "a"], colours, 0.9))
    assert not nothing.of("line") and len(nothing.of("symbol")) == 3
    far = weights().assign(weight=lambda t: np.where((t["dest"] == 2) & (t["src"] == 0), 0.9, 0.1))
    (top,) = {
        round(min(p["y"] for p in m.items))
        for m in drawing(attention.arcs(far, ["a"] * 3, colours, 0.5)).marks
        if m.kind == "line"
    }
    assert 0 < top < 20


def test_arcs_without_colours_say_their_sign() -> None:
    signed_ = weights().assign(weight=lambda t: np.where((t["dest"] == 2) & (t["src"] == 0), -0.8, 0.4))
    lines = {
        (p["stroke"], round(p["strokeWidth"], 3))
        for m in drawing(attention.arcs(signed_, ["a", "b", "a"], None, 0.1)).marks
        if m.kind == "line"
        for p in m.items
    }
    up, down = signs(False)
    assert lines == {(up, 4.7), (down, 9.0)}
    none = drawing(attention.arcs(signed_[:0], ["a", "b", "a"], None, 0.0))
    assert not none.of("line") and len({d["fill"] for d in none.of("symbol")}) == 1


def connected() -> tuple[pd.DataFrame, pd.DataFrame]:
    nodes = pd.DataFrame({
        "side": ["input"] * 3 + ["output"] * 3, "number": [1, 2, 3, 0, 1, 2], "label": list("abcdef"),
        "role": ["input", "selected", "input", "earlier", "current", "later"],
    })  # fmt: skip
    edges = pd.DataFrame(
        [("input", 1, 0, 0.1), ("input", 3, 2, 0.5), ("input", 0, 1, 0.9), ("output", 0, 2, 0.3), ("output", 0, 1, 0.2)],
        columns=["kind", "src", "dst", "weight"],
    ).assign(**{"from": "x", "to": "y"})
    return nodes, edges


def test_lines_go_from_the_left_column_to_the_right_and_curves_beside_it() -> None:
    nodes, edges = connected()
    drawn = drawing(generation.bipartite(nodes, edges, 0.1, 0.5), 308)
    dots = {d["description"].split("title")[0].split("token: ")[1][0]: d for d in drawn.of("symbol")}
    left, right = 54, 254  # 200 pixels between, 0.27 of that on each side
    assert [dots[c]["x"] for c in "abc"] == pytest.approx([left] * 3) and [dots[c]["x"] for c in "def"] == pytest.approx(
        [right] * 3
    )
    step = drawn.height / 1.06 / 2
    first = 0.03 / 1.06 * drawn.height
    for column in ("abc", "def"):
        assert [dots[c]["y"] for c in column] == pytest.approx([first, first + step, first + 2 * step])
    rules = drawn.of("rule")
    assert len(rules) == 2  # an input that is not shown has no line
    spans = [((r["x"], r["y"]), (r["x2"], r["y2"])) for r in rules]
    assert spans[0] == (pytest.approx((left, first)), pytest.approx((right, first)))
    assert spans[1] == (pytest.approx((left, first + 2 * step)), pytest.approx((right, first + 2 * step)))
    assert [r["strokeWidth"] for r in rules] == pytest.approx([0.5, 3.0])
    curves = [m.items for m in drawn.marks if m.kind == "line"]
    by_width = {round(points[0]["strokeWidth"], 3): points for points in curves}
    long = by_width[round(0.5 + 2.5 * 0.5, 3)]
    assert len(long) == 14 and (long[0]["y"], long[-1]["y"]) == pytest.approx((first, first + 2 * step))
    assert long[0]["x"] == long[-1]["x"] == pytest.approx(right)
    assert min(p["x"] for p in long) == pytest.approx(right - 200 * 0.47 / 2, abs=1.5) and min(p["x"] for p in long) < right
    short = by_width[round(0.5 + 2.5 * 0.25, 3)]
    assert min(p["x"] for p in short) == pytest.approx(right - 200 * 0.26 / 2, abs=1.5)
    role = writing(False)
    assert [dots[c]["fill"] for c in "abdef"] == [role[r] for r in ("input", "selected", "earlier", "current", "later")]
    assert [bool(dots[c].get("stroke")) for c in "abcdef"] == [False, True, False, False, False, False]
    texts = {t["text"]: t for t in drawn.of("text")}
    assert texts["a"]["align"] == "right" and texts["d"]["align"] == "left" and texts["f"]["opacity"] == 0.55
    assert len(drawn.of("text")) == 6 and texts["f"]["fill"] == LIGHT.muted != texts["e"]["fill"] and texts["e"]["opacity"] == 1


def test_columns_of_one_token_stand_in_the_middle_and_long_ones_grow() -> None:
    nodes, edges = connected()
    one = drawing(generation.bipartite(nodes.iloc[[0, 3]], edges[:1], 0.2, 0.2))
    assert {d["y"] for d in one.of("symbol")} == {120} and one.height == 240 and not one.of("line")
    assert one.of("rule")[0]["strokeWidth"] == 0.5  # thinner than the least is as thin as that
    many = pd.DataFrame({"side": ["input"] * 30 + ["output"], "number": [*range(30), 0], "label": "x", "role": "input"})
    assert generation.bipartite(many, edges[:0], 0.1, 0.5).to_dict()["height"] == 690


def lens_cells(**more: object) -> pd.DataFrame:
    rows = [(order, p) for order in range(2) for p in range(3)]
    return pd.DataFrame({
        "order": [o for o, _ in rows], "position": [p for _, p in rows], "row": [["embed", "L0 MLP"][o] for o, _ in rows],
        "where": "w", "likely": "x", "label": [f"t{p}" for _, p in rows], "text": list("abcdef"), "value": 0.5,
        "strength": [0, 0.2, 0.4, 0.5, 0.9, 1],
        "final": [False, True, False, True, True, True], "entropy": 1.0, "kl": 0.25, **more,
    })  # fmt: skip


def test_the_lens_has_the_output_on_top_and_outlines_the_final_answer() -> None:
    drawn = drawing(logit_lens.table(lens_cells(), "probability"))
    cells, texts = drawn.of("rect"), drawn.of("text")
    assert [n for _, n in drawn.axes["bottom"]] == ["t0", "t1", "t2"] and [n for _, n in sorted(drawn.axes["left"])] == [
        "L0 MLP",
        "embed",
    ]
    assert cells[0]["y"] > cells[3]["y"] and cells[0]["x"] < cells[1]["x"] < cells[2]["x"]
    assert [c.get("stroke") or "" for c in cells] == ["", *[LIGHT.final], "", *[LIGHT.final] * 3]
    assert [t["fill"] for t in texts] == [LIGHT.text] * 3 + [ramp(False)[0]] * 3 and [t["text"] for t in texts] == list("abcdef")
    assert rgb(cells[0]["fill"]) == rgb(ramp(False)[0]) and rgb(cells[5]["fill"]) == rgb(ramp(False)[-1])
    picked = drawing(logit_lens.table(lens_cells(), "probability"), cell={"order": 1, "position": 0}).of("rect")
    assert picked[3]["stroke"] == LIGHT.text and picked[4]["stroke"] == LIGHT.final
    lead = drawing(logit_lens.table(lens_cells(strength=[-1, 0, 1, 0, 0, 0]), "lead"))
    assert [rgb(c["fill"]) for c in lead.of("rect")[:3]] == [rgb(c) for c in signed_ramp(False)]
    assert {t["fill"] for t in lead.of("text")} == {LIGHT.text}
    assert logit_lens.table(lens_cells(), "x").to_dict()["height"] == 122


def test_a_cell_that_the_contrast_reads_too_is_pale() -> None:
    shared = [False, True, False, False, True, False]
    drawn = drawing(logit_lens.table(lens_cells(shared=shared, other="z"), "probability"))
    assert [c["fillOpacity"] for c in drawn.of("rect")] == [logit_lens.PALE if s else 1 for s in shared]
    assert [t["fill"] for t in drawn.of("text")][3:] == [ramp(False)[0], LIGHT.text, ramp(False)[0]]


def beside(**more: object) -> pd.DataFrame:
    return pd.DataFrame({
        "lens": ["logit"] * 3 + ["frozen"] * 2, "order": [0, 1, 2, 0, 2],
        "row": ["embed", "L0 attn", "L0 MLP", "embed", "L0 MLP"],
        "token": "x", "probability": [0.0, 0.5, 1.0, 0.25, 1.0], "shared": [False] * 3 + [True, False], **more,
    })  # fmt: skip


def test_lenses_side_by_side_are_hollow_where_they_say_nothing_new() -> None:
    for dark, page in ((False, LIGHT), (True, DARK)):
        drawn = drawing(lenses.through(beside(), dark))
        points, colours = drawn.of("symbol"), series(2, dark)
        drawn_points = [p for p in points if p.get("stroke") and "x" in p][-5:]
        assert [p["fill"] for p in drawn_points] == [colours[0]] * 3 + [page.paper, colours[1]]
        assert [n for _, n in drawn.axes["bottom"]] == ["embed", "L0 attn", "L0 MLP"]
    table = pd.concat([beside(measure="entropy", value=[3.0, 2, 1, 1, 1]), beside(measure="changes", value=0.5)])
    for measure in ("entropy", "changes"):
        assert drawing(lenses.trust(table, measure)).marks


def paths(**more: object) -> pd.DataFrame:
    values = [0.1, 0.5, 1.0, 0.0, 0.25, 0.5]
    return pd.DataFrame({
        "order": [0, 1, 2] * 2, "row": ["embed", "L0 attn", "L0 MLP"] * 2, "token": ["one"] * 3 + ["two"] * 3,
        "probability": values, "rank": [100, 10, 1, 10.0, 10, 10], "followed": [True] * 3 + [False] * 3, **more,
    })  # fmt: skip


def test_trajectories_rise_with_probability_and_with_rank() -> None:
    drawn = drawing(logit_lens.trajectories(paths()))
    heights = [230 - p["y"] for p in drawn.of("symbol")]
    assert heights == pytest.approx([23, 115, 230, 0, 57.5, 115])
    assert [n for _, n in drawn.axes["bottom"]] == ["embed", "L0 attn", "L0 MLP"]
    assert [t["text"] for t in sorted(drawn.of("text"), key=lambda t: t["y"])] == ["one", "two"]
    ends = {t["text"]: 230 - t["y"] for t in drawn.of("text")}
    assert ends == pytest.approx({"one": 230, "two": 115})
    colours = series(2, False)
    assert {t["text"]: t["fill"] for t in drawn.of("text")} == {"one": colours[0], "two": colours[1]}
    ranks = [230 - p["y"] for p in drawing(logit_lens.trajectories(paths(), "rank")).of("symbol")]
    assert ranks == pytest.approx([0, 115, 230, 115, 115, 115])  # the first rank is on top
    run = drawing(logit_lens.trajectories(paths(run=["this"] * 3 + ["other"] * 3)))
    assert [t["text"] for t in run.of("text")] == ["one"]
    assert len(drawing(logit_lens.trajectories(paths(rank=[1, 2, 3] + [np.nan] * 3), "rank")).of("symbol")) == 3


def test_names_at_the_ends_do_not_lie_on_each_other() -> None:
    ends = pd.DataFrame({"token": list("abcd"), "probability": [0.1, 0.12, 0.97, 0.99]})
    assert logit_lens._apart(ends, "probability", False)["at"].tolist() == pytest.approx([0.06, 0.13, 0.93, 1.0])
    assert logit_lens._apart(ends, "probability", True)["at"].tolist() == ends["probability"].tolist()
    many = pd.DataFrame({"probability": np.zeros(20)})
    placed = logit_lens._apart(many, "probability", False)["at"]
    assert placed.min() == 0 and placed.max() == pytest.approx(1.0) and placed.is_monotonic_increasing
    assert logit_lens._apart(ends[:0], "probability", False).empty


def test_reliability_has_two_scales() -> None:
    table = pd.DataFrame({"order": [0, 1], "row": ["embed", "L0"], "kl": [4.0, 2.0], "agrees": [0.5, 1.0]})
    drawn = drawing(logit_lens.reliability(table))
    assert [b["height"] for b in drawn.of("rect")] == pytest.approx([105, 210])
    points = [210 - p["y"] for p in drawn.of("symbol")]
    assert points[0] == pytest.approx(2 * points[1])


def test_how_far_lenses_can_be_believed_is_measured_from_zero() -> None:
    table = pd.DataFrame(
        {"lens": "logit", "order": [0, 1], "row": ["embed", "L0"], "measure": "KL to output", "value": [6.0, 4.5]}
    )
    high, low = (260 - p["y"] for p in drawing(lenses.trust(table, "KL to output")).of("symbol")[:2])
    assert low == pytest.approx(0.75 * high) and high > 200
    shares = table.assign(measure="changes", value=[0.5, 0.25])
    half, quarter = (p["y"] for p in drawing(lenses.trust(shares, "changes")).of("symbol")[:2])
    assert (half, quarter) == pytest.approx((130, 195))


def numbers(values: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"label": [f"t{i}" for i in range(len(values))], "logit": values})


def test_columns_rise_and_fall_from_zero() -> None:
    drawn = drawing(signed.columns(numbers([2.0, -1.0, 0.0]), title="logit"))
    bars, (zero,) = drawn.of("rect"), drawn.of("rule")
    unit = bars[0]["height"] / 2
    assert bars[1]["height"] == pytest.approx(unit) and bars[2]["height"] == 0 and drawn.height == 190
    assert bars[0]["y"] + bars[0]["height"] == pytest.approx(zero["y"]) == pytest.approx(bars[1]["y"])
    up, down = signs(False)
    assert [b["fill"] for b in bars] == [up, down, up] and [n for _, n in drawn.axes["bottom"]] == ["t0", "t1", "t2"]
    assert {n for _, n in drawing(signed.columns(numbers([0.5]), form="+.1%")).axes["left"]} >= {"50%"}


def test_a_map_of_signed_values_rises_and_is_symmetric_about_zero() -> None:
    table = pd.DataFrame({"across": ["H0", "H1"] * 2, "up": ["L0", "L0", "L1", "L1"], "logit": [4.0, -4.0, 0.0, 2.0]})
    drawn = drawing(signed.grid(table, "across", "up", "logit"))
    cells = drawn.of("rect")
    assert cells[0]["y"] > cells[2]["y"] and cells[0]["x"] < cells[1]["x"]
    assert [rgb(c["fill"]) for c in cells[:3]] == [rgb(signed_ramp(False)[i]) for i in (2, 0, 1)]
    assert signed.grid(table, "across", "up", "logit").to_dict()["height"] == 44 + 95
    long = table.assign(across=["head", "H1"] * 2)
    assert signed.grid(long, "across", "up", "logit").to_dict()["height"] == 44 + 140
    limited = drawing(signed.grid(table, "across", "up", "logit", limit=2.0)).of("rect")
    assert limited[0]["fill"] == limited[3]["fill"]


def test_a_ranking_keeps_its_order_and_has_room_for_its_numbers() -> None:
    table = pd.DataFrame({"name": ["a", "b", "c"], "share": [0.8, -0.4, 0.2]})
    drawn = drawing(signed.ranking(table))
    bars, up_down = drawn.of("rect"), signs(False)
    zero, unit = bars[0]["x"], bars[0]["width"] / 0.8
    assert drawn.height == 60 and [n for _, n in sorted(drawn.axes["left"])] == ["a", "b", "c"]
    assert bars[1]["x"] == pytest.approx(zero - 0.4 * unit) and bars[1]["width"] == pytest.approx(0.4 * unit)
    assert [b["fill"] for b in bars] == [up_down[0], up_down[1], up_down[0]]
    assert bars[1]["x"] == pytest.approx(0.24 * unit) and drawn.width - zero - 0.8 * unit == pytest.approx(0.24 * unit)
    texts = {t["text"]: t["align"] for t in drawn.of("text")}
    assert texts == {"+80.0%": "left", "−40.0%": "right", "+20.0%": "left"}
    positive = drawing(signed.ranking(table[::2])).of("rect")
    assert positive[0]["x"] == 0 and positive[0]["width"] == pytest.approx(400 / 1.2)
    assert len(drawing(signed.ranking(table.assign(share=0.0))).of("text")) == 3


def test_colours_of_sources() -> None:
    labels = [*(f"t{i}" for i in range(11)), "bias"]
    heavy = palette.source_colours(labels, "top 8", False, [99.0, *map(float, range(1, 11)), 99.0])
    assert [i for i, c in enumerate(heavy) if c == LIGHT.rest] == [1, 2] and len(set(heavy[3:11])) == 8
    assert heavy[0] == LIGHT.sink and heavy[-1] == LIGHT.bias and len(heavy) == 12
    even = palette.source_colours(labels, "top 8")
    assert [i for i, c in enumerate(even) if c == LIGHT.rest] == [9, 10]
    for kind in palette.Palette:
        assert palette.source_colours(["a", "b"], kind)[0] == LIGHT.sink and len(palette.source_colours(["a"], kind)) == 1
        assert palette.source_colours(["a", "bias"], kind) == [LIGHT.sink, LIGHT.bias] and palette.source_colours([], kind) == []
    ordered = palette.source_colours(labels, "ordered")[1:-1]
    bright = [sum(c * w for c, w in zip(rgb(colour), (0.2126, 0.7152, 0.0722), strict=True)) for colour in ordered]
    assert bright == sorted(bright) and bright[0] < 40 and 150 < bright[-1] < 210
    hues = palette.source_colours(labels, "hue")[1:-1]
    assert hues[0] == palette.oklch(0.585, 0.105, 30.0) and hues[1] == palette.oklch(0.695, 0.105, 30 + 300 / 9)
    assert hues[-1] == palette.oklch(0.695, 0.105, 330.0) and ink(True) is palette.DARK
    assert series(9, False)[8] == series(9, False)[0] and len(set(series(8, True))) == 8 and series(1, True) != series(1, False)
