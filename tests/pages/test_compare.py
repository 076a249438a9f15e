"""The Compare page: two prompts, two models, with and without interventions, each view on one scale; a link reopens it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.files.sessions import session_of
from infoflow.interventions import Block
from infoflow.models.catalog import MODELS, Entry
from infoflow.text.examples import PAIRS
from infoflow.ui import compare as ui
from infoflow.ui.seen import Opened
from tests.helpers import tiny
from tests.helpers.pages import ROOT, button, captions, choose, errors, opened, popovers, rows_of, running_text, unescaped

PAGE = str(ROOT / "pages/compare.py")
FRANCE, ITALY = PAIRS[0].a, PAIRS[0].b
CUT = '{"source":2,"destination":14,"kind":"block"}'


def linked(**address: str | list[str]) -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=120)
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def panel(app: AppTest, alt: str, title: str = "B − A") -> list[dict]:
    return [row for row in rows_of(app, alt) if row.get("panel") == title]


def test_where_both_sides_are_the_same_examples_are_one_click_away() -> None:
    app = opened(PAGE)
    assert errors(app) == [] and "Both sides are the same" in app.info[0].value
    assert max(rows_of(app, "A's next tokens"), key=lambda r: r["a"])["name"] == "Mary"
    assert any("John → Mary" in unescaped(b.label) for b in app.button)
    button(app, PAIRS[0].title).click().run()
    assert errors(app) == [] and not app.info and app.text_area(key="prompt_b").value == ITALY
    assert "From A to B “Paris” falls from 100.0% to less than 0.1%; the likeliest is now “Rome”" in unescaped(
        app.markdown[-2].value
    ) or (any("the likeliest is now “Rome”" in unescaped(m.value) for m in app.markdown))
    assert "Prompts differ, on demo" in captions(app)
    assert "The capital of France is" in running_text(app) and "⟨bos⟩" in running_text(app)


def test_each_view_shows_the_numbers_of_the_two_results(demo: infoflow.Model) -> None:
    app = linked(prompt=FRANCE, prompt_b=ITALY)
    flows = [infoflow.decompose(demo, text).grouped("words") for text in (FRANCE, ITALY)]
    shares = [flow.shares(hidden=[0])[5, 5, 4] for flow in flows]
    found = {r["source_label"]: r["value"] for r in panel(app, "Change of each source") if r["layer"] == 5}
    assert found["France | Italy"] == pytest.approx(float(shares[1] - shares[0]), abs=1e-6)
    swapped = infoflow.swap_ratio(flows[0], flows[1], "France", "Italy")
    assert swapped.summary() in " ".join(unescaped(m.value) for m in app.markdown)
    assert app.dataframe[0].value["ratio"].tolist() == pytest.approx(list(swapped.ratios.values()))
    choose(app, "View", "answer")
    where = [infoflow.locate(demo, text, " Paris") for text in (FRANCE, ITALY)]
    cells = {(r["row"], r["column"]): r["value"] for r in panel(app, "Change of what each")}
    assert cells["L5", "is"] == pytest.approx(where[1].total - where[0].total, abs=1e-3)
    choose(app, "View", "attention")
    patterns = [infoflow.attention(demo, text).pattern for text in (FRANCE, ITALY)]
    moved = np.abs(patterns[1] - patterns[0])[:, :, -1].sum(-1) / 2
    layer, head = np.unravel_index(int(moved.argmax()), moved.shape)
    assert f"Head {layer}.{head}." in captions(app)
    shown = {(r["row"], r["column"]): r["moved"] for r in rows_of(app, "Attention moved")}
    assert shown == pytest.approx({(f"L{i}", f"H{j}"): float(value) for (i, j), value in np.ndenumerate(moved)}, abs=1e-6)
    last = {r["column"]: r["value"] for r in panel(app, f"Head {layer}.{head}") if r["row"] == "is"}
    assert last["of"] == pytest.approx(float(patterns[1][layer, head, -1, 3] - patterns[0][layer, head, -1, 3]), abs=1e-6)
    choose(app, "View", "lens")
    rome = panel(app, "Each token's probability", "B")
    probs = infoflow.logit_lens(demo, ITALY, targets=[" Rome"]).target_probs[:, -1, 0]
    assert [r["value"] for r in rome if r["column"] == "Rome"] == pytest.approx(probs.tolist(), abs=1e-5)
    choose(app, "View", "next token")
    assert {r["name"]: round(r["value"]) for r in panel(app, "Next tokens")} == {"Rome": 1, "Paris": -1}
    assert errors(app) == []


def test_a_link_reopens_the_view() -> None:
    address = {"prompt": FRANCE, "prompt_b": ITALY, "cmp_view": "flow", "cmp_metric": "projection", "cmp_place": "France | Italy"}
    app = linked(**address)
    assert (
        errors(app) == []
        and "Share of each source in the residual of “France | Italy”" in captions(app)
        and "by projection" in captions(app)
    )
    assert "More (1 changed)" in popovers(app) and "More" in popovers(
        linked(**{**address, "cmp_metric": "norm", "cmp_words": "true"})
    )
    looked = linked(prompt=FRANCE, prompt_b=ITALY, cmp_view="attention", compare_head="3.1")
    assert errors(looked) == [] and "Head 3.1." in captions(looked)
    wild = linked(prompt=FRANCE, prompt_b=ITALY, cmp_view="attention", compare_head="99.x")
    assert errors(wild) == [] and "Head 2.4." in captions(wild)


def test_with_and_without_interventions(demo: infoflow.Model) -> None:
    """One prompt, changed on one side; the difference is that of the Interventions page."""
    app = linked(change=CUT, cmp_view="answer", cmp_target="Mary")
    assert errors(app) == [] and "Interventions differ" in captions(app)
    prompt = app.text_area(key="prompt").value
    there = AppTest.from_file(str(ROOT / "pages/interventions.py"), default_timeout=120)
    there.query_params["change"] = CUT
    choose(there.run(), "Compare", "answer")
    ours, theirs = (panel(of, "Change of what each", name) for of, name in ((app, "B − A"), (there, "after − before")))
    assert [r["value"] for r in ours] == [r["value"] for r in theirs] and len(ours) == 7 * 15
    choose(app, "Interventions", "A alone")
    assert [r["value"] for r in panel(app, "Change of what each", "A")] == [
        r["value"] for r in panel(there, "Change of what each", "after")
    ]
    changed = infoflow.locate(demo, prompt, " John", interventions=[Block(2, 14)])
    app.text_input(key="cmp_target").set_value("").run()
    assert f"A {changed.total:+.1f}" in captions(app)  # what is located is A's own likeliest
    choose(app, "Interventions", "both")
    assert errors(app) == [] and "Both sides are the same" in app.info[0].value


@pytest.mark.slow
def test_two_checkpoints_and_what_can_not_be_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = []
    for step, seed in (("step1000", 0), ("step143000", 1)):
        folder = tmp_path / step
        tiny.hf_model("llama", seed).save_pretrained(folder)
        tiny.tokenizer().save_pretrained(folder)
        names.append(str(folder))
    monkeypatch.setattr("infoflow.ui.asking.MODELS", (*MODELS, *(Entry(name, name, "", 0, "") for name in names)))
    app = linked(prompt="When Mary", model=names[0], model_b=names[1])
    assert errors(app) == [] and "Models differ" in captions(app)
    models = [infoflow.load_model(name) for name in names]
    for view, alt in (("attention", "Head "), ("next token", "Next tokens"), ("lens", "Each token's probability")):
        choose(app, "View", view)
        assert errors(app) == [] and panel(app, alt), view
    found = infoflow.compare(*(infoflow.generate(model, "When Mary", 1, k=ui.READ) for model in models)).top
    choose(app, "View", "next token")
    assert {r["name"]: r["value"] for r in panel(app, "Next tokens", "A")}[found[0][0].token.strip()] == pytest.approx(
        found[0][0].probability, abs=1e-6
    )
    app.selectbox(key="model_b").set_value("demo")
    button(app, "Run").click().run()
    assert any("read other tokens" in e for e in errors(app)), (errors(app), captions(app))


def test_two_types_of_weights_and_a_run_that_was_stopped() -> None:
    app = linked(prompt=FRANCE, cmp_dtype="bfloat16", cmp_view="next token")
    assert errors(app) == [] and "Weights differ" in captions(app)
    from infoflow.analyses.generation import GenerationRequest
    from infoflow.models.spec import ModelSpec

    spec = ModelSpec(name="demo")
    app.session_state["compare_A_generation_cancelled"] = GenerationRequest(
        model=spec, prompt=FRANCE, max_new_tokens=1, k=ui.READ
    )
    app.run()
    assert "The run of A was stopped" in unescaped(app.info[0].value)
    button(app, "Try again").click().run()
    assert errors(app) == [] and not app.info and panel(app, "Next tokens")


def test_a_side_of_the_open_session_is_shown_and_said(demo: infoflow.Model) -> None:
    """What the session has is not run; weights that are asked for otherwise are."""

    def opened_with(**address: str) -> AppTest:
        app = AppTest.from_file(PAGE, default_timeout=120)
        app.session_state["session_open"] = Opened(session_of([marked], "Mine"))
        for name, value in {"prompt": FRANCE, "cmp_view": "next token", **address}.items():
            app.query_params[name] = value
        return app.run()

    found = infoflow.generate(demo, FRANCE, 1, k=ui.READ)
    marked = replace(found, probs=found.probs * np.float32(0.5))  # so that it is told from a run
    app = opened_with(prompt_b=ITALY)
    values = {r["name"]: r["value"] for r in panel(app, "Next tokens", "A")}
    assert values["Paris"] == pytest.approx(float(found.probs[0, 0]) / 2, abs=1e-6)
    assert errors(app) == [] and any("saved (A): Mine" in unescaped(m.value) for m in app.markdown)
    other = opened_with(cmp_dtype="bfloat16")
    assert {r["name"]: r["value"] for r in panel(other, "Next tokens", "B")}["Paris"] > 0.9 and "Weights differ" in captions(
        other
    )
    same = opened_with(cmp_dtype="float32")
    assert any("saved: Mine" in unescaped(m.value) for m in same.markdown) and "Nothing differs, on demo" in captions(same)


def test_prompts_that_end_otherwise_meet_at_their_last_positions() -> None:
    app = linked(prompt=FRANCE, prompt_b="The capital of Italy was not", cmp_view="answer")
    assert errors(app) == [] and panel(app, "Change of what each")
    choose(app, "View", "attention")
    assert errors(app) == [] and not app.info and "is | not" in {r["row"] for r in panel(app, "Head ")}


def test_the_group_that_differs_is_told_of_the_position_that_is_chosen() -> None:
    other = "The capital of the big city is"
    assert any("is so many times what" in unescaped(m.value) for m in linked(prompt=FRANCE, prompt_b=other).markdown)
    before = linked(prompt=FRANCE, prompt_b=other, cmp_place="of")
    assert errors(before) == [] and before.selectbox(key="cmp_place").value == -2
    assert not any("is so many times what" in unescaped(m.value) for m in before.markdown), "no part of either is there"


def test_any_text_is_data_and_prompts_of_any_length_are_compared() -> None:
    app = linked(prompt="The <b>x</b> *a* is", prompt_b="The <i>capital</i> of the $x$ is")
    assert errors(app) == [] and "<b>x</b>" in running_text(app) and "Without counterpart, and left out" in captions(app)
    bad = linked(prompt="a", prompt_b="\u0000", cmp_target="no such token at all", cmp_view="answer")
    assert len(errors(bad)) == 1 and json.dumps(errors(bad))


def test_where_all_is_one_source_nothing_is_said_to_be_the_same() -> None:
    app = linked(prompt=FRANCE, prompt_b=ITALY, run_by="sentences")
    assert errors(app) == [] and "All of this residual is one source here" in app.info[0].value
    first = linked(prompt=FRANCE, prompt_b=ITALY, cmp_place="The")
    assert errors(first) == [] and "All of this residual is one source here" in first.info[0].value


def test_prompts_too_long_for_a_source_a_token_are_compared_by_what_fits(demo: infoflow.Model) -> None:
    a = "The old wizard walked through the forest. " * 12
    b = a.replace("wizard", "king", 1)
    app = linked(prompt=a, prompt_b=b)
    assert len(errors(app)) == 1 and "tokens; the limit is 64" in errors(app)[0]
    button(app, "Run by 16 spans").click().run()
    assert errors(app) == [] and app.selectbox(key="run_by").value == "16 spans" and app.toggle(key="cmp_words").disabled
    flows = [infoflow.decompose(demo, text, sources="16 spans") for text in (a, b)]
    shares = [flow.shares(hidden=[0])[5, -1] for flow in flows]
    found = {r["source"]: r["value"] for r in panel(app, "Change of each source") if r["layer"] == 5}
    assert 1 in found and [(shares[1] - shares[0])[i] for i in found] == pytest.approx(list(found.values()), abs=1e-6)
