"""Pictures of results made by hand: what is drawn is what was asked for, by layers, positions, first token, and what is said."""

import importlib
import inspect
import io
import json
import pkgutil
import re
from dataclasses import replace

import altair as alt
import numpy as np
import pandas as pd
import pytest

import infoflow
from infoflow.charts import flow as charts
from infoflow.charts.palette import LIGHT, ink, signs
from infoflow.files import formats
from infoflow.pictures import (
    attention,
    attribution,
    carriers,
    causal,
    corrections,
    direct,
    flow,
    generation,
    graph,
    location,
    logit_lens,
    patching,
    picture,
    promotions,
    query_key,
    readers,
    rendering,
)
from infoflow.studies.corrections import Correction
from infoflow.tables import attention as attention_tables
from infoflow.tables import generation as generation_tables
from tests.helpers import made, tiny
from tests.helpers.drawn import Drawing, drawing

WEIGHTS = [[0.5, 0.3, 0.2, 0.0], [0.3, 0.2, 0.1, 0.4]]


def rows(drawn: Drawing) -> list[str]:
    return [name for _, name in sorted(drawn.axes["left"], reverse=True)]


def test_a_grid_has_the_layers_and_positions_that_were_asked_for() -> None:
    grid = flow.grid(made.flow(4), hidden=(0,), look=flow.Look(layers=(1, 2), positions=(1, 2)))
    drawn = drawing(grid.chart)  # 200 pixels a position
    assert drawn.axes["bottom"] == [(100, "b"), (300, "c")] and rows(drawn) == ["attn", "L1 MLP", "attn", "L2 MLP"]
    for name, n in (("ground", 8), ("bars", 8), ("stripe", 2)):
        found = drawn.of("rect", name)
        assert len(found) == n and {round(item["x"]) for item in found} == {12, 212}, name
        assert all(item["y"] >= 0 and item["y"] + item["height"] <= drawn.height for item in found), name
    ticks = [item for item in drawn.of("rect") if item["fill"] == LIGHT.muted]
    assert len(ticks) == 8 and all(t["width"] == pytest.approx(88, abs=0.1) for t in ticks)  # the first of two sources is hidden
    assert len(grid.frame) > 8 and grid.segments == 8 and grid.selections == ("cell", "segment") and not drawn.of("text")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "positions", "answers", "embedding"),
    [(None, None, True, True), ((0, 2), (0, 3), True, True), ((1, 2), None, True, False), ((0, 1), None, False, True),
     (None, (0, 2), False, True), (None, (3, 3), True, True)],
)  # fmt: skip
def test_predictions_stand_beside_the_output_alone(
    layers: tuple[int, int] | None, positions: tuple[int, int] | None, answers: bool, embedding: bool
) -> None:
    grid = flow.grid(made.flow(), look=flow.Look(layers=layers, positions=positions))
    drawn = drawing(grid.chart)
    assert bool(drawn.of("text", "first_answer")) == answers == ("answer" in grid.selections)
    assert ("embed" in rows(drawn)) == embedding
    first, last = layers or (0, 2)
    assert [name for name in rows(drawn) if "MLP" in name] == [f"L{n} MLP" for n in range(first, last + 1)]


def test_a_grid_says_what_it_shows() -> None:
    plain = flow.grid(made.flow(), "projection")
    assert plain.title == "Information flow of “a bb c” on by-hand" and plain.note == "Shares of 3 sources by projection."
    assert (plain.hidden, plain.traced, plain.metric, plain.folded) == ((), None, "projection", False)
    aside = flow.grid(made.flow(), hidden=("d", 0), look=flow.Look(traced=1, emphasis="MLP"))
    assert aside.hidden == (0, 2) and " Not shown: A, d; the others are scaled to 100 %." in aside.note and aside.traced == 1
    assert rows(drawing(aside.chart)) == ["embed", "L0 MLP", "L1 MLP", "L2 MLP"]
    assert {bar["opacity"] for bar in drawing(aside.chart).of("rect", "bars")} == {1}  # nothing is left but the traced one
    dark = drawing(flow.grid(made.flow(), dark=True).chart)
    assert dark.of("rect", "ground")[0]["fill"] != LIGHT.empty


def test_a_grid_is_folded_when_it_has_more_segments_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    n = len(made.flow().to_frame())
    monkeypatch.setattr(charts, "MAX_SEGMENTS", n)
    assert not flow.grid(made.flow()).folded
    monkeypatch.setattr(charts, "MAX_SEGMENTS", n - 1)
    monkeypatch.setattr(charts, "FOLDED_TO", 2)
    grid = flow.grid(made.flow())
    assert grid.folded and "Each bar shows its 2 largest" in grid.note and len(grid.frame) == n


def test_the_first_picture_sets_the_first_token_aside_where_there_are_others() -> None:
    assert flow.picture(made.flow()).hidden == (0,)
    assert flow.picture(made.flow(source_of=np.array([0, 0, 1, 2]))).hidden == ()
    colours = flow.colours_of(made.flow(2, {(0, 1, 3): [0, 5, 1]}), "top 8")
    assert colours[0] == LIGHT.sink and len(set(colours)) == 3


def test_the_palette_of_the_heaviest_goes_by_what_sources_gave_to_others() -> None:
    """Ten tokens of one source each; the second gives most to others, the last nothing but to itself."""
    n = 11
    gram = np.zeros((1, 2, n, n, n), np.float32)
    for p in range(n):
        for s in range(p + 1):
            gram[:, :, p, s, s] = 100.0 if s == p else {1: 9.0, 2: 0.001, 3: 0.001}.get(s, 1.0)
    names = tuple("abcdefghijk")
    many = made.flow(1, tokens=names, labels=names, token_ids=tuple(range(n)), word_labels=names, source_labels=names,
                     source_of=np.arange(n), gram=gram, embedding_norm=np.ones(n, np.float32),
                     error=np.zeros((1, 2, n), np.float32), source_logits=np.zeros((n, 2), np.float32))  # fmt: skip
    colours = flow.colours_of(many, "top 8")
    assert [i for i, c in enumerate(colours) if c == LIGHT.rest] == [3, 10]


def test_an_attention_map_has_the_tokens_that_were_asked_for_and_states_the_first_ones_share() -> None:
    pattern = np.array([[[[1, 0, 0], [0.5, 0.5, 0], [0.5, 0.25, 0.25]]]])
    attn = made.attention(pattern)
    found = attention_tables.view(attn, "one head", 0, 0, "pattern", "masked")
    shown = attention.attention_map(attn, found, "pattern", (1, 2), "masked")
    assert shown.frame[["dest_token", "src_token", "weight"]].values.tolist() == [
        ["B", "B", 0.5],
        ["C", "B", 0.25],
        ["C", "C", 0.25],
    ]
    assert shown.note == "On average 50% of a later row lies on A; here it is masked."
    assert shown.title == "Attention on “a bb c”, by-hand: Layer 0, head 0, pattern"
    drawn = drawing(shown.chart)
    assert [name for _, name in drawn.axes["top"]] == ["B", "C"] == [name for _, name in drawn.axes["left"]]
    lacking = attention.picture(made.attention(0.75 * pattern))
    assert lacking.note.endswith("here it is shown. 25% lies on a sink that is no token.") and len(lacking.frame) == 6
    assert "mean of 1 maps" in lacking.title and "no token" not in attention.picture(made.attention(pattern)).note


@pytest.mark.slow
def test_connections_are_those_of_the_threshold_the_step_and_the_window() -> None:
    gen = made.generation(WEIGHTS, 3)
    found = generation_tables.connections(gen, "one head", 0, 0)
    every = generation.connections(gen, found, generation.Drawn())
    drawn = drawing(every.chart)
    assert len(drawn.of("rule")) == 4 and len(drawn.of("line")) >= 1 and len(drawn.of("symbol")) == 4
    assert every.note == "Layer 0, head 0; connections of 0.05 or more." and every.title == "What by-hand wrote after “a bb c”"
    assert len(drawing(generation.connections(gen, found, generation.Drawn(least=0.2)).chart).of("rule")) == 3
    assert len(drawing(generation.connections(gen, found, generation.Drawn(step=0)).chart).of("rule")) == 2
    assert len(drawing(generation.connections(gen, found, generation.Drawn(window=(2, 2))).chart).of("rule")) == 2
    chosen = drawing(generation.connections(gen, found, generation.Drawn(step=0, chosen=("input", 1))).chart)
    assert len(chosen.of("rule")) == 2 and "#f4c430" in {dot["fill"] for dot in chosen.of("symbol")}
    none = generation.connections(gen, found, generation.Drawn(least=0.9))
    assert none.note.endswith("of 0.9 or more. No connection reaches that.") and not drawing(none.chart).of("rule")
    assert len(drawing(generation.picture(gen).chart).of("symbol")) == 4
    alone = generation.picture(made.generation([[1.0]], 1))
    assert len(drawing(alone.chart).of("symbol")) == 2 and len(drawing(alone.chart).of("rule")) == 1


def test_a_lens_has_the_positions_that_were_asked_for() -> None:
    lens = made.lens([[5, 5, 0], [5, 1, 0], [5, 1, 3]])
    whole = logit_lens.picture(lens)
    assert len(drawing(whole.chart).of("rect")) == 9 and whole.note.startswith("Colour: probability, of the likeliest")
    part = logit_lens.table(
        made.lens([[5, 0], [1, 0], [1, 3]], tokens=("A", "B", "C"), labels=("A", "B", "C"), positions=(1, 2)), "lead", mids=False
    )
    drawn = drawing(part.chart)
    assert [name for _, name in drawn.axes["bottom"]] == ["B", "C"] and rows(drawn) == ["embed", "L0 MLP"]
    assert part.note.startswith("Colour: lead of n1 over n2, logit of") and part.note.endswith(" Positions 1 to 2 of 3.")
    assert "Positions" not in whole.note
    assert logit_lens.table(lens, "rank").note.startswith("Colour: rank of n1, of the followed")


def test_what_raises_a_logit_is_said_with_its_total() -> None:
    found = attribution.picture(made.attribution([1.0, -3.0]))
    assert found.note == "All 2 parts together give the logit: -2.00; error 1e-06." and len(found.frame) == 3
    assert found.title == "What raises a logit after “a bb c”, by-hand"
    up, down = signs(False)
    bars = drawing(found.chart).of("rect")
    assert [bar["fill"] for bar in bars] == [up, down] and bars[1]["height"] == pytest.approx(3 * bars[0]["height"])
    assert len(drawing(attribution.picture(made.attribution([1.0, -3.0], bias=0.5)).chart).of("rect")) == 3
    assert "centred logit" in attribution.picture(made.attribution([1.0], centred=True)).title
    assert "logit difference" in attribution.picture(made.attribution([1.0], centred=True, against=0)).title


@pytest.mark.slow
def test_where_an_answer_is_has_its_sums_its_way_and_its_moves() -> None:
    cells, moves = [[1, 4, 1], [1, 4, 1], [0, 0, 6]], [(1, 1, 1, 2, 4.0), (1, 0, 1, 2, 0.5), (1, 0, 0, 2, -1.0)]
    found = location.picture(made.location(cells, moves))
    assert found.title == "Where the answer is: the logit of “b” after “a bb c”, by-hand"
    assert found.note.startswith("Each row sums to +6.00, its biases included; the worst is off by 0e+00.")
    assert "the 2 largest moves with their heads" in found.note and "Hindsight is in it" in found.note
    assert len(found.frame) == 3 * 4 and set(found.frame["position"]) == {-1, 0, 1, 2}
    narrow = [mark["text"] for mark in drawing(found.chart).of("text")]
    assert {"1.1 +1", "1.0", "off"} <= set(narrow) and "off by" not in narrow
    drawn = drawing(found.chart, 700)
    assert len(drawn.of("rect", "cells")) == 9 and len(drawn.of("rule")) == 2 * 2  # each with its halo
    texts = [mark["text"] for mark in drawn.of("text")]
    assert texts.count("+6.00") == 3 and texts.count("0e+0") == 3 and {"1.1, 1.0", "1.0", "off by"} <= set(texts)
    part = location.answer_map(made.location(cells, moves), positions=(1, 2), most=9)
    assert len(drawing(part.chart).of("rect", "cells")) == 6 and "Positions 1 to 2 of 3." in part.note
    assert "1.0" not in [mark["text"] for mark in drawing(part.chart).of("text")]  # from a token that is not drawn
    own = np.array(cells, np.float32)
    held = {"specific": own / 2, "contrast": "a cc c", "contrast_total": 2.0}
    apart = location.answer_map(made.location(cells, moves, **held), quantity="specific")
    assert apart.title.startswith("Where the answer is, specific: ") and len(drawing(apart.chart).of("rule")) == 0
    assert "beyond that of “a cc c”" in apart.note and "from +6.00 to +2.00" in apart.note
    said = [mark["text"] for mark in drawing(apart.chart).of("text")]
    assert said.count("+3.00") == 3 and said.count("75%") == 3 and "seen" in said  # 3 of the 4 that the swap does
    too = location.answer_map(made.location(cells, moves, **held), quantity="hindsight")
    assert "would say here too" in too.note and "seen" not in [mark["text"] for mark in drawing(too.chart).of("text")]
    assert {"specific", "hindsight"} <= set(apart.frame) and apart.frame["hindsight"].sum() == pytest.approx(9.0)
    assert "“a cc c” would say too is in it" in location.picture(made.location(cells, moves, **held)).note
    capped = location.picture(made.location(cells, softcap=30.0, model_total=5.0))
    assert "before the model's soft cap" in capped.note.lower()


PATHS = [(0, 0, 0, 3.0), (0, 2, 2, 1.0), (1, 0, 2, 3.0), (1, 2, 2, 1.0)]
"""what is at A is moved to C in the second layer"""


def test_paths_have_a_column_a_token_and_their_heads_beside_them() -> None:
    found = graph.picture(made.graph(PATHS, [3.0, 0.0, 1.0]))
    assert found.title == "Paths to the logit of “b” after “a bb c”, by-hand" and len(found.frame) == 4
    assert found.note.startswith("The graph keeps 100% of +4.00, along 1 move between positions of at least 10% of it")
    drawn = drawing(found.chart, 300)
    up, _ = signs(False)
    assert [name for _, name in drawn.axes["bottom"]] == ["A", "B", "C"]
    assert [name for _, name in sorted(drawn.axes["left"], reverse=True)] == ["arrives", "embed", "L0", "L1"]
    (move,) = drawn.of("rule", "moves")
    assert (move["x"], move["x2"]) in ((50, 250), (250, 50)) and move["stroke"] == up
    assert sorted(stay["strokeWidth"] for stay in drawn.of("rule", "stays")) == pytest.approx([3.2, 3.2, 8.0])
    dots = {(round(dot["x"]), dot["fill"]) for dot in drawn.of("symbol", "cells")}
    assert dots == {(50, up), (250, up)} and len(drawn.of("symbol", "cells")) == 4  # not where C's own only goes by
    texts = [mark["text"] for mark in drawn.of("text")]
    assert texts.count("1.1") == 2 and {"+3.00", "+1.00", "the logit of “b” +4.00"} <= set(texts) and "+0.00" not in texts
    assert not drawn.of("rect", "quiet")


def test_what_lowers_is_magenta_and_what_is_left_out_is_said() -> None:
    low = [(layer, source, dest, -amount) for layer, source, dest, amount in PATHS]
    found = graph.picture(made.graph(low, [-3.0, 0.0, -1.0], bias=-2.0, all_bias=-1.5), dark=True)
    _, down = signs(True)
    drawn = drawing(found.chart)
    assert {mark["stroke"] for mark in drawn.of("rule", "moves")} == {down} and "−3.00" in [t["text"] for t in drawn.of("text")]
    assert "keeps 150% of -4.00 (what is left out lowers it)" in found.note and "(biases -2.00 of -1.50)" in found.note
    capped = graph.picture(made.graph(PATHS, [3.0, 0.0, 1.0], softcap=30.0, model_total=3.5, threshold=0.0))
    assert "soft cap" in capped.note and "along 1 move between positions, all heads" in capped.note


def test_rows_in_which_all_stays_are_drawn_together_and_long_prompts_without_idle_columns() -> None:
    stays = [(layer, p, p, a) for layer in range(9) for p, a in ((0, 3.0), (49, 1.0)) if p or layer < 7]
    found = made.graph(sorted([*stays, (7, 0, 49, 3.0)]), [3.0, *[0.0] * 48, 1.0], 9)
    drawn = drawing(graph.picture(found).chart, 300)
    assert [name for _, name in sorted(drawn.axes["left"], reverse=True)] == ["arrives", "embed", "L0–L5", "L6", "L7", "L8"]
    assert [name for _, name in drawn.axes["bottom"]] == ["t0", "t49"] and len(drawn.of("rect", "quiet")) == 1
    assert (
        len(drawn.of("rule", "stays")) == len(stays) and "48 tokens that no kept path goes through" in graph.picture(found).note
    )
    places = sorted({y for stay in drawn.of("rule", "stays") for y in (stay["y"], stay["y2"])}, reverse=True)
    assert len(places) == 10 and places[0] - places[7] == pytest.approx(
        2 * (places[7] - places[8])
    )  # seven rows in the room of two


def test_carriers_are_ranked_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    found = carriers.picture(made.carriers())
    assert found.title == "Who carried A to layer 1 after attention, position 1, “a bb c”, by-hand"
    assert (
        found.note == "The largest 5 of 5 carriers, in shares of what A is there." and len(drawing(found.chart).of("rect")) == 5
    )
    monkeypatch.setattr(carriers, "MOST", 2)
    fewer = carriers.picture(made.carriers())
    assert fewer.note.startswith("The largest 2 of 5") and len(drawing(fewer.chart).of("rect")) == 2


def test_a_conversation_is_its_last_change_or_its_only_answer() -> None:
    first, second = made.change(made.attribution([1.0, 2.0, 3.0])), made.change(made.attribution([4.0, 5.0, -6.0]))
    both = corrections.picture(Correction(answers=(made.answer(),), changes=(first, second), provenance=made.talked()))
    assert both.frame["logit"].tolist() == [4, 5, -6] and both.title == "From “old” to “new”, by-hand"
    assert len(drawing(both.chart).of("rect")) == 3
    alone = corrections.picture(Correction(answers=(made.answer("yes"),), changes=(), provenance=made.talked()))
    assert alone.title == "“yes”, by-hand" and alone.frame["rank"].tolist() == [6, 3, 2]
    same = corrections.picture(made.change(None))
    assert same.title == "“new”, by-hand" and len(drawing(same.chart).of("symbol")) == 9


def test_titles_are_short_and_names_the_same_everywhere() -> None:
    assert picture.short("x" * 40) == "x" * 40 and picture.short("x" * 41) == "x" * 39 + "…"
    assert picture.short(" a\n b ") == "a b" and picture.background() == LIGHT.paper
    made_of = made.flow().provenance
    assert picture.identity(made_of, (1, 2)) == picture.identity(made_of, (1, 2)) != picture.identity(made_of, (1, 3))
    assert len(picture.identity(made_of)) == 12
    assert picture.picture_of(made.flow()).title.startswith("Information flow")


def test_outside_a_page_a_chart_has_the_width_that_its_columns_need() -> None:
    spec = rendering._sized(flow.grid(made.flow()).chart, "#abcdef")
    assert spec["width"] == 560 and spec["config"]["background"] == "#abcdef"
    bars = alt.Chart(pd.DataFrame({"a": [1]})).mark_bar()
    wide = bars.encode(x=alt.X("a:Q", scale=alt.Scale(domain=[10, 30]))).properties(width="container")
    assert rendering._sized(wide, "#fff")["width"] == rendering._sized(alt.layer(wide), "#fff")["width"] == 46 * 20
    assert rendering._sized(bars.encode(x="a:Q").properties(width="container"), "#fff")["width"] == 46 * 20
    assert rendering._sized(bars.properties(width=7), "#fff")["width"] == 7


def test_a_title_says_how_the_weights_were_stored() -> None:
    lens = made.lens([[1], [1], [1]])
    packed = replace(lens, provenance=replace(lens.provenance, weights="4-bit weights, dequantised"))
    model = lens.provenance.model
    assert logit_lens.picture(lens).title.endswith(f", {model}")
    assert logit_lens.picture(packed).title.endswith(f", {model}, 4-bit weights")


def test_the_largest_moves_are_bars_with_their_block_and_token() -> None:
    found = promotions.picture(made.promotions(5))
    drawn = drawing(found.chart)
    assert [name for _, name in drawn.axes["left"]][:2] == ["L0 attn: n5", "L0 MLP: n5"] and len(drawn.of("rect")) == 8
    assert "at position 1 of" in found.title and len(found.frame) == 4 * 4 and "the largest 12" in found.note


def test_contributions_and_removals_are_pairs_of_bars() -> None:
    found = causal.picture(made.causal([1.0, 2.0, -3.0], [1.0, -2.0, float("nan")]))
    drawn = drawing(found.chart)
    assert [name for _, name in drawn.axes["bottom"]] == ["A", "B", "C"] and len(drawn.of("rect")) == 5
    assert "attention to it from the others is cut" in found.note and list(found.frame["gap"][:2]) == [0.0, 4.0]


def test_a_score_is_a_map_of_the_sources_of_query_and_key() -> None:
    found = made.query_key([[0.5, 0.0, -1.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.5]], by_position=1.5, score=4.5)
    drawn = query_key.picture(found)
    seen = drawing(drawn.chart)
    assert [name for _, name in seen.axes["bottom"]] == ["A", "C"] and len(seen.of("rect")) == 4  # B has no part
    assert [name for _, name in seen.axes["left"]] == ["A", "C"]  # from above
    assert drawn.title.startswith("Why head 1.0 looks from 2 C at 0 A, “a bb c”") and "together +4.50" in drawn.note
    assert "The position itself adds +1.50" in drawn.note and len(drawn.frame) == 3 * 3 + 1
    rather = query_key.picture(replace(found, against=1, softcap=50.0))
    assert "at 0 A rather than 1 B" in rather.title and "Before the model's soft cap" in rather.note


def test_small_parts_of_one_side_alone_are_told_of() -> None:
    parts, names = np.zeros((30, 30)), tuple(f"t{i}" for i in range(30))
    parts[:, 0] = np.arange(1, 31)
    found = replace(made.query_key([[1.0]]), parts=parts, source_labels=names, tokens=names, labels=names)
    assert "(others) are the sources with small parts, together." in query_key.picture(found).note
    few = replace(found, parts=parts * (np.arange(30) < 9)[:, None])
    assert "(others)" not in query_key.picture(few).note


def test_what_each_part_writes_itself_is_a_map() -> None:
    drawn = direct.picture(made.direct())
    assert len(drawing(drawn.chart).of("rect")) >= 6 and len(drawn.frame) == 1 + 4 + 2 + 1
    assert (
        "through the frozen final norm: heads +10.00, MLPs +11.00, embedding +0.50, biases +0.25; they sum to +21.75"
        in drawn.note
    )
    assert "without the frozen final norm" in direct.picture(made.direct(direct="without norm")).note
    assert "MLP 1" in json.dumps(drawn.chart.to_dict()) and "head 1.-1" not in json.dumps(drawn.chart.to_dict())
    seen = drawing(drawn.chart)
    assert not seen.of("line") and not seen.of("rule")  # no path is drawn where none was asked for


def test_a_head_has_bars_of_its_readers_and_tokens_and_arcs_of_its_moves() -> None:
    found = made.readers(1.0, [0.5, -0.25], 2.0, bias=0.125)
    parts, words, moved = readers.picture(found), readers.tokens(found), readers.moves(found)
    assert [name for _, name in drawing(parts.chart).axes["left"]] == ["directly", "MLP 1", "1.0", "1.1", "MLP 0"][:4]
    assert parts.title == "What reads head 0.1: “b” over “c” after “a bb c”, by-hand" and "Parts of its +3.25" in parts.note
    assert parts.frame["logit"].sum() == pytest.approx(3.25) and len(parts.frame) == 1 + 1 + 2 + 1
    bars = {round(r["width"]) for r in drawing(words.chart).of("rect")}
    assert len(drawing(words.chart).of("rect")) == 4 and len(bars) == 4
    (line,) = {(p["stroke"], p["strokeWidth"]) for m in drawing(moved.chart).marks if m.kind == "line" for p in m.items}
    assert line == (signs(False)[0], 9)
    assert "+2.75 in all of its +3.25" in moved.note and "; +0.50 stays at its position; +0.12 is of biases." in moved.note
    none = readers.moves(made.readers(1.0, [0.5], 2.0, head=-1, softcap=5.0))
    assert not drawing(none.chart).of("line") and none.note.endswith("Before the model's soft cap.")


@pytest.mark.slow
def test_large_pictures_are_drawn_and_all_of_them_say_what_they_are() -> None:
    """Altair refuses tables of more than 5,000 rows where nobody lifts that."""
    many = pd.DataFrame({"x": range(6_000), "y": 1})
    chart = alt.LayerChart(layer=[alt.Chart(t).mark_point().encode(x="x:Q", y="y:Q") for t in (many, many.assign(y=2))])
    one = picture.Picture(chart, many, "Information flow of “naïve <b> 猫” on me/mine", "Shares by norm. Not shown: A.")
    spec = rendering.inlined(one.with_words()).to_dict()
    assert [len(spec["datasets"][layer["data"]["name"]]) for layer in spec["layer"]] == [6_000, 6_000]
    assert spec["title"]["text"] == [one.title] and spec["title"]["subtitle"] == [one.note]
    assert chart.layer[0].data is many and chart.title is alt.Undefined  # the one on the page stays as it is
    assert one.file_name == "infoflow-information-flow-of-naive-b-on-me-mine"
    assert replace(one, title="猫").file_name == "infoflow"
    long = replace(one, title="word " * 60)
    assert all(len(line) <= picture.LINE for line in long.with_words().title.text) and len(long.file_name) <= 90
    assert b"<svg" in rendering.chart_svg(one.with_words(), "#ffffff")[:200]


@pytest.mark.slow
def test_files_say_what_they_hold() -> None:
    drawn = flow.grid(made.flow(), hidden=(0,))
    page = formats.drawn(lambda: drawn, "html", "#ffffff").decode()
    assert f"<title>{drawn.title}</title>" in page and page.count("<title>") == 1
    table = pd.read_csv(io.BytesIO(formats.as_csv(drawn.frame, drawn)))
    assert set(table["title"]) == {drawn.title} and "Not shown: A" in table["note"].iloc[0]
    kept = json.loads(formats.with_words(formats.as_json(made.attribution([1.0])), drawn))
    assert kept["title"] == drawn.title and kept["note"] == drawn.note and kept["rows"][-1][0] is None  # the bias has no position


def test_all_heads_are_a_picture_too() -> None:
    attn = made.attention(np.tile(np.tril(np.ones((3, 3))) / [[1], [2], [3]], (2, 2, 1, 1)))
    table = attention_tables.head_map(attn, "entropy", attn.scores, 0.4)
    drawn = attention.head_map(attn, table, "entropy", (1, 0))
    assert (
        drawn.frame is table and drawn.title.startswith("All heads by entropy on “a bb c”") and "P previous token" in drawn.note
    )


@pytest.mark.parametrize("room", ["charts", "pictures", "files", "ui"])
def test_what_is_not_asked_to_be_dark_is_light(room: str) -> None:
    asked = 0
    for found in pkgutil.iter_modules(importlib.import_module(f"infoflow.{room}").__path__, f"infoflow.{room}."):
        for name, function in inspect.getmembers(importlib.import_module(found.name), inspect.isfunction):
            dark = inspect.signature(function).parameters.get("dark")
            if dark is not None and dark.default is not inspect.Parameter.empty:
                asked += 1
                assert dark.default is False, f"{found.name}.{name}"
    assert asked or room in ("files", "ui")


@pytest.mark.slow
def test_title_and_note_of_a_dark_file_are_light() -> None:
    for dark, colour in ((True, ink(True).text), (False, "#000")):
        svg = rendering.chart_svg(attribution.picture(made.attribution([1.0, -3.0]), dark).with_words(), ink(dark).paper).decode()
        heading = re.findall(r'<text text-anchor="start" transform="translate\(0,[^>]*fill="([^"]*)"', svg)
        assert len(heading) >= 2 and {*heading} == {colour}


def test_colours_of_patched_runs_are_full_at_the_largest_change() -> None:
    found = infoflow.patch(tiny.model("llama"), "Mary saw ab", "Mary was ab", "resid_pre", target=65, against=66)
    for metric in ("recovery", "kl"):
        spec = json.dumps(patching.picture(found, metric=metric).chart.to_dict())
        low, high = (float(end) for end in re.findall(r'"domain": \[(-[^,]+), 0, ([^]]+)\]', spec)[0])
        assert -low == high == pytest.approx(np.abs(found.change(metric))[..., found.live].max())
