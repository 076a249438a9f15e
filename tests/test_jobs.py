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
