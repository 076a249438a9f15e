"""Long work beside the page: it runs in a thread, reports its progress, and stops when the reader cancels it.

Work that is *kept* goes on while its reader is on another page, and is taken up again when they come back; any other stops
when its page is left or run again.
"""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

from infoflow.errors import Cancelled, InfoflowError
from infoflow.ui import blocks

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
    results: list[Any] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    thread: threading.Thread | None = None
    same: "Work | None" = None
    """the same asked before: what came of it at once, from a cache, took that one's time"""

    @property
    def running(self) -> bool:
        return self.ended is None

    @property
    def state(self) -> str:
        """What it is doing, or how it ended, in words."""
        if self.ended is None:
            return self.job.doing or "Starting …"
        if not self.errors:
            took = max(w.ended - w.begun for w in (self, self.same) if w is not None and w.ended is not None)
            return f"Done in {took:.1f} seconds."
        if isinstance(self.errors[0], Cancelled):
            return "Stopped."
        return str(self.errors[0]) if isinstance(self.errors[0], InfoflowError) else "Failed; this is a bug of the app."


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
    if now is None or now.key != keep or now.job.stopped or now.thread is None:
        before, now = now, _begin(work, keep, title)
        if before is not None:
            before.job.stop()
            now.same = before if before.key == keep and not before.errors else None
        if keep is not None:
            _kept()[name] = now
    thread = now.thread
    assert thread is not None
    place = st.empty()  # always there, so that what follows keeps its place on the page
    thread.join(patience)
    if thread.is_alive():

        def cancel() -> None:
            now.job.stop()
            on_cancel()

        try:
            with place.container(horizontal=True, vertical_alignment="center"):
                bar = st.progress(0.0, "Starting …", width="stretch")
                st.button("Cancel", on_click=cancel, key=f"{name}_cancel")
            while thread.is_alive():
                bar.progress(min(1.0, now.job.fraction), blocks.plain(now.job.doing) or "Working …")
                thread.join(0.05)
        finally:
            if keep is None:
                now.job.stop()
        place.empty()
    now.thread = None  # what it gave is taken: the next call asks anew
    if now.same is not None and now.same.same is not None:
        now.same = now.same.same
    if now.errors:
        raise now.errors[0]
    return now.results.pop()


def _begin(work: Callable[[Job], T], key: Hashable, title: str) -> Work:
    context = get_script_run_ctx()
    session = context.session_id if context is not None else ""
    found = Work(title, key, Job(lambda: not runtime.exists() or runtime.get_instance().is_active_session(session)))

    def target() -> None:
        try:
            found.results.append(work(found.job))
        except BaseException as error:  # noqa: BLE001  handed to the page's own thread, which raises it
            found.errors.append(error)
        found.ended = time.monotonic()

    found.thread = threading.Thread(target=target, daemon=True)
    add_script_run_ctx(found.thread, context)
    found.thread.start()
    return found
