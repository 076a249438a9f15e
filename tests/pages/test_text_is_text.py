"""Prompts, tokens, names and what services say come out as text on every page: no markup, no directive, no code of a chart."""

from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.errors import BadPrompt, RemoteRunError
from infoflow.files.sessions import save_session
from infoflow.models.hub import Found
from infoflow.ndif.service import Deployment
from infoflow.text.tokens import Token
from infoflow.text.vocabulary import Vocabulary
from infoflow.ui import cache
from tests.helpers import hostile
from tests.helpers.pages import MODELS_PAGE, ROOT, button, choose, errors, opened

PAGES = [path for path in sorted(ROOT.glob("pages/*.py")) if path.stem not in ("models", "sessions")]
SESSIONS = str(ROOT / "pages/sessions.py")
AS_IT_IS = {
    "TextArea.value", "TextArea.default", "TextInput.value", "TextInput.default", "Code.code_text", "VegaLiteChart.alt",
    "VegaLiteChart.spec", "Html.body", "Selectbox.options", "Selectbox.raw_value", "Selectbox.placeholder", "MultiSelect.options",
    "MultiSelect.raw_values", "Dataframe.columns", "Arrow.columns",
}  # fmt: skip
"""where the browser is sent text that it draws as text (tests/browser/test_deployed.py looks at that), and what is read below"""


class Elements(HTMLParser):
    """The elements of a piece of HTML, and what they carry."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(f"{tag} {name}" for name, _ in attrs)}


def all_text(app: AppTest) -> None:
    assert not app.exception, app.exception
    assert hostile.unescaped(app) <= AS_IT_IS
    for kind, proto in hostile.elements(app):
        if kind == "Html" and hostile.MARK in proto.body:  # type: ignore[attr-defined]
            assert Elements(proto.body).found <= {"div", "span", "wbr", "div style", "span style", "span title"}  # type: ignore[attr-defined]
    assert hostile.in_expressions(app) == []


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer whose every token, of the prompt and of what the model writes, would like to be more than text."""
    tokens = Vocabulary.tokens  # what it gives is not kept: the model is shared, and others would be given it

    def would(self: Vocabulary, ids: Sequence[int]) -> tuple[Token, ...]:
        return tuple(
            t if t.name else replace(t, text=f"{t.text}{hostile.SHORT}{hostile.QUOTES}", raw=b"") for t in tokens(self, ids)
        )

    monkeypatch.setattr(Vocabulary, "tokens", would)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_no_prompt_and_no_token_is_more_than_text(path: Path, told: None) -> None:
    app = AppTest.from_file(str(path), default_timeout=120)
    app.query_params.update(prompt=f"A <b>{hostile.MARK}", batch_analyses="flow")
    app.session_state["batch_prompts"] = f"A <b>{hostile.MARK}"
    app.run()
    assert errors(app) == []
    all_text(app)
    if path.stem not in ("batch", "start", "corrections", "owner"):
        assert any(hostile.MARK in text for _, proto in hostile.elements(app) for _, text in hostile.texts(proto))


@pytest.mark.parametrize("page", ["information_flow", "attention", "patching"])
def test_no_word_of_an_address_is_more_than_text(page: str) -> None:
    app = AppTest.from_file(str(ROOT / f"pages/{page}.py"), default_timeout=120)
    for name in ("prompt", "target", "against", "metric", "layer", "head", "sources", "view", "corrupted", "change", "follow"):
        app.query_params[name] = hostile.PROMPT
    all_text(app.run())


def test_names_that_others_give_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    there = cache.Service(
        (Deployment(hostile.PROMPT, hostile.SHORT, "HOT", hostile.SHORT),), {"nnsight": (hostile.SHORT, hostile.SHORT)}
    )
    monkeypatch.setattr(cache, "_asked_now", lambda host: there)
    monkeypatch.setattr(cache, "found_on_hub", lambda text, say: [Found(hostile.PROMPT, hostile.SHORT, 1, False, 1)])
    app = opened(MODELS_PAGE)
    choose(app, "Models run", "on NDIF") if any(g.label == "Models run" for g in app.button_group) else None
    app.text_input(key="hub_search").set_value(hostile.PROMPT).run()
    assert errors(app) == []
    all_text(app)
    monkeypatch.setattr(cache, "_asked_now", lambda host: cache.Service(failure=hostile.PROMPT))
    cache._service.clear()
    all_text(app.run())


def test_titles_notes_and_names_of_files_are_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, demo: "infoflow.Model"
) -> None:
    monkeypatch.setenv("INFOFLOW_SESSIONS", str(tmp_path))
    monkeypatch.setattr("infoflow.ui.cache.for_this_machine_alone", lambda: True)
    flow = infoflow.decompose(demo, f"a {hostile.SHORT}")
    save_session(tmp_path / "given", [flow], title=hostile.PROMPT[:200], note=hostile.PROMPT)
    app = opened(SESSIONS)
    all_text(app)
    button(app, "Open").click().run()
    assert errors(app) == []
    all_text(app)


@pytest.mark.parametrize("kind", [BadPrompt, RemoteRunError])
def test_what_an_error_quotes_is_text(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    error = BadPrompt(hostile.PROMPT) if kind is BadPrompt else RemoteRunError("failed", hostile.PROMPT, hostile.PROMPT)

    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr(cache, "results", fail)
    app = AppTest.from_file(str(ROOT / "pages/attention.py"), default_timeout=120)
    app.query_params["prompt"] = "The sky"
    app.run()
    assert errors(app)
    all_text(app)


def test_what_these_tests_look_for_is_found() -> None:
    """A page that draws it as markup, in each of the ways."""

    def page() -> None:
        import altair as alt
        import pandas as pd
        import streamlit as st

        from tests.helpers import hostile

        st.markdown(hostile.PROMPT)
        st.button(hostile.SHORT)
        st.html(f"<p>{hostile.PROMPT}</p>")
        label = alt.Axis(labelExpr=f"datum.value + '{hostile.PROMPT}'")
        st.altair_chart(alt.Chart(pd.DataFrame({"a": [1]})).mark_bar().encode(x=alt.X("a:Q", axis=label)))

    app = AppTest.from_function(page, default_timeout=60).run()
    assert {"Markdown.body", "Button.label", "Html.body"} <= hostile.unescaped(app)
    assert hostile.in_expressions(app)
    assert "img onerror" in Elements(next(e.proto.body for e in app.get("html"))).found
