"""The Logit lens page."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.analyses.logit_lens import LensRequest
from infoflow.errors import TooLarge
from tests.helpers.pages import LENS, ask, captions, errors, opened, rows_of


def lens_cells(app: AppTest) -> list[dict]:
    return rows_of(app, "Logit lens")


def follow(app: AppTest, *tokens: str) -> AppTest:
    app.session_state["lens_follow"] = list(tokens)
    return app.run()


def test_paris_rises_through_the_layers_one_click_away() -> None:
    app = opened(LENS)
    app.button_group(key="preset").set_value("Factual recall").run()
    assert errors(app) == [] and app.text_area(key="prompt").value == "The capital of France is"
    last = [c for c in lens_cells(app) if c["position"] == 5]
    assert (
        next(c for c in last if c["order"] == 12)["text"] == "Paris" and next(c for c in last if c["order"] == 0)["text"] == "is"
    )
    follow(app, "Paris")
    assert errors(app) == []
    line = [r for r in rows_of(app, "Tokens through the layers") if r["token"] == "Paris" and r["followed"]]
    assert line[-1]["probability"] > 0.9 and line[0]["rank"] > 100
    (error,) = re.findall(r"error (\S+e[+-]\d+)", captions(app))
    assert float(error) < 1e-5


@pytest.mark.slow
def test_looking_at_the_lens_never_runs_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ask(opened(LENS), "The capital of France is")
    monkeypatch.setattr(infoflow.Model, "run", lambda *_, **__: pytest.fail("the model was run"))
    seen = [[c["value"] for c in lens_cells(app)]]
    for colour in ("entropy", "KL to output"):
        app.selectbox(key="lens_colour").set_value(colour).run()
        assert errors(app) == [] and [c["value"] for c in lens_cells(app)] not in seen
        seen.append([c["value"] for c in lens_cells(app)])
    for colour in ("lead", "rank"):
        app.selectbox(key="lens_colour").set_value(colour).run()
        assert errors(app) == []
    assert "Type a token to follow" in app.info[0].value
    assert sum(c["row"].endswith("attn") for c in lens_cells(app)) == 6 * 6  # layers and tokens
    next(t for t in app.toggle if t.label == "Rows after attention").set_value(False).run()
    assert errors(app) == [] and not any(c["row"].endswith("attn") for c in lens_cells(app))


@pytest.mark.slow
@pytest.mark.parametrize(("prompt", "message"), [("  ", "empty"), ("x " * 3000, "this model reads at most")])
def test_a_bad_prompt_for_the_lens_gets_a_sentence_and_the_last_table_stays(prompt: str, message: str) -> None:
    app = ask(opened(LENS), "The sky is")
    before = lens_cells(app)
    assert message in errors(ask(app, prompt))[0]
    assert lens_cells(app) == before and "Below is the last good run: The sky is" in captions(app)


@pytest.mark.slow
def test_a_token_that_is_several_lists_its_pieces() -> None:
    app = follow(ask(opened(LENS), "The sky is"), "not one token")
    assert "tokens here" in errors(app)[0]
    assert errors(follow(app)) == []


@pytest.mark.slow
def test_long_and_one_token_prompts_have_their_lens() -> None:
    app = ask(opened(LENS), "The cat sat on the mat. " * 20)
    assert errors(app) == []
    assert len({c["position"] for c in lens_cells(app)}) == 24
    ask(app, "a")
    assert errors(app) == [] and len({c["position"] for c in lens_cells(app)}) == 2


@pytest.mark.slow
def test_the_window_that_is_shown_is_what_is_read(monkeypatch: pytest.MonkeyPatch, one_token_model: str) -> None:
    read: list[tuple[int, ...]] = []
    run = LensRequest.run

    def noted(request: LensRequest, *given: Any) -> Any:
        read.append(request.positions or ())
        return run(request, *given)

    monkeypatch.setattr(LensRequest, "run", noted)
    app = ask(opened(LENS), "The cat sat on the mat. " * 8)
    n = 1 + max(c["position"] for c in lens_cells(app))
    assert read[-1] == tuple(range(n - 24, n)) and f"The prompt has {n} tokens; 24 of them are shown" in captions(app)
    app.slider[0].set_value((2, 5)).run()
    assert errors(app) == [] and read[-1] == (2, 3, 4, 5) and {c["position"] for c in lens_cells(app)} == {2, 3, 4, 5}
    before = len(read)
    with monkeypatch.context() as poor:
        poor.setattr(LensRequest, "run", lambda *_: (_ for _ in ()).throw(TooLarge("Too much.")))
        app.slider[0].set_value((3, 6)).run()  # asked once, and told; not again and again
        assert errors(app) == ["Too much."] and {c["position"] for c in lens_cells(app)} == {2, 3, 4, 5}
    assert len(read) == before
    app.selectbox(key="model").set_value(one_token_model)
    ask(app, "The cat sat on the mat. " * 8)
    app.slider[0].set_value((100, 104)).run()  # where the other model's tokens of the same prompt have ended
    assert errors(app) == [] and read[-1] == tuple(range(100, 105))
    app.selectbox(key="model").set_value("demo")
    assert errors(ask(app, "The cat sat on the mat. " * 8)) == [] and read[-1][-1] < n
    ask(app, "The sky is")
    shown = {c["position"] for c in lens_cells(app)}
    assert errors(app) == [] and shown == set(range(len(shown)))  # a short prompt is read whole


def test_a_lens_that_is_off_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    run = LensRequest.run
    monkeypatch.setattr(LensRequest, "run", lambda *a, **k: replace(run(*a, **k), max_error=0.2))
    app = opened(LENS)
    assert errors(app) == [] and "error 2.0e-01. Do not rely on" in app.warning[0].value


def test_one_token_s_lead_over_another_colours_the_lens() -> None:
    app = follow(ask(opened(LENS), "The capital of France is"), "Paris", "Rome")
    app.selectbox(key="lens_colour").set_value("lead").run()
    assert errors(app) == [] and not app.info and "of Paris over Rome" in captions(app)
    last = next(c for c in lens_cells(app) if c["position"] == 5 and c["order"] == 12)
    assert last["value"] > 3 and 0 < last["strength"] <= 1
    app = follow(app, "Paris")
    assert "Type two tokens" in app.info[0].value


@pytest.mark.slow
def test_two_prompts_are_compared_through_the_layers() -> None:
    app = follow(ask(opened(LENS), "The capital of France is"), "Rome")
    app.text_input(key="lens_other").set_value("The capital of Italy is").run()
    assert errors(app) == []
    said = " ".join(m.value for m in app.markdown).replace("\\", "")
    assert "This prompt ends with “Paris” (100%), the other with “Rome” (100%)" in said and "differ from" in said
    rows = rows_of(app, "Tokens through the layers of two prompts")
    rome = {r["run"]: r["probability"] for r in rows if r["token"] == "Rome" and r["order"] == 12}
    assert rome["other"] > 0.9 > 0.1 > rome["this"]
    app.text_input(key="lens_other").set_value("x " * 3000).run()
    assert "this model reads at most" in errors(app)[0]


def lens(app: AppTest, kind: str) -> AppTest:
    return app.button_group(key="lens_kind").set_value(kind).run()


@pytest.mark.slow
def test_a_frozen_lens_is_held_against_neutral_texts_and_tells_hindsight() -> None:
    app = lens(ask(opened(LENS), "The capital of France is"), "frozen")
    assert errors(app) == [] and "Pale: a neutral text's state reads the same there" in captions(app)
    cells = rows_of(app, "Frozen lens")
    early = next(c for c in cells if c["position"] == 5 and c["order"] == 4)
    assert early["text"] == "Paris" and early["final"] and any(c["shared"] for c in cells) and not early["shared"]
    assert "A neutral text's state reads" in captions(app)
    app.selectbox(key="lens_against_False").set_value("nothing").run()
    assert errors(app) == [] and not any(c["shared"] for c in rows_of(app, "Frozen lens")) and "Pale:" not in captions(app)
    app = AppTest.from_file(LENS, default_timeout=120)
    asked = {"prompt": "The capital of France is", "lens_kind": "frozen", "lens_against_False": "The capital is"}
    for name, value in asked.items():
        app.query_params[name] = value
    app.run()
    assert "The contrast has 4 tokens and the prompt 6" in errors(app)[0]


@pytest.mark.slow
def test_read_at_the_last_position_some_rows_are_run() -> None:
    app = lens(ask(opened(LENS), "The capital of France is"), "frozen")
    app.button_group(key="lens_read").set_value("last").run()
    cells = rows_of(app, "Frozen lens")
    assert errors(app) == [] and {c["row"] for c in cells} == {"embed", *(f"L{layer} MLP" for layer in range(6))}
    assert "a row's readings sum to the logits" in captions(app)
    top = [c["text"] for c in cells if c["row"] == "L5 MLP"]
    assert top[-1] == "Paris" and set(top[:-1]) == {""}  # of the last row nothing but the last state is read
    app.toggle(key="lens_rows").set_value(True).run()
    assert errors(app) == [] and len({c["row"] for c in rows_of(app, "Frozen lens")}) == 13


def test_a_lens_that_is_not_there_is_a_sentence() -> None:
    app = lens(ask(opened(LENS), "The sky is"), "tuned")
    assert "No tuned lens ships for demo. Name a file" in errors(app)[0]
    app.text_input(key="lens_file").set_value("nowhere/lens.pt").run()
    assert "no file 'nowhere/lens.pt'" in errors(app)[0]
    assert errors(lens(app, "logit")) == []


@pytest.mark.slow
def test_every_lens_beside_the_others() -> None:
    app = ask(opened(LENS), "The capital of France is")
    app.session_state["fold_lenses"] = True
    app.session_state["lens_every"] = True
    app.run()
    assert errors(app) == [] and "No tuned lens ships" in captions(app)
    lines = rows_of(app, "Names the output's token for good from")
    assert {"logit", "frozen"} <= {line["lens"] for line in lines} and {line["token"] for line in lines} == {"Paris"}
    at = {(line["lens"], line["row"]): line["probability"] for line in lines}
    assert at["frozen", "L2 MLP"] > 0.3 > 0.05 > at["logit", "L2 MLP"] and at["frozen", "L5 MLP"] == pytest.approx(
        at["logit", "L5 MLP"]
    )
    (cell,) = [d.value for d in app.dataframe if "contrast reads" in d.value]
    assert cell["reads"].nunique() > 1 and any("Layer 2, after MLP" in m.value for m in app.markdown)  # a row where they differ
    app.button_group(key="lens_measure").set_value("changes").run()
    assert errors(app) == [] and "total variation" in captions(app)


@pytest.mark.slow
def test_what_a_prompt_was_held_against_goes_with_it() -> None:
    app = lens(ask(opened(LENS), "The capital of France is"), "frozen")
    near = next(one for one in app.selectbox(key="lens_against_False").options if "→" in one)
    app.selectbox(key="lens_against_False").select(near).run()
    assert errors(app) == [] and "the contrast's state reads the same there" in captions(app)
    ask(app, "The opposite of hot is the word")
    assert errors(app) == [] and "a neutral text's state reads the same there" in captions(app)


def test_a_link_that_is_read_at_the_last_position_runs_few_rows_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    run = LensRequest.run
    monkeypatch.setattr(LensRequest, "run", lambda request, *given: (asked.append(request.rows), run(request, *given))[1])
    app = AppTest.from_file(LENS, default_timeout=120)
    for name, value in {"prompt": "The sky is", "lens_kind": "frozen", "lens_read": "last"}.items():
        app.query_params[name] = value
    app.run()
    assert errors(app) == [] and asked[0] == ("embed",) and len(asked[-1]) == 7
    assert len({c["row"] for c in rows_of(app, "Frozen lens")}) == 7


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["Is 3² + 4² = 5² ?", "1" * 5000])
def test_numbers_that_python_reads_otherwise_are_words(prompt: str) -> None:
    app = ask(opened(LENS), prompt)
    assert len(prompt) > 100 or errors(app) == []


@pytest.mark.slow
def test_where_no_folder_may_be_loaded_no_file_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INFOFLOW_LOCAL_FOLDERS", "0")
    (tmp_path / "lens.pt").write_bytes(b"secret")
    for there in (str(tmp_path / "lens.pt"), str(tmp_path / "nothing.pt"), "/etc/shadow"):
        app = lens(ask(opened(LENS), "The sky is"), "jacobian")
        app.text_input(key="lens_file").set_value(there).run()
        (said,) = errors(app)
        assert "lens on the hub as owner/name/path" in said and "no lens" not in said and "no file" not in said
