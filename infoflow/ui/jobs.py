"""Long work beside the page: it runs in a thread, reports its progress, and stops when the reader leaves or cancels."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx

from infoflow.errors import Cancelled

T = TypeVar("T")


class Job:
    """Shared between the page and the thread: how far the work is, and whether it shall stop."""

    def __init__(self) -> None:
        self.fraction = 0.0
        self.doing = ""
        self._stop = threading.Event()

    def say(self, doing: str, fraction: float = 0.0) -> None:
        """Called by the work; raises Cancelled once the page wants no more.

        Raises:
            Cancelled: the reader stopped the run.
        """
        self.doing, self.fraction = doing, fraction
        if self._stop.is_set():
            raise Cancelled("The run was stopped. The picture is that of the last finished run.")

    def stop(self) -> None:
        self._stop.set()


def run(work: Callable[[Job], T], on_cancel: Callable[[], Any], name: str = "job", patience: float = 0.4) -> T:
    """`work(job)` in a thread; after `patience` seconds a progress bar and a Cancel button appear.

    Leaving the page, or any click that reruns it, stops the work at its next report. Errors of the work are raised here.
    `name` tells the jobs of one page apart.
    """
    job = Job()
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(work(job))
        except BaseException as error:  # noqa: BLE001  handed to the page's own thread, which raises it
            errors.append(error)

    thread = threading.Thread(target=target, daemon=True)
    add_script_run_ctx(thread, get_script_run_ctx())
    thread.start()
    place = st.empty()  # always there, so that what follows keeps its place on the page
    thread.join(patience)
    if thread.is_alive():
        try:
            with place.container(horizontal=True, vertical_alignment="center"):
                bar = st.progress(0.0, "Starting …", width="stretch")
                st.button("Cancel", on_click=on_cancel, key=f"{name}_cancel")
            while thread.is_alive():
                bar.progress(min(1.0, job.fraction), job.doing or "Working …")
                time.sleep(0.05)
        finally:
            job.stop()
        place.empty()
    if errors:
        raise errors[0]
    return results[0]
