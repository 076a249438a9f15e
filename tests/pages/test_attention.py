"""The attention page: heads named on the shipped model, every control without a run, bad input in words."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.charts import attention as charts
from infoflow.metrics import heads
from infoflow.tables import attention as attention_tables
from tests.helpers.drawn import drawing
from tests.helpers.pages import ROOT, ask, captions, choose, errors, opened, rows_of, unescaped

PAGE = str(ROOT / "pages/attention.py")
REPEATED = "The cat sat on the mat. The cat sat on the"


def inspected(app: AppTest) -> dict[str, str]:
    table = next(d.value for d in app.dataframe if list(d.value.columns) == ["measure", "value"])
    return dict(zip(table["measure"], table["value"], strict=True))


def test_induction_heads_are_named_and_a_threshold_unnames_them() -> None:
    app = ask(opened(PAGE), REPEATED)
    assert errors(app) == []
    app.selectbox(key="layer").set_value(5)
    app.selectbox(key="head").set_value(2).run()
    assert inspected(app)["kind"] == "induction" and "mean of 4" in inspected(app)["induction"]
    last = [r for r in rows_of(app, "Attention, Layer 5, head 2") if r["dest"] == 12]
    assert max(last, key=lambda r: r["weight"])["src_token"] == "mat"
    every = rows_of(app, "All heads by kind")
    assert len(every) == 48 and sum(r["kind"] == "induction" for r in every) > 5
    choose(app, "Kinds from", "random tokens")
    assert errors(app) == [] and "random tokens said twice" in captions(app) and "mean of 80" in inspected(app)["induction"]
    app.selectbox(key="head").set_value(3).run()
    assert inspected(app)["kind"] == "induction" and inspected(app)["induction"].startswith("0.92")
    next(s for s in app.slider if s.label == "Named above").set_value(0.95).run()
    assert errors(app) == [] and inspected(app)["kind"] == "diffuse" and inspected(app)["induction"].startswith("0.92")
    app.selectbox(key="head").set_value(2).run()
    assert inspected(app)["kind"] == "induction" and inspected(app)["induction"].startswith("0.97")


@pytest.mark.slow
def test_looking_never_runs_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ask(opened(PAGE), REPEATED)
    monkeypatch.setattr(infoflow.Model, "run", lambda *_, **__: pytest.fail("the model was run"))
    whole = rows_of(app, "Attention, ")
    assert sum(r["weight"] for r in whole if r["dest"] == 5) == pytest.approx(1, abs=1e-4)
    choose(app, "First token", "masked")
    sink = [r["weight"] for r in rows_of(app, "Attention, ") if r["src"] == 0]
    assert errors(app) == [] and sink == [0] * len(sink) and sum(r["weight"] for r in whole if r["src"] == 0) > 0.1
    assert len(sink) == sum(r["src"] == 0 for r in whole)
    choose(app, "First token", "renormalised")
    assert sum(r["weight"] for r in rows_of(app, "Attention, ") if r["dest"] == 5) == pytest.approx(1, abs=1e-4)
    assert "here it is renormalised" in captions(app)
    for level, title in (("layer mean", "mean of 8 maps"), ("mean of all", "mean of 48 maps")):
        choose(app, "Show", level)
        assert errors(app) == [] and any(title in m.value for m in app.markdown)
    shown = [rows_of(app, "Attention, ")]
    for weights in ("value-weighted", "contribution"):
        shown.append(rows_of(choose(app, "Weights", weights), "Attention, "))
        assert errors(app) == [] and shown[-1] not in shown[:-1]
    next(g for g in app.button_group if g.label == "Also show").set_value(
        ["weightings", "all heads", "arcs", "largest pairs"]
    ).run()
    assert errors(app) == [] and rows_of(app, "8 maps of layer") and rows_of(app, "Arcs")
    colours = []
    for metric in attention_tables.HEAD_METRICS:
        app.selectbox(key="attn_metric").set_value(metric).run()
        assert errors(app) == [] and rows_of(app, "All heads by") not in colours
        colours.append(rows_of(app, "All heads by"))


@pytest.mark.slow
def test_why_a_head_looked_there_is_told_on_request(demo: infoflow.Model) -> None:
    app = ask(opened(PAGE), REPEATED)
    app.selectbox(key="layer").set_value(5)
    app.selectbox(key="head").set_value(2).run()
    assert "attn_from" not in app.session_state  # nothing is run before it is asked for
    app.session_state["fold_query_key"] = True
    app.run()
    n = len(demo.encode(REPEATED))
    row = infoflow.attention(demo, REPEATED).pattern[5, 2, n - 1].copy()
    row[0] = 0
    key = int(row.argmax())
    found = infoflow.query_key(demo, REPEATED, 5, 2, n - 1, key)
    drawn = rows_of(app, "Parts of the score")
    assert errors(app) == [] and sum(r["part"] for r in drawn) == pytest.approx(found.score, abs=1e-2)
    assert any(unescaped(m.value) == found.summary() for m in app.markdown)
    largest = [abs(r["part"]) for r in rows_of(app, "Largest parts")]
    assert len(largest) > 2 and max(largest) == pytest.approx(float(np.abs(found.parts).max()), abs=1e-3)
    app.selectbox(key="attn_from").set_value(key).run()  # from the place it looked at; every key is at or before it
    assert errors(app) == [] and len(app.selectbox(key=f"attn_at_5_2_{key}").options) == key + 1
    app.selectbox(key="attn_against").set_value(0).run()
    looked = app.selectbox(key=f"attn_at_5_2_{key}").value
    rather = infoflow.query_key(demo, REPEATED, 5, 2, key, looked, against=0)
    assert errors(app) == [] and any(unescaped(m.value) == rather.summary() for m in app.markdown)
    choose(app, "Sources", "words")
    assert errors(app) == []
    choose(app, "Show", "layer mean")
    assert errors(app) == [] and "A mean of heads has no score of its own" in captions(app)
    choose(app, "Show", "one head")
    assert errors(ask(app, "a")) == []
    assert "group it (for example into '32 spans')" in errors(ask(app, "The cat sat on the mat. " * 20))[0]
    assert errors(choose(app, "Sources", "32 spans")) == []


@pytest.mark.parametrize(("prompt", "message"), [("  ", "empty"), ("x " * 3000, "this model reads at most")])
def test_a_bad_prompt_gets_a_sentence_and_the_last_map_stays(prompt: str, message: str) -> None:
    app = ask(opened(PAGE), "The sky is")
    before = rows_of(app, "Attention, ")
    assert message in errors(ask(app, prompt))[0]
    assert rows_of(app, "Attention, ") == before


def test_one_token_and_a_hundred_have_their_maps() -> None:
    app = ask(opened(PAGE), "The cat sat on the mat. " * 20)
    assert errors(app) == [] and len({r["dest"] for r in rows_of(app, "Attention, ")}) == 64
    assert errors(ask(app, "a")) == []


def test_a_layer_of_a_larger_model_falls_back() -> None:
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["layer"], app.session_state["head"] = 30, 31
    assert errors(app.run()) == [] and app.selectbox(key="layer").value == 0


def test_views_are_what_they_say(demo: "infoflow.Model") -> None:
    attn = infoflow.attention(demo, REPEATED)
    one = attention_tables.view(attn, "one head", 4, 5, "pattern", "shown")
    np.testing.assert_array_equal(one.weights, attn.pattern[4, 5])
    assert one.title == "Layer 4, head 5" and one.sink == pytest.approx(float(heads.sink_share(attn.pattern)[4, 5]), abs=1e-6)
    mean = attention_tables.view(attn, "layer mean", 4, 5, "contribution", "shown")
    np.testing.assert_allclose(mean.weights, attn.weighted("contribution")[4].mean(0), rtol=1e-5)
    every = attention_tables.view(attn, "mean of all", 0, 0, "pattern", "shown")
    np.testing.assert_allclose(every.weights, attn.pattern.mean((0, 1)), rtol=1e-5)
    three = attention_tables.weightings(attn, "one head", 4, 5, "shown")
    np.testing.assert_allclose(three[2], attn.weighted("contribution")[4, 5], rtol=1e-5)
    words = attention_tables.attended(one.weights, attn.word_labels)
    assert words["share"].sum() == pytest.approx(1) and len(words) <= len(set(attn.word_labels))
    pairs = attention_tables.pairs(attn.pattern[5, 2], attn.position_labels)
    assert pairs["weight"].is_monotonic_decreasing and (pairs["from"] != pairs["to"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("prompt", ["a", '"quotes" \\ <b> $x$', "日本 😀"])
def test_charts_draw_any_text(prompt: str, dark: bool, demo: "infoflow.Model") -> None:
    attn = infoflow.attention(demo, prompt)
    table = attention_tables.matrix(attn.pattern[0, 0], attn.position_labels)
    colours = ["#123456"] * len(attn.position_labels)
    for chart in (
        charts.heatmap(table, "pattern", dark),
        charts.overview(attention_tables.head_map(attn, "entropy", attn.scores, 0.4), "entropy", (0, 0), dark),
        charts.small_maps(attn.pattern[0], [f"head {i}" for i in range(8)], 4, dark),
        charts.arcs(table, list(attn.position_labels), colours, 0.0, dark),
        charts.arcs(table, list(attn.position_labels), colours, 2.0, dark),
    ):
        assert drawing(chart).marks
