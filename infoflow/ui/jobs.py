"""Long work beside the page: it runs in a thread, reports its progress, and stops when the reader cancels it.

Work that is *kept* goes on while its reader is on another page, and is taken up again when they come back; any other stops
when its page is left or run again.
"""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, TypeVar

import streamlit as st

from infoflow.errors import Cancelled, InfoflowError
from infoflow.ui import blocks
from infoflow.ui.streamlit_names import for_this_reader, is_here

T = TypeVar("T")
ABSENT = 60.0
"""seconds that work goes on for a reader whose browser is gone"""


class Job:
    """Shared between the page and the thread: how far the work is, and whether it shall stop."""

    def __init__(self, present: Callable[[], bool] = lambda: True) -> None:
        self.fraction = 0.0
        self.doing = ""
        self._stop = threading.Event()
        self._present, self._seen, self._asked = present, time.monotonic(), time.monotonic()

    def say(self, doing: str, fraction: float = 0.0) -> None:
        """Called by the work; raises Cancelled once the page wants no more, or nobody is there any more.

        Raises:
            Cancelled: the reader stopped the run.
        """
        self.doing, self.fraction = doing, fraction
        now = time.monotonic()
        if now - self._asked > 2:
            self._asked = now
            if self._present():
                self._seen = now
            elif now - self._seen > ABSENT:
                self.stop()
        if self.stopped:
            raise Cancelled("The run was stopped. The picture is that of the last finished run.")

    def stop(self) -> None:
        self._stop.set()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()


@dataclass
class Work:
    """Work that was begun in this reader's session."""

    title: str
    key: Hashable
    job: Job
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None
    outcome: "futures.Future[Any]" = field(default_factory=futures.Future)
    taken: bool = False
    """whether the page has what it gave: the next call asks anew"""
    same: "Work | None" = None
    """the same asked before: what came of it at once, from a cache, took that one's time"""

    @property
    def running(self) -> bool:
        return self.ended is None

    @property
    def failure(self) -> BaseException | None:
        """What it ended with, if not with a result."""
        return self.outcome.exception() if self.outcome.done() else None

    @property
    def state(self) -> str:
        """What it is doing, or how it ended, in words."""
        if self.ended is None:
            return self.job.doing or "Starting …"
        if self.failure is None:
            took = max(w.ended - w.begun for w in (self, self.same) if w is not None and w.ended is not None)
            return f"Done in {took:.1f} seconds."
        if isinstance(self.failure, Cancelled):
            return "Stopped."
        return str(self.failure) if isinstance(self.failure, InfoflowError) else "Failed; this is a bug of the app."


def begun() -> list[Work]:
    """The kept work of this session, running or ended, the latest of each kind."""
    return list(_kept().values())


def _kept() -> dict[str, Work]:
    kept: dict[str, Work] = st.session_state.setdefault("jobs_kept", {})
    return kept


def run(
    work: Callable[[Job], T],
    on_cancel: Callable[[], Any],
    name: str = "job",
    patience: float = 0.4,
    keep: Hashable = None,
    title: str = "",
) -> T:
    """`work(job)` in a thread; after `patience` seconds a progress bar and a Cancel button appear.

    Errors of the work are raised here. `name` tells the jobs of one page apart. With `keep`, a value that says what is
    asked, the work outlives its page: the next call of the same name with the same value waits for it instead of
    beginning anew, and one with another value stops it. `title` is what a list of running work calls it.
    """
    now = _kept().get(name) if keep is not None else None
    if now is None or now.key != keep or now.job.stopped or now.taken:
        before, now = now, _begin(work, keep, title)
        if before is not None:
            before.job.stop()
            now.same = before if before.key == keep and before.failure is None else None
        if keep is not None:
            _kept()[name] = now
    place = st.empty()  # always there, so that what follows keeps its place on the page
    if not _done(now, patience):

        def cancel() -> None:
            now.job.stop()
            on_cancel()

        try:
            with place.container(horizontal=True, vertical_alignment="center"):
                bar = st.progress(0.0, "Starting …", width="stretch")
                st.button("Cancel", on_click=cancel, key=f"{name}_cancel")
            while not _done(now, 0.05):
                bar.progress(min(1.0, now.job.fraction), blocks.plain(now.job.doing) or "Working …")
        finally:
            if keep is None:
                now.job.stop()
        place.empty()
    now.taken = True
    if now.same is not None and now.same.same is not None:
        now.same = now.same.same
    outcome, now.outcome = now.outcome, _without_result(now.outcome)
    result: T = outcome.result()
    return result


def _done(now: Work, patience: float) -> bool:
    return bool(futures.wait([now.outcome], patience).done)


def _without_result(outcome: "futures.Future[Any]") -> "futures.Future[Any]":
    """The same end without what it gave, which belongs to the page now and not to the session."""
    if outcome.exception() is not None:
        return outcome
    ended: futures.Future[Any] = futures.Future()
    ended.set_result(None)
    return ended


def _begin(work: Callable[[Job], T], key: Hashable, title: str) -> Work:
    found = Work(title, key, Job(is_here()))

    def target() -> None:
        try:
            given = work(found.job)
        except BaseException as error:  # noqa: BLE001  handed to the page's own thread, which raises it
            found.ended = time.monotonic()
            found.outcome.set_exception(error)
        else:
            found.ended = time.monotonic()
            found.outcome.set_result(given)

    # not an executor's thread: a server that is stopped would wait for those
    for_this_reader(threading.Thread(target=target, daemon=True)).start()
    return found
