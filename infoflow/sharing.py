"""Work that several ask for at once: it is done once, all of them hear how far it is, and it goes on while anyone waits."""

import threading
from collections.abc import Callable, Hashable
from concurrent import futures
from typing import Any, TypeVar

from infoflow.errors import Cancelled, another

R = TypeVar("R")
Say = Callable[[str, float], None]
_LOOK = 0.1
"""seconds between two looks at work that somebody else does"""


class _Going:
    """One piece of work that is being done."""

    def __init__(self) -> None:
        self.doing, self.fraction = "", 0.0
        self.others = 0
        """how many wait for it beside the one whose thread does it"""
        self.left = False
        """whether that one wants it no more"""
        self.outcome: futures.Future[Any] = futures.Future()


class SharedWork:
    """Pieces of work by what they are of. The first who asks does it; whoever asks meanwhile waits for the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going: dict[Hashable, _Going] = {}

    def do(self, key: Hashable, work: Callable[[Say], R], say: Say) -> R:
        """What `work(report)` gives, or what somebody else's work of the same key does.

        `say(doing, fraction)` is told of progress, several times a second while another does it; raising Cancelled in it
        leaves the work, which ends when nobody is left.

        Raises:
            Cancelled: left by `say`. Whatever the work raises, in all who wait for it.
        """
        with self._lock:
            going = self._going.get(key)
            if going is not None:
                going.others += 1
            else:
                mine = self._going[key] = _Going()
        return self._wait(going, say) if going is not None else self._work(key, mine, work, say)

    def _work(self, key: Hashable, mine: _Going, work: Callable[[Say], R], say: Say) -> R:
        def report(doing: str, fraction: float = 0.0) -> None:
            mine.doing, mine.fraction = doing, fraction
            if not mine.left:
                try:
                    say(doing, fraction)
                except Cancelled:
                    mine.left = True
            if mine.left:
                with self._lock:  # whoever asks from now on begins anew
                    if mine.others:
                        return
                    self._going.pop(key, None)
                raise Cancelled("The run was stopped: nobody waits for it any more.")

        try:
            found = work(report)
        except BaseException as error:
            self._end(key, mine)
            mine.outcome.set_exception(error)
            raise
        self._end(key, mine)
        mine.outcome.set_result(found)
        return found

    def _end(self, key: Hashable, mine: _Going) -> None:
        with self._lock:
            if self._going.get(key) is mine:
                del self._going[key]

    def _wait(self, going: _Going, say: Say) -> Any:
        try:
            while not futures.wait([going.outcome], _LOOK).done:
                say(going.doing or "Another reader runs the same …", going.fraction)
        finally:
            with self._lock:
                going.others -= 1
        error = going.outcome.exception()
        if error is not None:
            raise another(error)
        return going.outcome.result()
