"""Several runs of one model in one forward pass: those of prompts of one length, side by side in a batch.

Each work goes on in a thread of its own with a seat, which is the model but for `run`: what is to be run waits there until all
works want something run or have ended, and then what is of one length goes through the model together. Every block sees its own
row alone, as nnsight gives it to each invocation, so that analyses need not know of it.
"""

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from infoflow.errors import Cancelled
from infoflow.ndif.run import changed_in

if TYPE_CHECKING:
    import infoflow.models.model

R = TypeVar("R")
_CLOSED = "The run was stopped."


@dataclass
class _Wanted:
    """One run that waits for the others."""

    ids: tuple[int, ...]
    block: Callable[..., Any]
    args: tuple[Any, ...]
    given: "Future[Any]" = field(default_factory=Future)

    @property
    def alone(self) -> bool:
        """Whether it is changed, and so of several rows itself; or of experts, whose router takes all rows for one text."""
        sparse = any(isinstance(a, SimpleNamespace) and a.sparse for a in self.args)
        return sparse or changed_in(self.args) is not None


class Table:
    """Where works meet."""

    def __init__(self, works: int) -> None:
        self._changed = threading.Condition()
        self._working, self._waiting, self._met = works, list[_Wanted](), list[_Wanted]()
        self._closed = False

    def run(self, ids: Sequence[int], block: Callable[..., Any], *args: Any) -> Any:
        """What a block gives, once all have met; in the thread of a work."""
        wanted = _Wanted(tuple(ids), block, args)
        with self._changed:
            if self._closed:
                raise Cancelled(_CLOSED)
            self._waiting.append(wanted)
            self._changed.notify_all()
        return wanted.given.result()

    def leave(self) -> None:
        """A work has ended."""
        with self._changed:
            self._working -= 1
            self._changed.notify_all()

    def met(self) -> list[_Wanted]:
        """What all that have not ended want; nothing when all have."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) == self._working)
            self._met, self._waiting = self._waiting, []
            return self._met

    def close(self) -> None:
        """Nothing is run any more: whoever waits is told, and whoever comes."""
        with self._changed:
            self._closed = True
            for one in (*self._met, *self._waiting):
                if not one.given.done():
                    one.given.set_exception(Cancelled(_CLOSED))


def together(
    model: "infoflow.models.model.Model", works: "Sequence[Callable[[infoflow.models.model.Model], R]]"
) -> "list[Future[R]]":
    """What each work gives of its seat at a model, all in as few passes as they can share. A work that raises ends alone.

    A work may run the model and look at it; of what writes there is one at a time.
    """
    table = Table(len(works))
    model.plan()  # settles the layout, which takes the lock

    def seated(work: "Callable[[infoflow.models.model.Model], R]") -> R:
        seat = copy.copy(model)
        seat.table = table
        try:
            return work(seat)
        finally:
            table.leave()

    with ThreadPoolExecutor(len(works), thread_name_prefix="together") as pool:
        try:
            going = [pool.submit(seated, work) for work in works]  # some wait already when Ctrl-C comes before the last
            while wanted := table.met():
                _pass(model, wanted)
        except BaseException:  # Ctrl-C, above all: nobody is left waiting
            table.close()
            raise
    return going


def _pass(model: "infoflow.models.model.Model", wanted: list[_Wanted]) -> None:
    """Run all that is wanted: of one length together, and one by one where that fails, so that it fails for one alone."""
    for length in sorted({len(one.ids) for one in wanted}):
        group = [one for one in wanted if len(one.ids) == length and not one.alone]
        if len(group) > 1:
            try:
                given = model.run_together([(one.ids, one.block, one.args) for one in group])
            except Exception:  # noqa: BLE001, S112  whosever it is, it is raised again below, where it belongs
                continue
            for one, value in zip(group, given, strict=True):
                one.given.set_result(value)
    for one in wanted:
        if not one.given.done():
            try:
                one.given.set_result(model.run(one.ids, one.block, *one.args))
            except Exception as error:  # noqa: BLE001  handed to the work that wanted it
                one.given.set_exception(error)
