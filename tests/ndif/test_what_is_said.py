"""What the real service says, in its own words, and what a reader is told: the kind decides whether it is sent again."""

import io
import pickle
from typing import Any

import httpx
import pytest
import torch

from infoflow.errors import Cancelled, RemoteRunError
from infoflow.ndif import run, service
from infoflow.ndif.nnsight_names import RemoteError, Status
from infoflow.ndif.service import Connection, Deployment
from infoflow.traced.patterns import NO_PATTERN

TO = Connection("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("Your job exceeded the execution timeout of 6.0s.", "too long", "gives a run 6 seconds, and this one took longer"),
        ("RuntimeError: timed out waiting for the runner socket", "lost", "The model went away during the run"),
        ("Error submitting request to model deployment. Please try again.", "lost", "The model went away"),
        ("Error starting model: actor died", "lost", "The model went away"),
        ("Auth backend unavailable.", "busy", "can't look keys up just now"),
        (f"Traceback ...\nValueError: {NO_PATTERN}", "version", "older than 0.8.1, which gives no attention patterns"),
        ("Internal server error.", "server", "has failed inside. Try again later"),
        (
            "Could not deploy this model. CUDA devices are all taken.\nTraceback ...", "not up",
            "can't run this model now (CUDA devices are all taken). Choose one",
        ),
        ("Could not deploy this model.\nOSError: tiny/x is no repository\nat line 3", "not up", "now (OSError: tiny/x is no"),
        ("Could not deploy this model.", "not up", "can't run this model now. Choose one"),
        ("Job timed out after 600 seconds.", "silent", "it took too long"),
        ("Failed to send request: [Errno 111] Connection refused", "unreachable", "http://127.0.0.1:9 can't be reached"),
        ("Service temporarily unavailable: compute backend is reconnecting.", "busy", "busy or restarting"),
    ],
)  # fmt: skip
def test_what_the_service_says_is_sorted_by_its_own_words(said: str, kind: str, told: str) -> None:
    error = run.in_words(RemoteError(said), TO)
    assert error.kind == kind and told in str(error) and error.details == said


def test_a_model_that_went_away_is_waited_for_and_asked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PAUSE", 0.01)
    heard: list[str] = []
    to = Connection("http://127.0.0.1:9", on_status=heard.append)
    tries: list[int] = []

    def work(fail: int) -> str:
        tries.append(fail)
        if len(tries) <= fail:
            raise RemoteError("Error starting model: actor died")
        return "done"

    assert run._twice(lambda: work(1), to) == "done" and len(tries) == 2 and "trying once more" in heard[-1]
    tries.clear()
    with pytest.raises(RemoteRunError, match="twice"):
        run._twice(lambda: work(2), to)
    assert len(tries) == 2


def test_the_wait_before_the_second_try_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PAUSE", 60.0)

    def stop(doing: str) -> None:
        raise Cancelled("stopped")

    def lost() -> None:
        raise ConnectionResetError

    with pytest.raises(Cancelled):
        run._twice(lost, Connection("http://127.0.0.1:9", on_status=stop))


def answers(monkeypatch: pytest.MonkeyPatch, code: int, body: object = None) -> None:
    def get(url: str, **how: object) -> httpx.Response:
        return httpx.Response(code, json=body, request=httpx.Request("GET", url))

    monkeypatch.setattr(service.httpx, "get", get)


@pytest.mark.parametrize("ask", [service.deployments, service.versions])
@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        (503, "busy", r"busy or restarting \(answer 503\)"), (502, "busy", "busy or restarting"), (429, "busy", "busy"),
        (500, "server", "has failed inside"), (404, "answer", "does not answer as NDIF does"),
        (200, "answer", "does not answer as"),
    ],
)  # fmt: skip
def test_a_service_that_answers_with_something_else_is_told(ask, code: int, kind: str, told: str, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    answers(monkeypatch, code, {"detail": "no"})
    with pytest.raises(RemoteRunError, match=told) as error:
        ask(TO)
    assert error.value.kind == kind


def test_replicas_are_one_line_and_a_dead_one_is_not_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(repo: str, level: str, state: str, revision: str = "main") -> dict[str, str]:
        return {"repo_id": repo, "revision": revision, "deployment_level": level, "application_state": state}

    found = {
        "a1": listed("o/two", "COLD", ""), "a2": listed("o/two", "HOT", "RUNNING"),
        "b1": listed("o/dead", "HOT", "UNHEALTHY"), "c1": listed("o/Parted", "HOT", "RUNNING", "r1"),
        "c2": listed("o/parted", "HOT", "RUNNING", "r2"), "d1": {"repo_id": "o/bare", "deployment_level": "COLD"},
        "e1": listed("o/half", "WARM", "DEPLOYING"), "e2": listed("o/half", "HOT", "UNHEALTHY"), "f": {"deployment_level": "HOT"},
    }  # fmt: skip
    answers(monkeypatch, 200, {"deployments": found})
    up = service.deployments(TO)
    assert [(d.name, d.level, d.state) for d in up] == [
        ("o/bare", "COLD", ""), ("o/dead", "COLD", "UNHEALTHY"), ("o/half", "WARM", "DEPLOYING"), ("o/Parted", "HOT", "RUNNING"),
        ("o/two", "HOT", "RUNNING"),
    ]  # fmt: skip
    assert service.revision_of(up, "o/two") == "main" and service.revision_of(up, "o/parted") == service.UNKNOWN
    assert up[0] == Deployment("o/bare", "", "COLD", "")


class Written:
    """What is put into an answer as a call that makes it, as Python's pickle does it."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def _answered(status: object) -> Any:
    kept = io.BytesIO()
    torch.save({"id": "1", "status": status, "description": "done", "data": b"x"}, kept, pickle_protocol=4)
    return run._Backend.parse(kept.getvalue()).status


@pytest.mark.parametrize("call", [(Status, "COMPLETED"), (getattr, Status, "COMPLETED")])
def test_a_status_is_read_as_any_python_writes_it(call: tuple[Any, ...]) -> None:
    """Until 3.11.3 as an attribute of its class, before and after as that class of its value."""
    assert _answered(Written(*call)) is Status.COMPLETED


@pytest.mark.parametrize("call", [(getattr, Status, "__members__"), (getattr, io.BytesIO, "COMPLETED"), (eval, "1"), (setattr,)])
def test_nothing_else_that_an_answer_would_call_is_called(call: tuple[Any, ...]) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"is no (status|plain value)"):
        _answered(Written(*call))
