"""The Owner page: closed to all others, and what it shows."""

import pytest
from streamlit.testing.v1 import AppTest

from infoflow.ui import cache
from tests.helpers.pages import FLOW, ROOT, ask, captions, errors, opened

OWNER = str(ROOT / "pages/owner.py")
TOKEN = "the-owner's-own-token-zq17x"


@pytest.fixture(autouse=True)
def closed() -> None:
    cache._door.clear()
    cache.journal.clear()


def test_on_a_shared_app_without_a_token_it_says_how_to_set_one_and_shows_nothing() -> None:
    app = opened(OWNER)
    assert "INFOFLOW_OWNER_TOKEN" in app.info[0].value.replace("\\", "")
    assert not app.dataframe and not app.text_input and not app.subheader


def test_where_the_app_listens_to_this_machine_alone_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "for_this_machine_alone", lambda: True)
    app = opened(OWNER)
    assert errors(app) == [] and len(app.dataframe) == 2 and "The app holds" in captions(app)
    assert "Nothing has been run yet" in captions(app)


def test_the_token_opens_it_for_this_session_alone_and_no_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_OWNER_TOKEN", TOKEN)
    monkeypatch.setenv("NDIF_API_KEY", "11111111-2222-3333-4444-555555555555")
    app = opened(OWNER)
    assert not app.dataframe
    app.text_input(key="owner_token").set_value(TOKEN[:-1]).run()
    assert not app.dataframe and app.warning[0].value == "That is another token."
    app.text_input(key="owner_token").set_value(TOKEN).run()
    assert app.dataframe and not app.text_input
    app.run()
    assert app.dataframe, "it stays open"
    assert not opened(OWNER).dataframe
    shown = " ".join(str(frame.value.to_dict("list")) for frame in app.dataframe)
    assert "INFOFLOW_OWNER_TOKEN" in shown and "a secret" in shown
    assert TOKEN not in shown and "11111111" not in shown
    assert "owner_token" not in app.session_state and TOKEN not in app.session_state["owner_open"]
    monkeypatch.setenv("INFOFLOW_OWNER_TOKEN", "another")
    assert not app.run().dataframe


def test_wrong_tokens_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_OWNER_TOKEN", TOKEN[:9])  # a long one always opens
    monkeypatch.setattr("infoflow.server.owner.WRONG", 2)
    for guess in ("a", "b"):
        app = opened(OWNER)
        app.text_input(key="owner_token").set_value(guess).run()
    app = opened(OWNER)
    app.text_input(key="owner_token").set_value(TOKEN[:9]).run()
    assert "2 wrong tokens" in app.info[0].value and not app.dataframe


def test_runs_and_failures_are_shown_and_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "for_this_machine_alone", lambda: True)
    flow: AppTest = ask(opened(FLOW), "Zq17x is here")
    monkeypatch.setattr("infoflow.traced.flow.split", lambda *_, **__: 1 / 0)
    ask(flow, "Zq18x is here")
    app = opened(OWNER)
    _, failed, runs, _ = (frame.value for frame in app.dataframe)
    assert list(failed["error"]) == ["ZeroDivisionError"] and list(runs["outcome"])[:2] == ["bug", "ran"]
    assert runs["tokens"].iloc[1] > 3 and "Zq1" not in " ".join(str(frame.value) for frame in app.dataframe)
    assert "demo" in list(app.dataframe[0].value["model"])
    next(b for b in app.button if b.label == "Unload demo").click().run()
    assert "demo" not in list(app.dataframe[0].value["model"])
