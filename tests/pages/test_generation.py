"""The generation page: what is drawn is what the pattern says, every control without a run, bad input in words."""

from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.analyses.generation import GenerationRequest
from infoflow.charts import generation as charts
from infoflow.models.spec import ModelSpec
from infoflow.tables import generation as tables
from infoflow.text.conversations import Form
from infoflow.ui import cache, jobs
from tests.helpers import tiny
from tests.helpers.drawn import drawing
from tests.helpers.pages import ROOT, ask, button, captions, choose, data_of, errors, opened, rows_of, running_text, unescaped

PAGE = str(ROOT / "pages/generation.py")
STORY = "The old wizard walked through the forest"
EDGES = "Connections from the prompt"


def texts(app: AppTest) -> str:
    return " ".join([*(m.value for m in app.markdown), running_text(app)])


def opened_at(**parameters: str) -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=120)
    for name, value in parameters.items():
        app.query_params[name] = value
    return app.run()


def slider(app: AppTest, label: str, value: float) -> AppTest:
    next(s for s in app.slider if s.label == label).set_value(value)
    return app.run()


def drawn(app: AppTest) -> list[dict]:
    """Everything in the picture: lines, points of curves, tokens."""
    return [row for table in data_of(app, EDGES) for row in table]


def count(app: AppTest, kind: str) -> int:
    """How many connections of a kind are drawn."""
    return sum("x2" in r for r in drawn(app)) if kind == "input" else len({r["edge"] for r in drawn(app) if "edge" in r})


def test_a_known_answer_is_written_and_its_steps_are_read() -> None:
    app = ask(opened(PAGE), "The capital of France is")
    assert errors(app) == [] and "Paris" in texts(app)
    assert "The likeliest token was written at 20 of 20 steps" in captions(app) and "chat template" in captions(app)
    before = count(app, "output")
    slider(app, "Step", 5)
    assert errors(app) == [] and "Step 5 of 20" in texts(app) and count(app, "output") < before
    likely = next(d.value for d in app.dataframe if "written" in d.value.columns)
    assert likely["written"].tolist() == ["✓", "", "", "", ""] and likely["probability"].is_monotonic_decreasing
    raised = rows_of(app, "What raised")
    assert len(raised) == 5 + 4 and "sum to the logit" in captions(app) and "which is hidden, adds" in captions(app)
    button(app, "Show all").click().run()
    assert count(app, "output") == before


@pytest.mark.slow
def test_looking_never_runs_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ask(opened(PAGE), STORY)
    monkeypatch.setattr(infoflow.Model, "run", lambda *_, **__: pytest.fail("the model was run"))
    monkeypatch.setattr(infoflow.Model, "generate", lambda *_, **__: pytest.fail("the model wrote"))
    at_first = count(app, "input")
    assert count(slider(app, "Threshold", 0.2), "input") < at_first
    assert count(slider(app, "Threshold", 0.0), "input") > at_first
    pictures = [drawn(app)]
    for normalisation in ("joint", "separate"):
        assert errors(choose(app, "Weights", normalisation)) == [] and drawn(app) not in pictures
        pictures.append(drawn(app))
    for level, title in (("layer mean", "Layer 0: mean of 8 maps"), ("one head", "Layer 0, head 0")):
        choose(app, "Attention of", level)
        assert errors(app) == [] and title in captions(app)
    app.toggle(key="gen_hide_first").set_value(False).run()
    assert errors(app) == [] and "1.00 in all" in captions(app) and "[BOS]" in str(drawn(app))


@pytest.mark.slow
def test_sampled_text_says_how_and_comes_again() -> None:
    app = opened(PAGE)
    next(s for s in app.slider if s.label == "Temperature").set_value(1.0)
    app.number_input(key="gen_seed").set_value(7)
    ask(app, STORY)
    assert errors(app) == [] and "Sampled at temperature 1, top-p 1, seed 7" in captions(app)
    first = texts(app)
    app.number_input(key="gen_seed").set_value(8)
    assert texts(button(app, "Run").click().run()) != first
    app.number_input(key="gen_seed").set_value(7)
    assert texts(button(app, "Run").click().run()) == first


def test_a_chat_ends_by_itself_and_a_base_model_says_it_has_none(folders, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    app = opened(PAGE)
    next(g for g in app.button_group if g.label == "Prompt as").set_value("chat")
    ask(app, "What is the capital of France?")
    assert errors(app) == [] and "ended its text by itself after 2 tokens" in captions(app)
    assert (
        "In the model's chat template" in captions(app)
        and "<|assistant|>" in str(drawn(app))
        and "<|user|> What is" in running_text(app)
    )
    request = GenerationRequest(model=ModelSpec(name=str(folders["llama"])), prompt="ab", max_new_tokens=2, form=Form.AUTO)
    bare = cache.results(request, "", jobs.Job().say)
    assert not bare.has_template and bare.result.form == Form.PLAIN
    with pytest.raises(infoflow.BadPrompt, match="no chat template"):
        cache.results(replace(request, form=Form.CHAT), "", jobs.Job().say)


@pytest.mark.slow
@pytest.mark.parametrize(("prompt", "message"), [("  ", "empty"), ("x " * 3000, "this model reads at most")])
def test_a_bad_prompt_gets_a_sentence_and_the_last_text_stays(prompt: str, message: str) -> None:
    app = ask(opened(PAGE), "The sky is")
    before = drawn(app)
    assert message in errors(ask(app, prompt))[0]
    assert drawn(app) == before


@pytest.mark.slow
def test_one_token_and_a_hundred_are_drawn() -> None:
    app = ask(opened(PAGE), "The cat sat on the mat. " * 20)
    assert errors(app) == []
    assert len([r for r in drawn(app) if r.get("side") == "input"]) == 50
    assert "The prompt has 142 tokens; 50 of them are shown" in captions(app)
    app = ask(app, "a")
    assert errors(app) == []
    next(s for s in app.slider if s.label == "New tokens").set_value(1)
    button(app, "Run").click().run()
    assert errors(app) == [] and "Step 1 of 1" in texts(app)


def test_a_text_that_ends_at_once_is_told() -> None:
    app = ask(opened(PAGE), "When Mary and John went to the store, John gave a drink to Mary.")
    assert errors(app) == [] and "The model ended at once" in captions(app) and "(nothing but the end)" in texts(app)
    assert "[EOS]" in str(drawn(app))


def test_what_a_click_draws(demo: "infoflow.Model") -> None:
    gen = infoflow.generate(demo, STORY, 6)
    edges = tables.edges(tables.connections(gen, "mean of all", 0, 0), gen, 0.0)
    of_input = tables.shown(edges, 2, ("input", 3))
    assert set(of_input["src"]) == {3} and set(of_input["kind"]) == {"input"} and set(of_input["dst"]) == set(range(6))
    into = tables.shown(edges, 2, ("output", 4))
    assert set(into["dst"]) == {4} and set(into["kind"]) == {"input", "output"}
    assert set(tables.shown(edges, 2, None)["dst"]) == {2} and len(tables.shown(edges, None, None)) == len(edges)
    assert (edges[edges["kind"] == "output"]["src"] < edges[edges["kind"] == "output"]["dst"]).all()
    nodes = tables.nodes(gen, 2, ("output", 4))
    roles = dict(zip(zip(nodes["side"], nodes["number"], strict=True), nodes["role"], strict=True))
    assert roles["output", 1] == "earlier" and roles["output", 2] == "current" and roles["output", 3] == "later"
    assert roles["output", 4] == "selected" and roles["input", 1] == "input" and ("input", 0) not in roles
    assert ("input", 0) in set(
        zip(*[tables.nodes(gen, None, None, hide_first=False)[c] for c in ("side", "number")], strict=True)
    )


def by_hand(weights: list[list[float]], n_prompt: int) -> "infoflow.Generation":
    """A written text whose only head has these weights."""
    model = tiny.model()
    gen = infoflow.generate(model, [0, *range(1, n_prompt)], len(weights))
    pattern = np.array(weights, dtype=np.float32)[None, None]
    return type(gen)(**{**{f: getattr(gen, f) for f in gen.__dataclass_fields__}, "pattern": pattern})


def test_normalisations_by_hand() -> None:
    gen = by_hand([[0.5, 0.3, 0.2, 0.0], [0.3, 0.2, 0.1, 0.4]], n_prompt=3)
    raw = tables.connections(gen, "one head", 0, 0)
    np.testing.assert_allclose(raw.inputs, [[0, 0.3, 0.2], [0, 0.2, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(raw.outputs, [[0, 0], [0.4, 0]], rtol=1e-6)
    np.testing.assert_allclose((raw.raw_inputs, raw.raw_outputs), [[0.5, 0.3], [0, 0.4]], rtol=1e-6)
    joint = tables.connections(gen, "one head", 0, 0, "joint")
    np.testing.assert_allclose(joint.inputs, [[0, 0.6, 0.4], [0, 2 / 7, 1 / 7]], rtol=1e-6)
    np.testing.assert_allclose(joint.outputs[1], [4 / 7, 0], rtol=1e-6)
    apart = tables.connections(gen, "one head", 0, 0, "separate")
    np.testing.assert_allclose(apart.inputs, [[0, 0.6, 0.4], [0, 2 / 3, 1 / 3]], rtol=1e-6)
    np.testing.assert_allclose(apart.outputs, [[0, 0], [1, 0]], rtol=1e-6)  # the first has none before it
    np.testing.assert_allclose(apart.raw_inputs, raw.raw_inputs)
    shown = tables.connections(gen, "layer mean", 0, 0, "joint", hide_first=False)
    np.testing.assert_allclose(shown.inputs[0], [0.5, 0.3, 0.2], rtol=1e-6)
    assert shown.title == "Layer 0: mean of 1 maps"
    nothing = tables.connections(by_hand([[1.0, 0.0]], 2), "one head", 0, 0, "separate")
    assert np.all(nothing.inputs == 0) and np.all(np.isfinite(nothing.outputs))


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("prompt", ["a", '"quotes" \\ <b> $x$', "日本 😀\n"])
def test_pictures_draw_any_text(prompt: str, dark: bool, demo: "infoflow.Model") -> None:
    gen = infoflow.generate(demo, prompt, 3)
    found = tables.connections(gen, "mean of all", 0, 0)
    for least in (0.0, 2.0):
        chart = charts.bipartite(tables.nodes(gen, 1, None), tables.edges(found, gen, least), least, 1.0, dark)
        assert drawing(chart).marks


def test_all_hops_are_followed_back_to_the_prompt() -> None:
    app = opened(str(ROOT / "pages/generation.py"))
    choose(app, "Count", "all hops")
    assert errors(app) == [] and "On one hop" in captions(app)
    shares = rows_of(app, "Share of each token of the prompt")
    assert sum(r["share"] for r in shares) == pytest.approx(1, abs=1e-6) and not any("⟨bos⟩" in r["label"] for r in shares)
    next(s for s in app.slider if s.label == "Of the steps").set_value((2, 3)).run()
    assert errors(app) == [] and "all hops" in " ".join(m.value for m in app.markdown)
    narrow = rows_of(app, "Share of each token of the prompt")
    assert [r["share"] for r in narrow] != [r["share"] for r in shares]
    next(t for t in app.toggle if t.label == "By surprise").set_value(True).run()
    assert errors(app) == [] and sum(r["share"] for r in rows_of(app, "Share of each")) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_what_raised_a_token_is_held_against_another_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ask(opened(PAGE), "The capital of France is")
    own = {r["label"]: r["logit"] for r in rows_of(app, "What raised")}
    assert "Hindsight is in it" in captions(app)
    box = next(s for s in app.selectbox if s.label == "Contrast")
    monkeypatch.setattr(infoflow.Model, "generate", lambda *_, **__: pytest.fail("the model wrote it again"))
    box.set_value("The capital of Italy is").run()
    assert errors(app) == [] and "the model itself gives" in captions(app)
    parts = []
    for shown in ("specific", "hindsight"):
        app = choose(app, "Show", shown)
        assert errors(app) == []
        parts.append({r["label"]: r["logit"] for r in rows_of(app, "What raised")})
    assert [name for name, value in parts[0].items() if value] == ["France"]
    for name, value in own.items():
        assert parts[0][name] + parts[1][name] == pytest.approx(value, abs=1e-4)
    slider(app, "Step", 3)
    assert errors(app) == [] and "France" in {r["label"] for r in rows_of(app, "What raised")}
    app = opened_at(contrast_of_text="Rome", prompt="The capital of France is")
    assert any("are held against each other position by position" in e for e in errors(app))
    assert rows_of(app, "What raised")


def test_prompt_and_what_was_written_are_told_apart_in_every_residual(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    app.session_state["fold_parts"] = True
    app.run()
    assert errors(app) == []
    gen = infoflow.generate(demo, "When Mary and John went to the store, John gave a drink to", 20)
    labels = ["first token", *["prompt"] * (gen.n_prompt - 1), *["written"] * gen.n_steps]
    flow = infoflow.decompose(demo, gen.prompt_ids + gen.output_ids, sources=labels)
    said = " ".join(unescaped(c.value) for c in app.caption)
    first, prompt, written = flow.shares()[-1, -1]
    assert f"first token {first:.0%}, prompt {prompt:.0%}, written {written:.0%}" in said
    next(m for m in app.multiselect if m.label == "Hide").set_value(["first token"]).run()
    hidden = flow.shares(hidden=["first token"])[-1, -1]
    assert f"prompt {hidden[1]:.0%}, written {hidden[2]:.0%}" in " ".join(unescaped(c.value) for c in app.caption)
