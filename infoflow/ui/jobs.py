"""Long work beside the page: it runs in a thread, reports its progress, and stops when the reader cancels it.

Work that is *kept* goes on while its reader is on another page, and is taken up again when they come back; any other stops
when its page is left or run again. Whatever is begun is either watched by a page, or listed in its reader's session and
stopped when that is gone.
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, TypeVar

import streamlit as st

from infoflow.errors import Cancelled, InfoflowError, without_frames
from infoflow.turns import Line, as_visitor
from infoflow.ui import blocks
from infoflow.ui.streamlit_names import asked_again, for_this_reader, is_here, reader

T = TypeVar("T")
ABSENT = 60.0
"""seconds that work goes on for a reader whose browser is gone"""
PLACES = 16
"""so many pieces of work are under way at once, of all readers; others wait for a place"""
PATIENCE = 0.4
"""seconds after which progress is shown, and Cancel"""
TELLS, SOON = 4.0, 0.05
"""seconds and the fraction from which the time that is left is told"""
_log = logging.getLogger(__name__)


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


class Places:
    """Threads for work, at most so many at once; the rest wait, one of each reader after the other."""

    def __init__(self, most: int) -> None:
        self._free, self._lock = most, threading.Lock()
        self._waiting: Line[threading.Thread] = Line()

    def begin(self, work: Callable[[], None]) -> threading.Thread:
        """Do it in a thread, for the reader whose page this is, now or when there is a place."""
        who = reader()

        def target() -> None:
            try:
                with as_visitor(who):
                    work()
            finally:
                self._next()

        # not an executor's thread: a server that is stopped would wait for those
        thread = for_this_reader(threading.Thread(target=target, daemon=True))
        with self._lock:
            if not self._free:
                self._waiting.put(who, thread)
                return thread
            self._free -= 1
        try:
            thread.start()
        except BaseException:  # there is no thread to be had
            self._next()
            raise
        return thread

    def before(self, thread: threading.Thread) -> int:
        """As which of those that wait for a place it comes, from 1; 0 when it has begun."""
        with self._lock:
            return self._waiting.place(thread)

    def _next(self) -> None:
        with self._lock:
            if not len(self._waiting):
                self._free += 1
                return
            thread = self._waiting.take()
        try:
            thread.start()
        except RuntimeError:  # there is no thread to be had: this one, which is at its end, does it
            thread.run()


@st.cache_resource(show_spinner=False)
def _places() -> Places:
    return Places(PLACES)


@dataclass
class Work:
    """Work that was begun in this reader's session."""

    title: str
    key: Hashable
    job: Job
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None
    failure: str = ""
    """what it ended with, if not with a result: words, and not the error's frames, which would keep tensors and model alive"""
    outcome: "futures.Future[Any] | None" = field(default_factory=futures.Future)
    """None once the page has it: what it gave belongs to the page and not to the session"""
    thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self.ended is None

    @property
    def doing(self) -> str:
        """What it is doing now, in words."""
        if self.job.stopped:  # it hears of that at its next report
            return "Stopping …"
        before = _places().before(self.thread) if self.thread is not None else 0
        if before:
            return f"Waiting for a free place, as number {before} …"
        return self.job.doing or "Starting …"

    @property
    def state(self) -> str:
        """What it is doing, or how it ended, in words."""
        if self.ended is None:
            return self.doing
        return f"Done in {self.ended - self.begun:.1f} seconds." if not self.failure else self.failure


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
    patience: float = PATIENCE,
    keep: Hashable = None,
    title: str = "",
    at_hand: Callable[[], T | None] = lambda: None,
) -> T:
    """`work(job)` in a thread; after `patience` seconds a progress bar and a Cancel button appear.

    Errors of the work are raised here. `name` tells the jobs of one page apart. With `keep`, a value that says what is
    asked, the work outlives its page: the next call of the same name with the same value waits for it instead of
    beginning anew, and one with another value stops it. `title` is what a list of running work calls it. `at_hand` gives
    what needs no work, if it can, before any is begun.
    """
    before = _kept().get(name) if keep is not None else None
    going = before is not None and before.key == keep and before.outcome is not None  # or was stopped, elsewhere
    if before is not None and not going:
        before.job.stop()
    now = before if before is not None and going else None
    if now is None:
        found = at_hand()
        if found is not None:
            return found
        now = Work(title, keep, Job(is_here()))
        if keep is not None:
            _kept()[name] = now  # listed before it begins, so that nothing runs that nobody could stop
    try:
        return _watched(now, work, on_cancel, name, patience)
    finally:  # whatever ends this run of the page
        if keep is None:
            now.job.stop()


def _watched(now: Work, work: Callable[[Job], T], on_cancel: Callable[[], Any], name: str, patience: float) -> T:
    outcome = now.outcome
    assert outcome is not None  # only one page at a time watches it
    if now.thread is None:
        now.thread = _places().begin(lambda: _do(now, work, outcome))
    place = st.empty()  # always there, so that what follows keeps its place on the page
    if not _done(outcome, patience):

        def cancel() -> None:
            now.job.stop()
            now.outcome = None
            on_cancel()

        with place.container(horizontal=True, vertical_alignment="center"):
            bar = st.progress(0.0, "Starting …", width="stretch")
            st.button("Cancel", on_click=cancel, key=f"{name}_cancel")
        while not _done(outcome, 0.05):
            bar.progress(min(1.0, now.job.fraction), blocks.plain(f"{now.doing}{_left(time.monotonic() - now.begun, now.job)}"))
            if asked_again():
                st.rerun()
        place.empty()
    now.outcome = None
    result: T = outcome.result()
    return result


def _left(gone: float, job: Job) -> str:
    """How much longer it takes, as far as it can be told; '' at first, and where it can't."""
    if gone < TELLS or not SOON < job.fraction < 1:
        return ""
    left = gone * (1 - job.fraction) / job.fraction
    return f" · about {left:.0f} s left" if left < 90 else f" · about {left / 60:.0f} min left"


def _done(outcome: "futures.Future[Any]", patience: float) -> bool:
    return bool(futures.wait([outcome], patience).done)


def _do(now: Work, work: Callable[[Job], Any], outcome: "futures.Future[Any]") -> None:
    """In the thread: the work, and how it ended."""
    try:
        now.job.say("")  # it may have been stopped while it waited for its place
        given = work(now.job)
    except BaseException as error:  # noqa: BLE001  handed to the page's own thread, which raises it
        cancelled, told = isinstance(error, Cancelled), isinstance(error, InfoflowError)
        if not told:
            _log.error("A run failed; this is a bug.\n%s", "".join(traceback.format_exception(error)))  # as text: no frames
        words = "Stopped." if cancelled else str(error) if told else "Failed; this is a bug of the app."
        now.failure, now.ended = words, time.monotonic()
        outcome.set_exception(without_frames(error))
    else:
        now.ended = time.monotonic()
        outcome.set_result(given)
