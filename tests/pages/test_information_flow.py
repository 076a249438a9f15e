"""The Information flow page: it answers its controls, and turns bad input into a sentence."""

import json
import re
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.analyses import perform
from infoflow.analyses.attribution import AttributionRequest
from infoflow.analyses.selftest import Check, Verdict
from infoflow.errors import BadPrompt
from infoflow.models.spec import ModelSpec
from infoflow.text.examples import PRESETS
from infoflow.ui import cache, jobs
from infoflow.ui.information_flow import WINDOW
from tests.helpers.pages import FLOW, ask, button, captions, choose, errors, grid_spec, opened, rows_of, running_text, unescaped


def test_opening_shows_a_finished_picture_without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "using", lambda *_: pytest.fail("a model was loaded for the first picture"))
    app = opened()
    assert errors(app) == []
    assert app.text_area(key="prompt").value == PRESETS[0].prompt
    (names,) = [p["value"] for p in json.loads(grid_spec(app))["params"] if p["name"] == "token_labels"]
    assert names[:4] == ["⟨bos⟩", "When", "Mary", "and"]
    text = " ".join(m.value for m in app.markdown)
    assert "same top 8, error" in text and "median" in text and re.search(r"Worst error.*\s+\d.\de-0[67] at layer", text)
    assert re.search(r"Hidden: ⟨bos⟩.*\s+\d+% of the norm, on average", text)


@pytest.mark.slow
def test_looking_never_runs_the_model_again(demo) -> None:  # type: ignore[no-untyped-def]
    passes: list[int] = []
    with cache.using(ModelSpec(), "", jobs.Job().say) as model:
        perform.self_tested(model, jobs.Job().say)
    hook = model._hf.model.embed_tokens.register_forward_hook(lambda *_: passes.append(1))
    try:
        app = ask(opened(), "The dog sat on the mat and looked at the moon")
        assert errors(app) == [] and len(passes) == 1
        drawn = [grid_spec(app)]

        def is_drawn_anew() -> None:
            assert errors(app) == [] and grid_spec(app) != drawn[-1]
            drawn.append(grid_spec(app))

        for key, values in (
            ("metric", ["projection", "distance", "norm"]),
            ("grouping", ["tokens", "custom"]),  # custom groups begin as words
            ("emphasis", ["attention", "MLP"]),
            ("colours", ["ordered", "top 8"]),
        ):
            for value in values:
                app.segmented_control(key=key).set_value(value).run()
                is_drawn_anew()
        app.segmented_control(key="grouping").set_value("words").run()
        assert errors(app) == [] and grid_spec(app) == drawn[-1]
        app.toggle(key="hide_first").set_value(False).run()
        is_drawn_anew()
        app.multiselect[0].set_value([app.multiselect[0].options[2]]).run()
        is_drawn_anew()
        app.slider[0].set_value((1, 3)).run()
        is_drawn_anew()
        assert len(passes) == 1
        ask(app, "The cat sat on the hat")
        assert len(passes) == 2
    finally:
        hook.remove()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "The prompt is empty"),
        (" \n ", "The prompt is empty"),
        ("one two three four five six seven " * 12, "the limit is 64"),
    ],
)
def test_a_bad_prompt_gets_a_sentence_and_the_last_picture_stays(prompt: str, message: str) -> None:
    app = opened()
    before = grid_spec(app)
    ask(app, prompt)
    (error,) = errors(app)
    assert message in error
    assert grid_spec(app) == before
    assert any(PRESETS[0].prompt in c.value.replace("\\", "") for c in app.caption)


def test_hiding_everything_gets_a_sentence_and_the_picture_stays() -> None:
    app = opened()
    labels = app.multiselect[0].options
    app.multiselect[0].set_value(labels[:1]).run()
    before = grid_spec(app)
    app.multiselect[0].set_value(labels).run()
    (error,) = errors(app)
    assert "Every source is hidden" in error
    assert grid_spec(app) == before


@pytest.mark.slow
def test_groups_can_be_merged_named_and_undone() -> None:
    app = ask(opened(), next(p.prompt for p in PRESETS if p.key == "copying"))
    app.segmented_control(key="grouping").set_value("custom").run()
    app.multiselect(key="flow_merge").set_value(["password", "SWORDFISH"])
    app.text_input(key="flow_merge_name").set_value("the secret")
    button(app, "Merge").click().run()
    assert errors(app) == []
    assert "the secret" in app.multiselect(key="flow_merge").options
    assert "SWORDFISH" not in app.multiselect(key="flow_merge").options
    button(app, "Undo").click().run()
    assert "SWORDFISH" in app.multiselect(key="flow_merge").options
    button(app, "Tokens").click().run()
    assert errors(app) == []
    assert "SWORDFISH" not in app.multiselect(key="flow_merge").options
    button(app, "Words again").click().run()
    assert "SWORDFISH" in app.multiselect(key="flow_merge").options


@pytest.mark.parametrize(
    ("parameter", "now"),
    [("sources=words", "words"), ("sources=custom", "custom"), ("grouping=tokens", "tokens"), ("sources=nonsense", "words")],
)
def test_addresses_of_earlier_versions_still_open(parameter: str, now: str) -> None:
    app = AppTest.from_file(FLOW, default_timeout=120)
    name, value = parameter.split("=")
    app.query_params[name] = value
    app.run()
    assert errors(app) == [] and app.segmented_control(key="grouping").value == now
    assert "sources" not in app.query_params


def test_the_badge_and_the_cost_are_shown() -> None:
    app = ask(opened(), "The cat sat on the hat")
    assert errors(app) == []
    assert any("exact" in m.value and "badge" in m.value for m in app.markdown)
    assert re.search(r"7 tokens, each a source: about \d+ MB of memory and less than a second", captions(app))


def test_a_model_that_is_not_exact_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Check(verdict=Verdict.UNSUPPORTED, reason="The reconstruction error is 5.0e-01.", errors={})
    monkeypatch.setattr(cache, "judge", lambda flow: wrong)
    app = opened()
    assert any("unsupported" in m.value for m in app.markdown)
    assert any("Do not rely on" in w.value and "5\\.0e" in w.value for w in app.warning)


@pytest.mark.slow
def test_a_prompt_too_large_is_refused_with_numbers_and_runs_that_fit_are_offered() -> None:
    app = ask(opened(), "The old wizard walked through the forest. " * 12)
    (error,) = errors(app)
    assert re.search(r"has \d+ tokens; the limit is 64", error)
    offered = [b for b in app.button if b.label.startswith("Run by")]
    assert {"Run by sentences", "Run by 32 spans"} <= {b.label for b in offered}
    assert all("Takes about" in b.help for b in offered)
    next(b for b in offered if b.label == "Run by 32 spans").click().run()
    assert errors(app) == []
    assert app.selectbox(key="run_by").value == "32 spans"
    assert "tokens in 32 sources: about" in captions(app)
    assert "Below is the last good run" not in captions(app)
    (slider,) = [s for s in app.slider if s.label == "Positions"]
    assert slider.value[1] - slider.value[0] == WINDOW - 1
    slider.set_value((0, 20)).run()
    assert errors(app) == []


def test_no_memory_is_refused_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "15")
    app = ask(opened(), "The old wizard walked through the forest and saw a cat. " * 4)
    (error,) = errors(app)
    assert re.search(r"need about \d+ MB; 15 MB are allowed", error)
    assert [b.label for b in app.button if b.label.startswith("Run by")]


def test_what_raises_a_logit_for_likely_tokens_needs_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "using", lambda *_: pytest.fail("the model ran"))
    app = opened()
    assert "together give the logit: " in captions(app)
    target = next(s for s in app.selectbox if s.label == "Target")
    assert target.index == 0 and next(s for s in app.selectbox if s.label == "against").index is None
    assert target.options[0].startswith("Mary")
    next(s for s in app.selectbox if s.label == "against").set_value(target.options[1]).run()
    assert errors(app) == []
    assert "together give the logit difference: " in captions(app)
    assert [r["label"] for r in rows_of(app, "Contribution of each source")][:3] == ["When", "Mary", "and"]
    assert "⟨bos⟩WhenMaryandJohn" in running_text(app) and 'title="+0.000"' in str([h.proto.body for h in app.get("html")])


def test_details_of_the_last_cell_hold_the_same_numbers() -> None:
    app = opened()
    table = next(d.value for d in app.dataframe if "cosine" in d.value)
    bars = rows_of(app, "Contribution of each source")
    assert dict(zip(table["source_label"], table["logit"], strict=True)) == pytest.approx({r["label"]: r["logit"] for r in bars})


@pytest.mark.slow
def test_heads_and_mlps_and_a_centred_logit() -> None:
    app = opened()
    toggles = {t.label: t for t in app.toggle}
    toggles["Heads and MLPs"].set_value(True).run()
    assert errors(app) == []
    rows = rows_of(app, "Direct contribution of each head")
    assert len(rows) == 6 * 9 and rows[8]["column"] == "MLP"
    app.selectbox(key="flow_direct").set_value("without norm").run()
    assert "In this form they sum to" in captions(app)
    next(t for t in app.toggle if t.label == "Centred").set_value(True).run()
    assert errors(app) == [] and "together give the centred logit" in captions(app)


def test_what_raises_a_token_that_was_typed_is_run(demo: infoflow.Model) -> None:
    key = next(s.key for s in opened().selectbox if s.label == "Target")
    app = AppTest.from_file(FLOW, default_timeout=120)
    app.query_params[key] = " cat"
    app.run()
    found = infoflow.attribute(demo, "When Mary and John went to the store, John gave a drink to", " cat")
    shown = {r["label"]: r["logit"] for r in rows_of(app, "Contribution of each source")}
    assert errors(app) == [] and shown["Mary"] == pytest.approx(float(found.by_source[2]), abs=1e-3)


def test_who_carried_it_sums_to_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    linked: dict[str, object] = {}
    monkeypatch.setattr("infoflow.ui.carriers.picked_head", lambda chart, first: linked.update({chart: first}))
    app = opened()
    app.segmented_control(key="panel").set_value("Who carried it?").run()
    assert errors(app) == []
    assert "of them add to 100.0%" in captions(app)
    rows = rows_of(app, "Largest carriers")
    assert rows[0]["name"].startswith("L5 ") and len(rows) == 12
    largest = next(r for r in rows if r["head"] >= 0)
    assert linked["carried"] == (largest["layer"], largest["head"])
    assert "nothing comes after it" in captions(app)
    next(s for s in app.selectbox if s.label == "Source").select_index(2).run()
    assert errors(app) == [] and "of them add to 100.0%" in captions(app)


def test_a_model_that_does_not_run_gets_a_sentence_and_the_picture_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened()
    before = grid_spec(app)
    broken = SimpleNamespace(
        lock=threading.RLock(), tested=Check(verdict=Verdict.UNSUPPORTED, reason="It does not run.", errors={})
    )
    monkeypatch.setattr(cache, "using", lambda *_: nullcontext(broken))
    ask(app, "The moon is")
    assert errors(app) == ["It does not run."]
    assert grid_spec(app) == before


def test_a_target_that_fails_draws_nothing_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BadPrompt("'two words' is 2 tokens here.")

    monkeypatch.setattr(AttributionRequest, "run", refuse)
    app = opened()
    assert any(c.proto.alt.startswith("Contribution of each") for c in app.get("vega_lite_chart"))
    next(t for t in app.toggle if t.label == "Centred").set_value(True).run()
    assert errors(app) == ["'two words' is 2 tokens here."]
    assert not any(c.proto.alt.startswith("Contribution of each") for c in app.get("vega_lite_chart"))
    assert "together give" not in captions(app)


def test_one_source_is_shown_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = infoflow.decompose(infoflow.load_model("demo"), [40])
    monkeypatch.setattr(cache, "sample", lambda request: alone)
    app = opened()
    assert errors(app) == [] and len(alone.source_labels) == 1
    text = " ".join(m.value for m in app.markdown)
    assert "First token: " in text and "Hidden: " not in text


def test_the_first_sentence_is_no_attention_sink() -> None:
    app = opened()
    app.selectbox(key="run_by").set_value("32 spans")
    ask(app, "The cat sat. It slept.")
    assert errors(app) == []
    assert "Hidden: ⟨bos⟩" in " ".join(m.value for m in app.markdown)


def test_a_link_brings_hidden_and_traced_sources() -> None:
    app = opened()
    hide = next(m for m in app.multiselect if m.label == "Hide also")
    trace = next(s for s in app.selectbox if s.label == "Trace one source")
    again = AppTest.from_file(FLOW, default_timeout=120)
    again.query_params[hide.key], again.query_params[trace.key] = ["John", "store"], "Mary"
    again.run()
    assert errors(again) == []
    assert next(m for m in again.multiselect if m.label == "Hide also").value == ["John", "store"]
    assert next(s for s in again.selectbox if s.label == "Trace one source").value == "Mary"
    assert "Hidden: ⟨bos⟩, John, store" in " ".join(unescaped(m.value) for m in again.markdown)


@pytest.mark.slow
def test_contributions_are_held_against_removals_on_request(demo: infoflow.Model) -> None:
    app = opened()
    assert "causal_by" not in app.session_state  # nothing is run before it is asked for
    app.session_state["fold_causal"] = True
    app.run()
    assert errors(app) == []
    prompt = "When Mary and John went to the store, John gave a drink to"
    top = infoflow.decompose(demo, prompt).top
    found = infoflow.causal(demo, prompt, top[0].id, top[1].id)
    drawn = {(r["label"], r["kind"]): r["value"] for r in rows_of(app, "Contribution beside removal")}
    assert drawn["Mary", "what removing it does"] == pytest.approx(float(found.effect[2]), abs=1e-3)
    assert drawn["Mary", "contribution"] == pytest.approx(float(found.linear[2]), abs=1e-3)
    choose(app, "Remove by", "zero")
    other = {(r["label"], r["kind"]): r["value"] for r in rows_of(app, "Contribution beside removal")}
    assert errors(app) == [] and other["Mary", "what removing it does"] != drawn["Mary", "what removing it does"]
