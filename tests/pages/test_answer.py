"""The Answer page."""

import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.ui import answer as ui
from tests.helpers.pages import ROOT, ask, captions, choose, errors, opened, rows_of, unescaped

ANSWER = str(ROOT / "pages/answer.py")
MAP = "Where the answer is"


def test_the_map_has_every_row_and_position_and_says_where_the_answer_is() -> None:
    app = ask(opened(ANSWER), "The capital of France is")
    assert errors(app) == []
    cells = rows_of(app, MAP)
    assert len(cells) == 7 * 6 and {c["row"] for c in cells} == {"embed", *(f"L{i}" for i in range(6))}
    top = {c["label"]: c["logit"] for c in cells if c["row"] == "L5"}
    assert top["is"] > 5 and not any(v for k, v in top.items() if k != "is")
    said = " ".join(b.label for b in app.button)
    assert "the largest part is at" in said and ("moves most of all" in said or "move most of all" in said)
    assert "Each row sums to" in captions(app) and "Hindsight is in it" in captions(app)


def test_a_rival_and_rows_after_attention() -> None:
    app = opened(ANSWER)
    rival = next(s for s in app.selectbox if s.label == "against")
    rival.set_value(rival.options[1]).run()
    assert errors(app) == []
    next(t for t in app.toggle if t.label == "Rows after attention").set_value(True).run()
    assert errors(app) == [] and any(c["row"].endswith("attn") for c in rows_of(app, MAP))
    assert len({c["row"] for c in rows_of(app, MAP)}) == 13


@pytest.mark.slow
def test_a_contrast_tells_what_is_specific_from_hindsight() -> None:
    app = ask(opened(ANSWER), "The capital of France is")
    box = next(s for s in app.selectbox if s.label == "Contrast")
    assert box.options[0] == "France → Italy" and box.options[-1] == "neutral texts"
    assert not any(g.label == "Show" for g in app.button_group)
    box.set_value("The capital of Italy is").run()
    assert errors(app) == [] and "beyond the contrast “France” says most" in " ".join(unescaped(b.label) for b in app.button)
    own = {(c["order"], c["position"]): c["logit"] for c in rows_of(app, MAP)}
    parts = []
    for shown in ("specific", "hindsight"):
        app = choose(app, "Show", shown)
        assert errors(app) == []
        parts.append({(c["order"], c["position"]): c["logit"] for c in rows_of(app, MAP)})
    for cell, value in own.items():
        assert parts[0][cell] + parts[1][cell] == pytest.approx(value, abs=1e-4)
    assert parts[0][0, 4] > 5 and parts[0][0, 3] == 0  # the embeddings differ at France alone
    assert app.query_params["contrast"] == "The capital of Italy is"


def test_a_contrast_of_another_length_is_told() -> None:
    app = opened_at(contrast="Rome", prompt="The capital of France is")
    assert any("are held against each other position by position" in e for e in errors(app))


def opened_at(**parameters: str) -> AppTest:
    app = AppTest.from_file(ANSWER, default_timeout=120)
    for name, value in parameters.items():
        app.query_params[name] = value
    return app.run()


def test_looking_never_runs_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ask(opened(ANSWER), "The sky is")
    monkeypatch.setattr(infoflow.Model, "run", lambda *_, **__: pytest.fail("the model was run"))
    next(s for s in app.slider if s.label == "Moves drawn").set_value(0).run()
    assert errors(app) == [] and "the 0 largest moves" in captions(app)


@pytest.mark.slow
@pytest.mark.parametrize(("prompt", "message"), [("  ", "empty"), ("x " * 3000, "this model reads at most")])
def test_a_bad_prompt_gets_a_sentence_and_the_last_map_stays(prompt: str, message: str) -> None:
    app = ask(opened(ANSWER), "The sky is")
    app = ask(app, prompt)
    assert any(message in e for e in errors(app)) and rows_of(app, MAP)


@pytest.mark.slow
def test_a_target_may_be_typed_and_one_that_is_no_single_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ui.controls.held_choice
    typed: dict[str, str] = {}
    monkeypatch.setattr(ui.controls, "held_choice", lambda label, *rest, **more: typed.get(label) or real(label, *rest, **more))
    app = ask(opened(ANSWER), "The capital of France is")
    typed["Target"] = "Rome"
    assert errors(app.run()) == [] and "the logit of “Rome”" in " ".join(b.label for b in app.button)
    typed["Target"] = "Constantinople and more"
    assert any("token" in e for e in errors(app.run())) and rows_of(app, MAP)
