"""One line a run: how it went and how long it took, and nothing of what was asked."""

import json
import logging
import time
from typing import Any

import pytest

from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.perform import Performed
from infoflow.analyses.selftest import Check, Verdict
from infoflow.errors import BadPrompt, Busy, Cancelled, RemoteRunError, TooLarge
from infoflow.models.spec import ModelSpec
from infoflow.server import log
from infoflow.server.log import Journal, Question
from infoflow.turns import as_visitor, visitor

SECRET, PROMPT, SESSION = "11111111-2222-3333-4444-555555555555", "My neighbour Zq17x said", "session-of-zq17x"


RESULT = Performed("the result", Check(verdict=Verdict.EXACT, reason="", errors={}))


def quiet(doing: str, fraction: float) -> None:
    pass


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(r.message) for r in caplog.records if r.name == "infoflow.runs"]


def told(journal: Journal, work: Any, request: FlowRequest | None = None) -> None:
    with as_visitor(SESSION):
        journal.told(Question.of(request or FlowRequest(prompt=PROMPT)), quiet, work)


def ran(say: Any) -> Performed[str]:
    log.runs()
    return RESULT


def raising(error: BaseException, began: bool = False) -> Any:
    def work(say: Any) -> None:
        if began:
            log.runs()
        raise error

    return work


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "infoflow.runs")


@pytest.mark.parametrize(
    ("work", "outcome", "error"),
    [
        (ran, "ran", ""),
        (lambda say: RESULT, "kept", ""),
        (raising(BadPrompt(f"of {PROMPT}")), "refused", "BadPrompt"),
        (raising(TooLarge("of memory"), began=True), "failed", "TooLarge"),
        (raising(RemoteRunError("lost", PROMPT, SECRET), began=True), "failed", "RemoteRunError"),
        (raising(Busy("many", 3.0)), "busy", "Busy"),
        (raising(Cancelled("left"), began=True), "stopped", "Cancelled"),
        (raising(ZeroDivisionError(PROMPT), began=True), "bug", "ZeroDivisionError"),
        (raising(KeyboardInterrupt(), began=True), "bug", "KeyboardInterrupt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_end_of_a_run_is_a_line_without_what_was_asked(
    work: Any, outcome: str, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal()
    try:
        told(journal, work)
    except BaseException as raised:  # noqa: BLE001  that of the run, as it was
        assert type(raised).__name__ == error
    else:
        assert not error
    (line,) = lines(caplog)
    assert (line["outcome"], line["error"], line["analysis"], line["model"]) == (outcome, error, "flow", "demo")
    assert line["resident"] > 1e6 and line["seconds"] >= line["waited"] >= 0
    assert "Zq17x" not in caplog.text and SECRET not in caplog.text and SESSION not in caplog.text
    assert [r.outcome for r in journal.last()] == [outcome]
    assert [r.levelname for r in caplog.records if r.name == "infoflow.runs"] == ["ERROR" if outcome == "bug" else "INFO"]


def test_visitors_and_questions_are_told_apart_in_one_process_alone(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    told(journal, ran)
    told(journal, ran)
    journal.told(Question.of(FlowRequest(prompt="another")), quiet, ran)
    told(Journal(), ran)
    first, again, other, elsewhere = lines(caplog)
    assert first["visitor"] == again["visitor"] != elsewhere["visitor"] and other["visitor"] == ""
    assert len({first["request"], again["request"], other["request"], elsewhere["request"]}) == 3
    assert visitor() == "" and log._current.get() is None


def test_a_prompt_stands_in_the_log_where_that_is_asked_for_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFOFLOW_LOG_PROMPTS", "1")
    told(Journal(), ran, FlowRequest(prompt="two\nlines"))
    (line,) = lines(caplog)
    assert line["prompt"] == "two\nlines" and "\n" not in caplog.records[-1].message


def test_what_somebody_typed_for_a_model_is_in_no_log_of_a_hosted_app(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hosted in ("0", "1"):
        monkeypatch.setenv("INFOFLOW_HOSTED", hosted)
        told(Journal(), ran, FlowRequest(model=ModelSpec(name="owner/of-the-machine"), prompt="ab"))
        told(Journal(), ran)
    assert [line["model"] for line in lines(caplog)] == ["owner/of-the-machine", "demo", log.UNLISTED, "demo"]


def test_the_time_for_which_one_waits_is_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def work(say: Any) -> Performed[str]:
        waits = "Waiting for the model, as number 2 in line …"
        for seconds, doing in ((1, "Self-test …"), (4, waits), (3, waits), (2, "Layer 1 of 6"), (7, "Layer 2 of 6")):
            clock[0] += seconds
            say(doing, 0.0)
        return ran(say)

    told(Journal(), work)
    (line,) = lines(caplog)
    assert (line["waited"], line["seconds"]) == (3.1, 17.0), "the self-test was no waiting"


def test_only_the_last_runs_are_remembered() -> None:
    journal = Journal()
    for number in range(log.LAST + 5):
        journal.told(Question.of(FlowRequest(prompt=str(number))), quiet, ran)
    assert len(journal.last()) == log.LAST
