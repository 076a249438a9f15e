"""A run that failed is told at every look and not sent again, until the reader says so; nothing it held stays in memory."""

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.attribution import AttributionRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.errors import BadPrompt, Cancelled, InfoflowError, NotAllowed, RemoteRunError, TooLarge
from infoflow.studies.corrections import CorrectionRequest
from infoflow.ui import jobs
from tests.helpers.pages import FLOW, ROOT, ask, button, captions, choose, errors, opened

ATTENTION = str(ROOT / "pages/attention.py")


class Held:
    """Stands for the tensors of a run."""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list["weakref.ref[Held]"]]:
    """Runs of a kind fail from now on: one entry a run, with what it held."""

    def _failing(kind: type[Any], error: Callable[..., InfoflowError] = BadPrompt) -> list["weakref.ref[Held]"]:
        runs: list[weakref.ref[Held]] = []

        def run(self: Any, model: Any, on_progress: Any = None, **more: Any) -> None:
            held = Held()
            runs.append(weakref.ref(held))
            try:
                raise ValueError("the cause holds it too")
            except ValueError as cause:
                words = ("server", "It went wrong at layer 3.") if error is RemoteRunError else ("It went wrong at layer 3.",)
                raise error(*words) from cause

        monkeypatch.setattr(kind, "run", run)
        return runs

    return _failing


LOOK = {FLOW: ("Metric", "projection"), ATTENTION: ("Weights", "contribution")}


def _look_around(app: AppTest, page: str) -> AppTest:
    return choose(app.run(), *LOOK[page]).run()


@pytest.mark.slow
@pytest.mark.parametrize(("page", "kind"), [(FLOW, FlowRequest), (ATTENTION, AttentionRequest)], ids=["flow", "attention"])
def test_a_failed_run_is_told_again_and_not_sent_again(page: str, kind: type[Any], failing) -> None:  # type: ignore[no-untyped-def]
    app = opened(page)
    runs = failing(kind)
    assert "It went wrong at layer 3." in errors(ask(app, "The dog sat"))
    assert "It went wrong at layer 3." in errors(_look_around(app, page)) and len(runs) == 1
    assert "Below is the last good run" in captions(app)
    gc.collect()
    assert runs[0]() is None
    button(app, "Run").click().run()
    assert "It went wrong at layer 3." in errors(app) and len(runs) == 2
    ask(app, "Another prompt")
    assert len(runs) == 3


def test_a_cancelled_run_holds_nothing_either(failing) -> None:  # type: ignore[no-untyped-def]
    app = opened()
    runs = failing(FlowRequest, Cancelled)
    ask(app, "The dog sat")
    gc.collect()
    assert errors(app) == [] and len(runs) == 1 and runs[0]() is None


@pytest.mark.slow
@pytest.mark.parametrize("error", [RemoteRunError, Cancelled])
def test_a_page_without_run_has_a_button_that_tries_again(error: type[InfoflowError], failing) -> None:  # type: ignore[no-untyped-def]
    """A conversation: it runs when something is said."""
    page = str(ROOT / "pages/corrections.py")
    app = opened(page)
    runs = failing(CorrectionRequest, error)
    app.chat_input(key="talk_text").set_value("No, it is Berlin.").run()
    told = [m.value for m in (*app.error, *app.info)]
    assert len(runs) == 1 and any("It went wrong" in t or "was stopped" in t for t in told)
    app.run()
    button(app, "Try again").click().run()
    assert len(runs) == 2


@pytest.mark.slow
def test_offers_of_smaller_runs_stay_and_cost_no_run(failing) -> None:  # type: ignore[no-untyped-def]
    app = opened()
    runs = failing(FlowRequest, TooLarge)
    ask(app, "The dog sat on the mat and the cat sat on the hat")
    offered = [b.label for b in app.button if b.label.startswith("Run by")]
    assert offered and len(runs) == 1
    _look_around(app, FLOW)
    assert [b.label for b in app.button if b.label.startswith("Run by")] == offered and len(runs) == 1
    button(app, offered[0]).click().run()
    assert len(runs) == 2


@pytest.mark.slow
def test_a_part_of_a_page_that_failed_is_tried_again_by_its_own_button(failing) -> None:  # type: ignore[no-untyped-def]
    app = opened()
    runs = failing(AttributionRequest, TooLarge)
    app.toggle(key="flow_writers").set_value(True).run()
    assert "It went wrong at layer 3." in errors(app) and len(runs) == 1
    app.run()
    assert "It went wrong at layer 3." in errors(app) and len(runs) == 1
    gc.collect()
    assert runs[0]() is None
    button(app, "Try again").click().run()
    assert len(runs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("error", [BadPrompt, NotAllowed, partial(TooLarge, always=True)])
def test_a_part_that_can_only_fail_again_has_no_such_button(error, failing) -> None:  # type: ignore[no-untyped-def]
    """What was asked is wrong, or never allowed: another question is what helps, or Run."""
    app = opened()
    runs = failing(AttributionRequest, error)
    app.toggle(key="flow_writers").set_value(True).run()
    app.run()
    assert "It went wrong at layer 3." in errors(app) and len(runs) == 1
    assert not [b for b in app.button if b.label == "Try again"]


def test_a_part_that_was_stopped_is_not_begun_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    run, begun = jobs.run, []

    def pressed(work: Any, on_cancel: Callable[[], Any], name: str = "", **more: Any) -> Any:
        if name != "act_stability":
            return run(work, on_cancel, name, **more)
        begun.append(name)
        assert len(begun) < 4
        on_cancel()  # Cancel, which draws the page again
        return st.rerun()

    monkeypatch.setattr("infoflow.ui.results.jobs.run", pressed)
    app = AppTest.from_file(str(ROOT / "pages/activations.py"), default_timeout=60)
    app.query_params["prompt"] = "The dog sat"
    app.session_state["fold_act_stable"] = True
    app.run()
    assert errors(app) == [] and len(begun) == 1 and "The run was stopped." in [m.value.replace("\\", "") for m in app.info]
    button(app, "Try again").click().run()
    assert len(begun) == 2
