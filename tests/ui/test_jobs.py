"""Work beside the page: results and errors come back, and it stops when the page is left."""

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from infoflow.errors import BadPrompt, Cancelled
from infoflow.turns import visitor
from infoflow.ui import blocks, jobs


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


class Left(BaseException):
    """What Streamlit raises in the page's script when it is to run again."""


def leave(*_: object, **__: object) -> None:
    raise Left


def begin_and_leave(patch: pytest.MonkeyPatch, work: Callable[[jobs.Job], Any], keep: str, where: str = "progress") -> None:
    """Kept work is begun, and its page is left where that is drawn."""
    with patch.context() as here, pytest.raises(Left):
        here.setattr(jobs.st, where, leave)
        jobs.run(work, on_cancel=lambda: None, keep=keep, title="A run", patience=0.05)


class Slow:
    """Work that reports and reports until it is stopped, or let go."""

    def __init__(self) -> None:
        self.begun: list[jobs.Job] = []
        self.running, self.stopped, self.go_on = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, job: jobs.Job) -> str:
        self.begun.append(job)
        try:
            while not self.go_on.wait(0.01):
                job.say("Queued at position 1")
                self.running.set()
        except Cancelled:
            self.stopped.set()
            raise
        return "done"


@pytest.mark.parametrize("where", ["empty", "progress"])
def test_leaving_the_page_stops_the_work_however_early(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`empty` is the first thing that is drawn after the work has begun."""
    work = Slow()
    monkeypatch.setattr(jobs.st, where, leave)
    with pytest.raises(Left):
        jobs.run(work, on_cancel=lambda: None, patience=0.05)
    assert work.stopped.wait(5)


def test_kept_work_is_listed_before_it_begins_and_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Slow()
    monkeypatch.setattr(jobs.st, "session_state", {})
    begin_and_leave(monkeypatch, work, "question", "empty")
    (listed,) = jobs.begun()
    listed.job.stop()
    assert work.stopped.wait(5) and listed.state in ("Stopping …", "Stopped.")


def test_kept_work_outlives_its_page_and_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Slow()
    monkeypatch.setattr(jobs.st, "session_state", {})
    begin_and_leave(monkeypatch, work, "question")
    assert work.running.wait(5)
    (listed,) = jobs.begun()
    assert listed.running and listed.title == "A run" and listed.state == "Queued at position 1"
    work.go_on.set()
    assert jobs.run(work, on_cancel=lambda: None, keep="question") == "done"
    assert len(work.begun) == 1 and "Done in" in jobs.begun()[0].state and not jobs.begun()[0].running

    second = Slow()
    begin_and_leave(monkeypatch, second, "second")
    assert second.running.wait(5)
    assert jobs.run(lambda job: "third", on_cancel=lambda: None, keep="third") == "third"
    assert second.stopped.wait(5)


def test_work_that_was_stopped_elsewhere_is_told_and_not_begun_anew_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Models page lists it with a Cancel of its own."""
    work = Slow()
    monkeypatch.setattr(jobs.st, "session_state", {})
    begin_and_leave(monkeypatch, work, "question")
    jobs.begun()[0].job.stop()
    with pytest.raises(Cancelled):
        jobs.run(work, on_cancel=lambda: None, keep="question")
    assert len(work.begun) == 1
    work.go_on.set()
    assert jobs.run(work, on_cancel=lambda: None, keep="question") == "done" and len(work.begun) == 2


def test_cancel_on_the_page_gives_the_work_up(monkeypatch: pytest.MonkeyPatch) -> None:
    work, pressed, told = Slow(), [], []
    monkeypatch.setattr(jobs.st, "session_state", {})
    with monkeypatch.context() as patch, pytest.raises(Left):
        patch.setattr(jobs.st, "button", lambda *_, on_click, **__: pressed.append(on_click))
        patch.setattr(jobs.blocks, "plain", lambda text: leave() if pressed else text)  # at the first look after the button
        jobs.run(work, on_cancel=lambda: told.append(1), keep="question", patience=0.05)
    pressed[0]()
    assert work.stopped.wait(5) and told == [1]
    work.go_on.set()
    assert jobs.run(work, on_cancel=lambda: None, keep="question") == "done" and len(work.begun) == 2  # it is asked again


@pytest.mark.parametrize("keep", [None, "question"])
def test_a_part_of_a_page_gives_way_to_what_is_asked_of_it(keep: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody could cancel what it waits for; kept work goes on."""
    work, asked = Slow(), [False, False, True]
    monkeypatch.setattr(jobs.st, "session_state", {})
    monkeypatch.setattr(jobs, "asked_again", lambda: asked.pop(0))
    monkeypatch.setattr(jobs.st, "rerun", leave)
    with pytest.raises(Left):
        jobs.run(work, on_cancel=lambda: None, keep=keep, patience=0.05)
    assert not asked
    if keep is None:
        assert work.stopped.wait(5)
    else:
        assert work.running.wait(5) and not work.stopped.is_set()
        work.go_on.set()


def test_what_is_at_hand_needs_no_work_but_work_under_way_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs.st, "session_state", {})
    never = lambda job: pytest.fail("it was at hand")  # noqa: E731
    assert jobs.run(never, on_cancel=lambda: None, keep="question", at_hand=lambda: "kept") == "kept"
    assert jobs.begun() == []
    work = Slow()
    begin_and_leave(monkeypatch, work, "question")
    work.go_on.set()
    assert jobs.run(work, on_cancel=lambda: None, keep="question", at_hand=lambda: "kept") == "done"
    assert jobs.run(work, on_cancel=lambda: None, keep="question", at_hand=lambda: "kept") == "kept"


def test_places_are_bounded_and_who_waits_is_told() -> None:
    places, at_once, most = jobs.Places(2), [0], [0]
    lock, go_on, done = threading.Lock(), threading.Event(), threading.Semaphore(0)
    two = threading.Semaphore(0)

    def work() -> None:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        two.release()
        assert go_on.wait(20)
        with lock:
            at_once[0] -= 1
        done.release()

    threads = [places.begin(work) for _ in range(5)]
    assert two.acquire(timeout=20) and two.acquire(timeout=20)
    assert [places.before(t) for t in threads] == [0, 0, 1, 2, 3]
    go_on.set()
    for _ in threads:
        assert done.acquire(timeout=20)
    assert most[0] == 2
    for thread in threads:
        thread.join(20)
    assert places._free == 2  # as before


def test_places_go_round_over_readers_and_work_is_its_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    places, holds, end, who = jobs.Places(1), threading.Event(), threading.Event(), list[str]()
    first = places.begin(lambda: (holds.set(), end.wait(20)))
    assert holds.wait(20)
    threads = [first]
    for reader in ("a", "a", "b"):
        monkeypatch.setattr(jobs, "reader", lambda reader=reader: reader)
        threads.append(places.begin(lambda: who.append(visitor())))
    assert [places.before(thread) for thread in threads] == [0, 1, 3, 2]
    end.set()
    for _ in threads:  # each begins when the one before it ends
        for thread in threads:
            if thread.ident is not None:
                thread.join(20)
    assert who == ["a", "b", "a"]


def test_a_place_for_which_there_is_no_thread_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    places, done = jobs.Places(1), threading.Event()
    with monkeypatch.context() as none_left, pytest.raises(RuntimeError):
        none_left.setattr(threading.Thread, "start", start)
        places.begin(done.set)
    places.begin(done.set).join(20)
    assert done.is_set() and places._free == 1


def test_who_waits_for_a_place_gets_it_though_there_is_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    places, holds, end, done = jobs.Places(1), threading.Event(), threading.Event(), list[int]()

    def first() -> None:
        holds.set()
        end.wait(10)

    running = places.begin(first)
    assert holds.wait(10)
    waiting = [places.begin(lambda number=number: done.append(number)) for number in (1, 2)]
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread in waiting:
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    end.set()
    running.join(10)
    assert done == [1, 2] and places.before(waiting[0]) == 0, "the one that ended did both"
    places.begin(lambda: done.append(3)).join(10)
    assert done == [1, 2, 3], "and its place is free again"


def test_what_a_page_was_told_and_keeps_holds_nothing_of_that_page() -> None:
    for kept in (Cancelled("stopped"), BadPrompt("too short")):  # raised again by every click
        with blocks.reporting_errors():
            raise kept
        assert kept.__traceback__ is None


def test_work_that_waits_for_a_place_says_so_and_never_runs_once_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    full, holds, end = jobs.Places(1), threading.Event(), threading.Event()
    monkeypatch.setattr(jobs, "_places", lambda: full)
    monkeypatch.setattr(jobs.st, "session_state", {})
    first = full.begin(lambda: (holds.set(), end.wait(20)))
    assert holds.wait(20)
    begin_and_leave(monkeypatch, lambda job: pytest.fail("it ran"), "question")
    (waits,) = jobs.begun()
    assert waits.running and waits.state == "Waiting for a free place, as number 1 …"
    waits.job.stop()
    end.set()
    first.join(20)
    assert waits.thread is not None
    waits.thread.join(20)
    assert waits.state == "Stopped."


class Held:
    """Stands for the tensors of a run."""


@pytest.mark.parametrize("error", [BadPrompt("too short"), Cancelled("stopped"), ZeroDivisionError("a bug")])
def test_work_that_failed_keeps_its_words_and_nothing_that_it_held(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while its page is away nor after it was told."""
    monkeypatch.setattr(jobs.st, "session_state", {})
    held, begun = [], threading.Event()

    def work(job: jobs.Job) -> None:
        tensors = Held()
        held.append(weakref.ref(tensors))
        begun.set()
        raise error

    begin_and_leave(monkeypatch, work, "question", "empty")
    (listed,) = jobs.begun()
    assert listed.thread is not None
    listed.thread.join(20)
    gc.collect()
    assert held[0]() is None
    with pytest.raises(type(error)):
        jobs.run(work, on_cancel=lambda: None, keep="question")
    gc.collect()
    assert len(held) == 1 and listed.outcome is None
    assert listed.state == ("Stopped." if isinstance(error, Cancelled) else "too short" if isinstance(error, BadPrompt) else
                            "Failed; this is a bug of the app.")  # fmt: skip


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


def test_how_much_longer_is_told_once_it_can_be() -> None:
    job = jobs.Job()
    assert jobs._left(10.0, job) == ""
    job.fraction = 0.25
    assert (
        jobs._left(10.0, job) == " · about 30 s left"
        and jobs._left(1.0, job) == ""
        and jobs._left(120.0, job) == " · about 6 min left"
    )
    job.fraction = 0.05  # what is left is not known yet
    assert jobs._left(10.0, job) == ""
    job.fraction = 0.5
    assert [jobs._left(left, job) for left in (3.9, 4.0, 89.0, 90.0)] == [
        "", " · about 4 s left", " · about 89 s left", " · about 2 min left",
    ]  # fmt: skip
