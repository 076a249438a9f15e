"""Work beside the page: results and errors come back, and it stops when the page is left."""

import threading
import time

import pytest

from infoflow.errors import Cancelled
from infoflow.ui import jobs


def test_the_result_and_the_error_of_the_work_come_back() -> None:
    assert jobs.run(lambda job: 42, on_cancel=lambda: None) == 42

    def fail(job: jobs.Job) -> int:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        jobs.run(fail, on_cancel=lambda: None)


def test_a_stopped_job_hears_of_it_at_its_next_report() -> None:
    job = jobs.Job()
    job.say("Layer 1 of 2", 0.5)
    assert (job.doing, job.fraction) == ("Layer 1 of 2", 0.5)
    job.stop()
    with pytest.raises(Cancelled):
        job.say("Layer 2 of 2", 1.0)


def test_leaving_the_page_stops_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    def work(job: jobs.Job) -> None:
        try:
            for layer in range(2000):
                job.say(f"Layer {layer}", layer / 2000)
                time.sleep(0.01)
        except Cancelled:
            stopped.set()
            raise

    class Left(BaseException):
        """What Streamlit raises in the page's script when it is to run again."""

    def leave(*_: object, **__: object) -> None:
        raise Left

    monkeypatch.setattr(jobs.st, "progress", leave)
    with pytest.raises(Left):
        jobs.run(work, on_cancel=lambda: None, patience=0.05)
    assert stopped.wait(5)


def test_kept_work_outlives_its_page_and_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = [], threading.Event()

    def work(job: jobs.Job) -> str:
        begun.append(job)
        while not go_on.is_set():
            job.say("Queued at position 1")
            time.sleep(0.01)
        return "done"

    class Left(BaseException):
        """What Streamlit raises in the page's script when it is to run again."""

    def leave(*_: object, **__: object) -> None:
        raise Left

    monkeypatch.setattr(jobs.st, "session_state", {})
    with monkeypatch.context() as patch, pytest.raises(Left):
        patch.setattr(jobs.st, "progress", leave)
        jobs.run(work, on_cancel=lambda: None, keep="question", title="A run", patience=0.05)
    (listed,) = jobs.begun()
    assert listed.running and listed.title == "A run" and listed.state == "Queued at position 1"
    go_on.set()
    assert jobs.run(work, on_cancel=lambda: None, keep="question") == "done"
    assert len(begun) == 1 and "Done in" in jobs.begun()[0].state

    go_on.clear()
    with monkeypatch.context() as patch, pytest.raises(Left):
        patch.setattr(jobs.st, "progress", leave)
        jobs.run(work, on_cancel=lambda: None, keep="second", patience=0.05)
    assert jobs.run(lambda job: "third", on_cancel=lambda: None, keep="third") == "third"
    with pytest.raises(Cancelled):
        while begun[1].say("on") is None:
            time.sleep(0.01)


def test_work_ends_when_its_reader_is_gone_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now[0])
    job = jobs.Job(present=lambda: now[0] < 100)
    for now[0] in (50.0, 99.0, 130.0, 158.0):  # a browser that reconnects within a minute has lost nothing
        job.say("on")
    now[0] = 165.0
    with pytest.raises(Cancelled):
        job.say("on")


def test_an_error_of_kept_work_is_told_once_and_then_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.st, "session_state", {})

    def fail(job: jobs.Job) -> int:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        jobs.run(fail, on_cancel=lambda: None, keep="question")
    assert "bug" in jobs.begun()[0].state
    assert jobs.run(lambda job: 42, on_cancel=lambda: None, keep="question") == 42
