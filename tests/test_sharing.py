"""Work that several ask for at once is done once; it ends when nobody waits for it any more."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from infoflow.errors import Busy, Cancelled, RemoteRunError
from infoflow.sharing import SharedWork


class Reader:
    """One who waits: what they are told, and whether they leave."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.heard, self.leaves = threading.Event(), threading.Event()

    def say(self, doing: str, fraction: float) -> None:
        self.told.append(doing)
        self.heard.set()
        if self.leaves.is_set():
            raise Cancelled("left")


class Slow:
    """Work that goes a step further each time it is let."""

    def __init__(self) -> None:
        self.runs, self.begun, self.step = 0, threading.Event(), threading.Semaphore(0)

    def __call__(self, report: Callable[[str, float], None]) -> str:
        self.runs += 1
        self.begun.set()
        for n in range(3):
            report(f"step {n}", n / 3)
            assert self.step.acquire(timeout=20)
        return f"result {self.runs}"


@pytest.fixture
def both() -> tuple[SharedWork, Slow, Reader, Reader]:
    return SharedWork(), Slow(), Reader(), Reader()


def _waiting(pool: ThreadPoolExecutor, both: tuple[SharedWork, Slow, Reader, Reader]):  # type: ignore[no-untyped-def]
    """The first runs, the second waits for the same and has been told so."""
    shared, work, first, second = both
    one = pool.submit(shared.do, "key", work, first.say)
    assert work.begun.wait(20)
    two = pool.submit(shared.do, "key", work, second.say)
    assert second.heard.wait(20)
    return one, two


def _leaves(reader: Reader, waiting: "Future[str]") -> None:
    reader.leaves.set()
    with pytest.raises(Cancelled):
        waiting.result(20)


def test_two_who_ask_the_same_have_it_run_once_and_both_hear_of_it(both) -> None:  # type: ignore[no-untyped-def]
    shared, work, _, second = both
    with ThreadPoolExecutor(3) as pool:
        one, two = _waiting(pool, both)
        other = pool.submit(shared.do, "other", lambda report: "another key does not wait", Reader().say)
        assert other.result(20) == "another key does not wait"
        work.step.release(3)
        assert one.result(20) == two.result(20) == "result 1"
    assert "step 0" in second.told
    work.step.release(3)
    assert shared.do("key", work, Reader().say) == "result 2"  # it is kept by whoever keeps results, not here


def test_the_one_who_leaves_does_not_end_it_for_the_other(both) -> None:  # type: ignore[no-untyped-def]
    _, work, first, _ = both
    with ThreadPoolExecutor(2) as pool:
        _, two = _waiting(pool, both)
        first.leaves.set()
        work.step.release(3)
        assert two.result(20) == "result 1"
    assert first.told == ["step 0", "step 1"]  # and is told no more


def test_one_who_waits_may_leave_and_the_run_goes_on(both) -> None:  # type: ignore[no-untyped-def]
    _, work, _, second = both
    with ThreadPoolExecutor(2) as pool:
        one, two = _waiting(pool, both)
        _leaves(second, two)
        work.step.release(3)
        assert one.result(20) == "result 1"


def test_it_ends_when_both_have_left_and_who_comes_then_begins_anew(both) -> None:  # type: ignore[no-untyped-def]
    shared, work, first, second = both
    with ThreadPoolExecutor(2) as pool:
        one, two = _waiting(pool, both)
        _leaves(second, two)
        first.leaves.set()
        work.step.release(1)
        with pytest.raises(Cancelled):
            one.result(20)
    work.step.release(3)
    assert shared.do("key", work, Reader().say) == "result 2"


def both_fail(shared: SharedWork, error: Exception) -> tuple[BaseException | None, BaseException | None]:
    """What who does it and who waits for it are told when the work raises an error."""
    waiting, begun, go_on = Reader(), threading.Event(), threading.Event()

    def fail(report: Callable[[str, float], None]) -> str:
        begun.set()
        assert go_on.wait(20)
        raise error

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(shared.do, "key", fail, Reader().say)
        assert begun.wait(20)
        two = pool.submit(shared.do, "key", fail, waiting.say)
        assert waiting.heard.wait(20)
        go_on.set()
        return one.exception(20), two.exception(20)


def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    shared = SharedWork()
    for told in both_fail(shared, ValueError("broken")):
        assert isinstance(told, ValueError) and str(told) == "broken"
    assert shared.do("key", lambda report: "mended", Reader().say) == "mended"


def test_who_comes_while_it_is_being_ended_begins_anew() -> None:
    shared, leaves = SharedWork(), Reader()
    leaves.leaves.set()

    def waits(doing: str, fraction: float) -> None:
        raise AssertionError("it waits for what is being ended")

    def ended(report: Callable[[str, float], None]) -> str:
        try:
            report("step", 0.0)
        except Cancelled:  # it is not over yet
            assert shared.do("key", lambda report: "anew", waits) == "anew"
            raise
        raise AssertionError("it goes on for nobody")

    with pytest.raises(Cancelled):
        shared.do("key", ended, leaves.say)


def test_each_who_waits_has_the_error_as_their_own() -> None:
    """Its frames are those of one page: another visitor's would be held with it, or told."""
    shared = SharedWork()
    for error in (Busy("many", 3.0), RemoteRunError("lost", "The service is gone.", "details")):
        first, other = both_fail(shared, error)
        assert first is error and other is not error and type(other) is type(error)
        assert str(other) == str(error) and vars(other) == vars(error) and other.args == error.args
