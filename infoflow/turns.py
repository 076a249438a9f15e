"""One thing that many want, a turn after the other: round robin over who asks, so that one who asks for much delays nobody else
by more than a turn."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from infoflow.errors import Busy
from infoflow.text.amounts import duration

T = TypeVar("T")
Say = Callable[[str, float], None]
_LOOK = 0.1
"""seconds between two looks of one who waits"""
SHARE = 4
"""one visitor has at most this part of a line that has an end: it would be closed to all others else"""
_WEIGHT = 0.3
"""of the latest turn in the mean of how long one takes"""
_visitor: ContextVar[str] = ContextVar("visitor", default="")


def visitor() -> str:
    """Who asks in this thread: a name that tells visitors apart, and nothing else of them; '' for whoever runs the program."""
    return _visitor.get()


@contextlib.contextmanager
def as_visitor(name: str) -> Iterator[None]:
    """What is asked inside is this visitor's."""
    token = _visitor.set(name)
    try:
        yield
    finally:
        _visitor.reset(token)


class Line(Generic[T]):
    """Things that wait, by who brought them: each visitor's in their order, one of each visitor after the other. No lock."""

    def __init__(self) -> None:
        self._of: dict[str, deque[T]] = {}
        """the visitor whose turn is next comes first"""

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def of(self, who: str) -> int:
        """How many are this visitor's."""
        return len(self._of.get(who, ()))

    def put(self, who: str, what: T) -> None:
        """At the end of this visitor's."""
        self._of.setdefault(who, deque()).append(what)

    def take(self) -> T:
        """The next; its visitor goes behind all others."""
        who = next(iter(self._of))
        waiting = self._of.pop(who)
        found = waiting.popleft()
        if waiting:
            self._of[who] = waiting
        return found

    def leave(self, what: T) -> None:
        """It waits no more."""
        who = self._whose(what)
        assert who is not None  # it waits
        self._of[who].remove(what)
        if not self._of[who]:
            del self._of[who]

    def place(self, what: T) -> int:
        """As which it comes, from 1; 0 where it does not wait. Before it come those of the same visitor that came before it, and
        as many of each other, with one more of those whose turn is earlier in the round."""
        who = self._whose(what)
        if who is None:
            return 0
        before, names = self._of[who].index(what), list(self._of)
        first = names.index(who)
        others = (min(len(self._of[name]), before + (at < first)) for at, name in enumerate(names) if name != who)
        return 1 + before + sum(others)

    def _whose(self, what: T) -> str | None:
        return next((who for who, waiting in self._of.items() if what in waiting), None)


class Turns:
    """Turns of one thing, which is had by one thread at a time. A thread that has it may take it again."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        """of the thing itself: some take it without waiting in line"""
        self._changed = threading.Condition()
        self._line: Line[object] = Line()
        self._has: int | None = None
        """the thread"""
        self._since = 0.0
        self.took = 0.0
        """seconds of a turn, in the mean of the latest"""

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._changed:
            return len(self._line)

    @contextlib.contextmanager
    def turn(self, say: Say, most: int | None = None) -> Iterator[None]:
        """The thing for oneself; `say` is told the place in line and how long that may be, and may leave by raising. Where `most`
        wait already, nobody else does; and of one visitor's no more than a quarter of them.

        Raises:
            Busy: the line is full, or this visitor's part of it. Cancelled: by `say`.
        """
        if self._has == threading.get_ident():
            yield
            return
        self._wait(say, most)
        try:
            while not self.lock.acquire(timeout=_LOOK):
                say("Waiting for the model: another run of it is under way …", 0.0)
        except BaseException:
            self._next()
            raise
        try:
            yield
        finally:
            self.lock.release()
            self._ended()
            self._next()

    def _wait(self, say: Say, most: int | None) -> None:
        """Until it is this thread's turn."""
        who, me = visitor(), object()
        with self._changed:
            if self._has is None and not len(self._line):
                self._begin()
                return
            mine = self._line.of(who)
            if most is not None and who and mine >= max(1, most // SHARE):  # or one alone could fill it
                soon = max(1.0, mine * self.took)
                runs = "run of one visitor waits" if mine == 1 else "runs of one visitor wait"  # who may not be who is told
                raise Busy(f"{mine} {runs} for this model already, which is as many as may. Try again in {duration(soon)}.", soon)
            if most is not None and len(self._line) >= most:
                soon = max(1.0, len(self._line) * self.took)
                runs = "run waits" if len(self._line) == 1 else "runs wait"
                raise Busy(
                    f"{len(self._line)} {runs} for this model already, which is as many as may. Try again in {duration(soon)}.",
                    soon,
                )
            self._line.put(who, me)
        try:
            while True:
                with self._changed:
                    if self._has is None and self._line.place(me) == 1:
                        self._line.take()
                        self._begin()
                        return
                    self._changed.wait(_LOOK)
                    place = self._line.place(me)
                    left = self._left(place)
                say(f"Waiting for the model, as number {place} in line{left} …", 0.0)
        except BaseException:
            with self._changed:
                self._line.leave(me)
                self._changed.notify_all()
            raise

    def _left(self, place: int) -> str:
        """Until a place in line has its turn, in words; '' where no turn has ended yet, or this one takes longer than those."""
        under_way = self.took - (time.monotonic() - self._since)
        if under_way < 0 or not self.took:
            return ""
        seconds = under_way + (place - 1) * self.took
        return f" ({'' if seconds < 1.5 else 'about '}{duration(seconds)})"

    def _begin(self) -> None:
        self._has, self._since = threading.get_ident(), time.monotonic()

    def _ended(self) -> None:
        now = time.monotonic() - self._since
        with self._changed:
            self.took = now if not self.took else _WEIGHT * now + (1 - _WEIGHT) * self.took

    def _next(self) -> None:
        with self._changed:
            self._has = None
            self._changed.notify_all()
