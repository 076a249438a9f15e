"""One thing in turn: fair over visitors, the place said, whoever leaves frees it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import permutations
from typing import Any

import pytest

from infoflow.errors import Busy, Cancelled
from infoflow.turns import Line, Turns, as_visitor, visitor


def test_a_line_takes_one_of_each_visitor_after_the_other() -> None:
    line: Line[str] = Line()
    for what in ("a1", "a2", "a3", "b1", "b2", "c1"):
        line.put(what[0], what)
    assert [line.take() for _ in range(len(line))] == ["a1", "b1", "c1", "a2", "b2", "a3"] and len(line) == 0


def test_one_who_comes_late_waits_for_one_turn_of_each_other() -> None:
    line: Line[str] = Line()
    for what in ("a1", "a2", "a3"):
        line.put("a", what)
    assert line.take() == "a1"
    line.put("b", "b1")
    assert [line.place("b1"), line.place("a2"), line.place("a3"), line.place("a1")] == [2, 1, 3, 0]
    assert [line.take() for _ in range(3)] == ["a2", "b1", "a3"]


@pytest.mark.parametrize("order", list(permutations("aabbc"))[::7])
def test_the_place_is_the_order_in_which_they_are_taken(order: tuple[str, ...]) -> None:
    """The slow twin: count the takes."""
    line: Line[int] = Line()
    for number, who in enumerate(order):
        line.put(who, number)
    said = {number: line.place(number) for number, who in enumerate(order)}
    assert [line.take() for _ in order] == sorted(said, key=said.__getitem__) and sorted(said.values()) == [1, 2, 3, 4, 5]


def test_who_leaves_frees_the_place() -> None:
    line: Line[str] = Line()
    for what in ("a1", "b1", "c1"):
        line.put(what[0], what)
    line.leave("a1")
    assert line.place("b1") == 1 and line.place("c1") == 2 and line.place("a1") == 0 and len(line) == 2


class _Asker:
    """A thread that wants a turn; it keeps it until `let_go`."""

    def __init__(self, turns: Turns, who: str, order: list[str], name: str, most: int | None = None) -> None:
        self.said: list[str] = []
        self.waits, self.has, self.let_go, self.leave = (threading.Event() for _ in range(4))
        self.ended: Future[Any] = Future()

        def say(doing: str, fraction: float) -> None:
            self.said.append(doing)
            self.waits.set()
            if self.leave.is_set():
                raise Cancelled("left")

        def work() -> None:
            try:
                with as_visitor(who), turns.turn(say, most):
                    order.append(name)
                    self.has.set()
                    assert self.let_go.wait(30)
                self.ended.set_result(None)
            except BaseException as error:  # noqa: BLE001  raised by whoever asks how it ended
                self.ended.set_exception(error)

        threading.Thread(target=work, daemon=True).start()


@pytest.fixture
def turns() -> Turns:
    return Turns(threading.RLock())


def test_turns_go_round_over_visitors(turns: Turns) -> None:
    order: list[str] = []
    first = _Asker(turns, "a", order, "a1")
    assert first.has.wait(30)
    later = []
    for name in ("a2", "a3", "b1", "c1"):
        later.append(_Asker(turns, name[0], order, name))
        assert later[-1].waits.wait(30)
    assert turns.waiting == 4
    for one in (first, *later):
        one.let_go.set()
    for one in (first, *later):
        one.ended.result(30)
    assert order == ["a1", "a2", "b1", "c1", "a3"] and turns.waiting == 0
    assert "as number 1 in line" in later[0].said[0] and "as number 2 in line" in later[1].said[0]
    assert "as number 2 in line" in later[2].said[0], "the other visitor's third run is behind"


def test_who_is_stopped_while_waiting_leaves_the_line(turns: Turns) -> None:
    order: list[str] = []
    first = _Asker(turns, "a", order, "a1")
    assert first.has.wait(30)
    gone, last = _Asker(turns, "b", order, "b1"), _Asker(turns, "c", order, "c1")
    assert gone.waits.wait(30) and last.waits.wait(30)
    gone.leave.set()
    with pytest.raises(Cancelled):
        gone.ended.result(30)
    assert turns.waiting == 1
    first.let_go.set()
    last.let_go.set()
    last.ended.result(30)
    assert order == ["a1", "c1"]


def test_a_full_line_takes_nobody_more(turns: Turns) -> None:
    order: list[str] = []
    first = _Asker(turns, "a", order, "a1")
    assert first.has.wait(30)
    second = _Asker(turns, "b", order, "b1", most=1)
    assert second.waits.wait(30)
    refused = _Asker(turns, "c", order, "c1", most=1)
    with pytest.raises(
        Busy, match="^1 run waits for this model already, which is as many as may. Try again in about a second.$"
    ) as told:
        refused.ended.result(30)
    assert told.value.retry_after >= 1
    for one in (first, second):
        one.let_go.set()
        one.ended.result(30)
    assert order == ["a1", "b1"]


def test_one_visitor_does_not_close_the_line_to_others(turns: Turns) -> None:
    order: list[str] = []
    first = _Asker(turns, "a", order, "a1", most=4)
    assert first.has.wait(30)
    second = _Asker(turns, "a", order, "a2", most=4)
    assert second.waits.wait(30)
    with pytest.raises(Busy, match="^1 run of one visitor waits for this model already, which is as many as may. Try"):
        _Asker(turns, "a", order, "a3", most=4).ended.result(30)
    other = _Asker(turns, "b", order, "b1", most=4)
    assert other.waits.wait(30)
    for one in (first, second, other):
        one.let_go.set()
        one.ended.result(30)
    assert order == ["a1", "a2", "b1"]


def test_an_error_in_a_turn_gives_it_back(turns: Turns) -> None:
    def say(doing: str, fraction: float) -> None:
        raise AssertionError("nobody waits")

    with pytest.raises(ZeroDivisionError), turns.turn(say):
        1 / 0  # noqa: B018
    with turns.turn(say), turns.turn(say):  # and whoever has it may take it again
        assert turns.lock.acquire(blocking=False)
        turns.lock.release()
    assert turns.took > 0


def test_who_holds_the_lock_without_a_turn_is_waited_for(turns: Turns) -> None:
    held, order = threading.Event(), list[str]()
    free = threading.Event()

    def hold() -> None:
        with turns.lock:
            held.set()
            assert free.wait(30)

    threading.Thread(target=hold, daemon=True).start()
    assert held.wait(30)
    asker = _Asker(turns, "a", order, "a1")
    assert asker.waits.wait(30) and not asker.has.is_set()
    gone = _Asker(turns, "a", order, "a2")
    assert gone.waits.wait(30)
    asker.leave.set()  # while it has the turn and waits for the lock
    with pytest.raises(Cancelled):
        asker.ended.result(30)
    free.set()
    gone.let_go.set()
    gone.ended.result(30)
    assert order == ["a2"]


def test_the_time_until_a_turn_is_told_once_one_has_ended(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("infoflow.turns.time.monotonic", lambda: now[0])
    nothing: Callable[[str, float], None] = lambda doing, fraction: None  # noqa: E731
    with turns.turn(nothing):
        now[0] += 8.0
    assert turns.took == 8.0
    with turns.turn(nothing):
        now[0] += 4.0
    assert turns.took == pytest.approx(0.3 * 4 + 0.7 * 8)  # 6.8
    turns._since = now[0] - 2.0
    assert turns._left(1) == " (about 5 seconds)" and turns._left(3) == " (about 18 seconds)"  # 4.8; 4.8 + 2 * 6.8 = 18.4
    turns._since = now[0] - 6.5
    assert turns._left(1) == " (less than a second)"
    turns._since = now[0] - 7.0  # it takes longer than they did: nobody knows
    assert turns._left(1) == turns._left(9) == ""


def test_a_visitor_is_known_inside_alone() -> None:
    assert visitor() == ""
    with as_visitor("one"):
        assert visitor() == "one"
        with as_visitor("other"):
            assert visitor() == "other"
        assert visitor() == "one"
    assert visitor() == ""
