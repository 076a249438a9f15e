"""What a page shows: the result of what is asked, or, when that fails or is stopped, the last good one.

The one place where pages load, test, run, report and refuse.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import streamlit as st

from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.patching import PatchRequest
from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Request
from infoflow.analyses.selftest import Verdict
from infoflow.errors import BadPrompt, Cancelled, InfoflowError, NotAllowed, TooLarge, without_frames
from infoflow.pictures.picture import short
from infoflow.ui import asking, blocks, cache, jobs, seen

STOPPED = "The run was stopped."
R = TypeVar("R")
Offer = tuple[str, Request[Any], Any]


@dataclass(frozen=True)
class Failed:
    """A request that failed, remembered so that it is not sent again by every click; Run, or another question, clears it."""

    request: Request[Any]
    error: InfoflowError
    offers: tuple[Offer, ...] | None = None
    """what may be run instead; None where nothing was looked for"""


def of(
    request: Request[R], key: str, name: str, on_cancel: Callable[[], Any] | None = None, noted: bool = True, **how: float
) -> R:
    """The result of a request that a part of a page makes: `performed` without what is to be said of the model.

    Raises:
        InfoflowError: what running raises; what it raised before, until it is tried again.
    """
    return performed(request, key, name, on_cancel, noted, **how).result


def performed(
    request: Request[R], key: str, name: str, on_cancel: Callable[[], Any] | None = None, noted: bool = True, **how: float
) -> Performed[R]:
    """A request that a part of a page makes, with progress and Cancel; errors are the caller's to report. A failure that another
    try may end otherwise has a button for it, and so has a run that was stopped, where `on_cancel` does not take its question
    back; a split that is too large has one for each smaller one, which sets `controls.run_by`. `noted`: it counts as looked at.
    `how`: the `patience` of `jobs.run`.

    Raises:
        InfoflowError: what running raises; what it raised before, until it is tried again.
    """
    kept = f"{name}_failed"
    before: Failed | None = st.session_state.get(kept)
    if before is None or before.request != request:
        stopped = partial(st.session_state.__setitem__, kept, Failed(request, Cancelled(STOPPED)))
        try:
            return _performed(request, key, name, on_cancel or stopped, noted, **how)
        except Cancelled:
            raise
        except InfoflowError as error:
            before = _remembered(kept, request, error, key)
    if not _offered(before) and _may_end_otherwise(before.error):
        st.button("Try again", key=f"{name}_again", on_click=_forget, args=(kept,), icon=":material/refresh:")
    raise before.error


def here(request: Request[Any], key: str) -> bool:
    """Whether a result is at hand, without a run."""
    return (seen.kept(request) or cache.at_hand(request, key)) is not None


def refused(request: PatchRequest, key: str, name: str) -> tuple[Offer, ...] | None:
    """None where a run that is made in parts may be begun; else its refusal is shown, and what may be run instead comes back.

    Raises:
        InfoflowError: what loading raises.
    """
    kept = f"{name}_refused"
    before: Failed | None = st.session_state.get(kept)
    if before is None or before.request != request:
        error, offers = jobs.run(lambda job: cache.refusal(request, key, job.say), on_cancel=lambda: None, name=kept)
        st.session_state[kept] = before = _failed(request, error or InfoflowError(""), tuple(offers) if error else None)
    if before.offers is not None:
        blocks.failed(before.error)
    return before.offers


def _performed(
    request: Request[R], key: str, name: str, on_cancel: Callable[[], Any], noted: bool = True, **how: Any
) -> Performed[R]:
    held = seen.kept(request)
    found: Performed[R] = held or jobs.run(
        lambda job: cache.results(request, key, job.say),
        on_cancel=on_cancel,
        name=name,
        at_hand=lambda: cache.at_hand(request, key),
        **how,
    )
    if noted:
        seen.note(request, found.result, main="keep" in how or name == "last")
    return found


def _may_end_otherwise(error: InfoflowError) -> bool:
    """Whether the same, tried again, may be answered."""
    return not (isinstance(error, BadPrompt | NotAllowed) or (isinstance(error, TooLarge) and error.always))


def _failed(request: Request[Any], error: InfoflowError, offers: tuple[Offer, ...] | None = None) -> Failed:
    without_frames(error)  # they would keep what the run held for as long as the session lasts
    return Failed(request, error, offers)


def _forget(kept: str) -> None:
    st.session_state.pop(kept, None)


def last_good(name: str, request: Request[R], key: str) -> tuple[Request[R], Performed[R]] | None:
    """The result of a page's request; on a bad input or Cancel its message is shown and the page keeps what it showed before.

    `name` is what the page is called. Gives the request that is shown with its result; None only when there is nothing to
    show yet. Kept in the session: `{analysis}_shown`, `{analysis}_cancelled` and `{analysis}_failed`.
    """
    with st.container():  # messages that come and go must not move what follows
        return _last_good(name, request, key)


def before(page: str, key: str, on_cancel: Callable[[], Any] = lambda: None) -> tuple[Request[Any], Performed[Any]] | None:
    """The last good run of a page's analysis, said to be that; None where there is none."""
    last: Request[Any] | None = st.session_state.get(f"{page}_shown")
    if last is None:
        return None
    st.caption(f"Below is the last good run: {blocks.plain(last.title)}")
    with blocks.reporting_errors():
        kept = _performed(last, key, "last", on_cancel)
        _tell_beside(kept)
        return last, kept
    return None


def _last_good(name: str, request: Request[R], key: str) -> tuple[Request[R], Performed[R]] | None:
    page = request.analysis
    shown, cancelled, failed = f"{page}_shown", f"{page}_cancelled", f"{page}_failed"

    def cancel() -> None:
        st.session_state[cancelled] = request

    failure: Failed | None = st.session_state.get(failed)
    if st.session_state.get(cancelled) == request:
        _tell_cancelled(page)
    elif failure is not None and failure.request == request:
        _tell(failure, page)
    else:
        title = f"{name} of “{short(request.title)}” on {request.model.name}"
        try:
            found = _performed(request, key, page, cancel, keep=request, title=title)
            st.session_state[shown] = request
            _tell_beside(found)
            return request, found
        except Cancelled:  # from elsewhere: the Models page lists what runs
            cancel()
            _tell_cancelled(page)
        except InfoflowError as error:
            _tell(_remembered(failed, request, error, key), page)
    return before(page, key, cancel)


def _tell_beside(found: Performed[Any]) -> None:
    """What the self-test said of a model that it refused, and what is to be said of the prompt."""
    blocks.told(getattr(found.result, "notes", ()))
    if found.verdict.verdict == Verdict.UNSUPPORTED:
        st.warning(blocks.plain(f"Do not rely on what is shown for this model. {found.verdict.reason}"), icon=":material/error:")


def _remembered(kept: str, request: Request[Any], error: InfoflowError, key: str) -> Failed:
    """A failure as it is remembered, with what fits instead."""
    failure = st.session_state[kept] = _failed(request, error)  # at once: looking for offers may be interrupted
    if isinstance(error, TooLarge):
        failure = st.session_state[kept] = replace(failure, offers=_offers(request, key))
    return failure


def _offers(request: Request[Any], key: str) -> tuple[Offer, ...] | None:
    """What fits, each with what it costs; None where there is no such choice: of a flow's sources, named by a grouping, there
    is."""
    if not (isinstance(request, FlowRequest) and isinstance(request.sources, str)):
        return None
    with suppress(InfoflowError):  # too long for the model itself, whatever its sources are
        found = jobs.run(lambda job: cache.smaller(request, key, job.say), on_cancel=lambda: None, name="offers")
        return tuple(found)
    return ()


def _tell_cancelled(page: str) -> None:
    st.info(STOPPED, icon=":material/cancel:")
    _again(page)


def _again(page: str) -> None:
    """What Run does, also where a page has none."""
    st.button("Try again", key=f"{page}_again", on_click=asking.run_again, icon=":material/refresh:")


def _tell(failure: Failed, page: str) -> None:
    """The message, and buttons that run what fits, or the same again where another try may end otherwise."""
    blocks.failed(failure.error)
    if not _offered(failure) and _may_end_otherwise(failure.error):
        _again(page)


def _offered(failure: Failed) -> bool:
    """Buttons that run what fits; whether there are any."""
    if failure.offers:
        with st.container(horizontal=True, vertical_alignment="center"):
            for kind, _, cost in failure.offers:
                st.button(f"Run by {kind}", key=f"run_by_{kind}", on_click=_run_by, args=(kind,), help=f"Takes {cost}.")
    return bool(failure.offers)


def _run_by(sources: str) -> None:
    """Run the same prompt with its sources grouped."""
    st.session_state["run_by"] = sources
    asking.run_again()
