"""Memory is promised before it is taken: two that fit alone wait for one another, and unused models go first."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from infoflow.errors import Cancelled
from infoflow.models import memory
from infoflow.models.account import Account


class Shelf:
    """Models that nobody uses, by size; what goes becomes free."""

    def __init__(self, free: list[int], *unused: int) -> None:
        self.free, self.unused, self.gone = free, list(unused), []

    def unused_bytes(self, device: str) -> int:
        return sum(self.unused)

    def let_one_go(self, device: str) -> bool:
        self.gone.append(self.unused.pop(0))
        self.free[0] += self.gone[-1]
        return True


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the machine has free, as one number that tests change; devices are apart."""
    now = [100]
    monkeypatch.setattr(memory, "free", lambda device="cpu": now[0] if device == "cpu" else 10**6)
    return now


def test_a_second_that_does_not_fit_beside_the_first_waits_and_is_told(free: list[int]) -> None:
    account, told, begun, end = Account(), threading.Event(), threading.Event(), threading.Event()
    said: list[str] = []

    def first() -> None:
        with account.reserved(60, "cpu"):
            begun.set()
            assert end.wait(20)

    def say(doing: str, fraction: float) -> None:
        said.append(doing)
        told.set()

    def second() -> int:
        with account.reserved(70, "cpu", say):
            return account.promised("cpu")

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        assert begun.wait(20)
        two = pool.submit(second)
        assert told.wait(20) and not two.done()
        with account.reserved(40, "cpu"), account.reserved(500_000, "cuda:0"):  # what fits beside it starts, here or there
            assert account.promised("cpu") == 100 and account.promised("cuda:0") == 500_000
        end.set()
        assert two.result(20) == 70  # alone
        one.result(20)
    assert said[0].startswith("Waiting for memory") and account.promised("cpu") == 0


def test_who_waits_may_leave_and_nothing_stays_promised(free: list[int]) -> None:
    account = Account()

    def leave(doing: str, fraction: float) -> None:
        raise Cancelled("left")

    with account.reserved(60, "cpu"):
        with pytest.raises(Cancelled), account.reserved(41, "cpu", leave):
            pytest.fail("it does not fit")
        assert account.promised("cpu") == 60
    with pytest.raises(ZeroDivisionError), account.reserved(60, "cpu"):
        raise ZeroDivisionError
    assert account.promised("cpu") == 0


def test_a_limit_is_a_share_of_what_is_left(free: list[int]) -> None:
    account, told = Account(), []

    def leave(doing: str, fraction: float) -> None:
        told.append(doing)
        raise Cancelled("left")

    with account.reserved(40, "cpu", allowed=lambda left: left // 2):
        with account.reserved(30, "cpu", leave, allowed=lambda left: left // 2):  # half of the 60 left
            pass
        with pytest.raises(Cancelled), account.reserved(31, "cpu", leave, allowed=lambda left: left // 2):
            pass
        with pytest.raises(Cancelled), account.reserved(61, "cpu", leave, allowed=lambda left: 1000):  # more than there is
            pass
    assert len(told) == 2


def test_models_that_nobody_uses_go_first_one_at_a_time_and_only_where_that_helps(free: list[int]) -> None:
    account = Account()
    account.shelf = shelf = Shelf(free, 30, 20, 10)
    with account.reserved(140, "cpu"):
        assert shelf.gone == [30, 20] and account.promised("cpu") == 140
    free[0] = 100
    assert account.obtainable("cpu") == 110
    with account.reserved(200, "cpu"):  # all of them would not do: they stay, and whoever reserves refuses
        assert shelf.gone == [30, 20]


def test_a_model_that_somebody_begins_to_use_does_not_go(free: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account()
    account.shelf = shelf = Shelf(free, 30)
    asked: list[str] = []
    monkeypatch.setattr(shelf, "let_one_go", lambda device: bool(asked.append(device)))
    with account.reserved(120, "cpu"):  # nobody to wait for: whoever reserves refuses
        assert asked == ["cpu"]
