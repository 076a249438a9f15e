"""What a page shows: the result of what is asked, or, when that fails or is stopped, the last good one.

The one place where pages load, test, run, report and refuse.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import streamlit as st

from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Request
from infoflow.errors import InfoflowError, TooLarge
from infoflow.pictures.picture import short
from infoflow.ui import asking, blocks, cache, jobs

R = TypeVar("R")


def of(request: Request[R], key: str, name: str, on_cancel: Callable[[], Any] = lambda: None) -> R:
    """The result of a request that a part of a page makes, with progress and Cancel; errors are the caller's to report."""
    return jobs.run(lambda job: cache.results(request, key, job.say), on_cancel=on_cancel, name=name).result


def last_good(name: str, request: Request[R], key: str) -> tuple[Request[R], Performed[R]] | None:
    """The result of a page's request; on a bad input or Cancel its message is shown and the page keeps what it showed before.

    `name` is what the page is called. Gives the request that is shown with its result; None only when there is nothing to
    show yet. Kept in the session: `{analysis}_shown` and `{analysis}_cancelled`.
    """
    with st.container():  # messages that come and go must not move what follows
        return _last_good(name, request, key)


def _last_good(name: str, request: Request[R], key: str) -> tuple[Request[R], Performed[R]] | None:
    page = request.analysis
    shown, cancelled = f"{page}_shown", f"{page}_cancelled"

    def cancel() -> None:
        st.session_state[cancelled] = request

    last: Request[R] | None = st.session_state.get(shown)
    if st.session_state.get(cancelled) == request:
        st.info("The run was stopped. Press Run to start it again.", icon=":material/cancel:")
    else:
        with blocks.reporting_errors():
            try:
                title = f"{name} of “{short(request.title)}” on {request.model.name}"
                work = lambda job: cache.results(request, key, job.say)  # noqa: E731
                found = jobs.run(work, on_cancel=cancel, name=page, keep=request, title=title)
                st.session_state[shown] = request
                return request, found
            except TooLarge as error:
                if not _offer_smaller(request, key, error):
                    raise
    if last is None:
        return None
    st.caption(f"Below is the last good run: {blocks.plain(last.title)}")
    before = last
    with blocks.reporting_errors():
        return before, jobs.run(lambda job: cache.results(before, key, job.say), on_cancel=cancel, name="last")
    return None


def _offer_smaller(request: Request[Any], key: str, error: TooLarge) -> bool:
    """The refusal, and buttons that run what fits, each with what it costs; False where nothing smaller can be made of it."""
    if type(request).smaller is Request.smaller:
        return False
    st.error(blocks.plain(str(error)), icon=":material/error:")
    offers: list[tuple[str, Request[Any], Any]] = []
    with suppress(InfoflowError):  # too long for the model itself, whatever its sources are
        offers = jobs.run(lambda job: cache.smaller(request, key, job.say), on_cancel=lambda: None, name="offers")
    with st.container(horizontal=True, vertical_alignment="center"):
        for kind, _, cost in offers:
            st.button(f"Run by {kind}", key=f"run_by_{kind}", on_click=_run_by, args=(kind,), help=f"Takes {cost}.")
    return True


def _run_by(sources: str) -> None:
    """Run the same prompt with its sources grouped."""
    st.session_state["run_by"] = sources
    asking.run_again()
