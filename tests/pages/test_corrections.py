"""The corrections page: the flip is shown at once, turns are said and taken back, views never run, bad input in words."""

import json

import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.files.conversations import Conversation, save_conversation
from infoflow.text.conversations import Form
from tests.helpers.pages import ROOT, button, captions, choose, errors, opened, rows_of

PAGE = str(ROOT / "pages/corrections.py")


def texts(app: AppTest) -> str:
    return " ".join(m.value for m in app.markdown).replace("\\", "")


def say(app: AppTest, text: str) -> AppTest:
    return app.chat_input(key="talk_text").set_value(text).run()


def test_the_flip_is_shown_at_once() -> None:
    app = opened(PAGE)
    assert errors(app) == [] and "Before: “Paris”" in texts(app) and "After: “Rome”" in texts(app)
    assert "likeliest of all tokens it is from layer 4" in captions(app) and "All parts sum to +18.05" in captions(app)
    turns = {r["said"]: r["logit"] for r in rows_of(app, "Contribution of each turn")}
    assert max(turns, key=turns.__getitem__).startswith("correction 1")
    assert "<|user|> What is the capital of France?" in app.code[0].value


@pytest.mark.slow
def test_turns_are_said_compared_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    app = say(opened(PAGE), "No, it is Berlin.")
    assert errors(app) == [] and "After: “Berlin”" in texts(app)
    choose(app, "Correction", 0)  # type: ignore[arg-type]
    assert "After: “Rome”" in texts(app)
    monkeypatch.setattr(infoflow.Model, "run", lambda *_, **__: pytest.fail("the model was run"))
    monkeypatch.setattr(infoflow.Model, "generate", lambda *_, **__: pytest.fail("the model wrote"))
    for level in ("mean of all", "one head"):
        assert errors(choose(app, "Attention of", level)) == []
    button(app, "Take back").click().run()
    assert errors(app) == [] and "After: “Rome”" in texts(app) and "Berlin" not in texts(app)
    button(app, "Take back").click().run()
    assert "Answer: “Paris”" in texts(app) and "Now correct the answer" in captions(app)


@pytest.mark.slow
def test_a_new_conversation_begins_empty() -> None:
    app = button(opened(PAGE), "New conversation").click().run()
    assert errors(app) == [] and "Ask something in the sidebar" in app.info[0].value
    say(app, "What color is the sky?")
    assert errors(app) == [] and "Answer: “blue”" in texts(app)
    say(app, "No, it is green.")
    assert errors(app) == [] and "After: “green”" in texts(app)
    choose(app, "Written as", "plain text")
    assert errors(app) == [] and "After: “green”" in texts(app) and "Question: What color is the sky?" in app.code[0].value


def test_a_turn_that_can_not_be_answered_is_told_and_the_last_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(PAGE)
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    say(app, "No, it is Berlin.")
    assert "1 MB are allowed" in errors(app)[0] and "Below is the last good run" in captions(app)
    button(app, "Take back").click().run()
    assert errors(app) == []


def test_a_saved_conversation_is_reopened_and_what_differs_is_said() -> None:
    app = opened(PAGE)
    kept = Conversation("demo", "x", Form.PLAIN, ("What does the dog say?", "No, it is meow."), ("woof", "moo"))
    app.file_uploader(key="talk_file").set_value(("talk.json", save_conversation(kept), "application/json")).run()
    assert errors(app) == [] and "After: “meow”" in texts(app)
    assert "answer 2 is “meow”, saved was “moo”" in app.warning[0].value.replace("\\", "")
    app.file_uploader(key="talk_file").set_value(("talk.json", b"{}", "application/json")).run()
    assert "no saved conversation" in errors(app)[0] and "After: “meow”" in texts(app)


def test_what_the_page_saves_it_can_reopen(demo, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    offered: list[bytes] = []
    monkeypatch.setattr(
        "infoflow.ui.corrections.save_conversation", lambda kept: offered.append(save_conversation(kept)) or offered[-1]
    )
    say(button(opened(PAGE), "New conversation").click().run(), "What color is the sky?")
    saved = offered[-1]
    kept = json.loads(saved)
    assert kept["model"] == "demo" and kept["revision"] == demo.revision and kept["said"] == ["What color is the sky?"]
    app = opened(PAGE)
    app.file_uploader(key="talk_file").set_value(("talk.json", saved, "application/json")).run()
    assert errors(app) == [] and "Answer: “blue”" in texts(app) and not app.warning


def test_a_lead_is_held_against_another_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(PAGE)
    own = {r["said"]: r["logit"] for r in rows_of(app, "Contribution of each turn")}
    assert "Hindsight is in it" in captions(app)
    monkeypatch.setattr(infoflow.Model, "generate", lambda *_, **__: pytest.fail("the model wrote it again"))
    box = next(s for s in app.selectbox if s.label == "Contrast")
    assert box.options[0] == "Rome → Paris" and "France → Italy" in box.options and box.options[-1] == "neutral texts"
    box.set_value(box.options[1]).run()
    assert errors(app) == [] and "the model itself gives" in captions(app)
    app = choose(app, "Show", "specific")
    specific = {r["said"]: r["logit"] for r in rows_of(app, "Contribution of each turn")}
    assert [name.split(":")[0] for name, value in specific.items() if value] == ["correction 1"]
    assert [r["label"] for r in rows_of(app, "Contribution of each word") if r["logit"]] == ["Rome"]
    app = choose(app, "Show", "hindsight")
    for row in rows_of(app, "Contribution of each turn"):
        assert specific[row["said"]] + row["logit"] == pytest.approx(own[row["said"]], abs=1e-4)
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.query_params["contrast_of_talk"] = "Why?"
    app.run()
    assert any("are held against each other position by position" in e for e in errors(app))
    assert "After: “Rome”" in texts(app)
