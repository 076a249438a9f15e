"""The run a page shows: the one asked for, or, when that fails or is stopped, the last good one."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import streamlit as st

from infoflow.analyses.flow import Flow
from infoflow.budget import Estimate
from infoflow.errors import InfoflowError, TooLarge
from infoflow.ui import blocks, cache, inputs, jobs
from infoflow.ui.inputs import Question

T = TypeVar("T")
Q = TypeVar("Q", bound=Question)


def last_good(page: str, name: str, asked: Q, work: Callable[[Q, jobs.Job], T]) -> tuple[Q, T] | None:
    """`work(asked)`; on a bad input or Cancel its message is shown and the page keeps what it showed before.

    `name` is what the page is called. Gives the question that is shown with its result; None only when there is nothing to
    show yet. Kept in the session:
    `{page}_shown` and `{page}_cancelled`.
    """
    with st.container():  # messages that come and go must not move what follows
        return _last_good(page, name, asked, work)


def _last_good(page: str, name: str, asked: Q, work: Callable[[Q, jobs.Job], T]) -> tuple[Q, T] | None:
    shown, cancelled = f"{page}_shown", f"{page}_cancelled"

    def cancel() -> None:
        st.session_state[cancelled] = asked

    last: Q | None = st.session_state.get(shown)
    if st.session_state.get(cancelled) == asked:
        st.info("The run was stopped. Press Run to start it again.", icon=":material/cancel:")
    else:
        with blocks.reporting_errors():
            try:
                title = f"{name} of “{shortened(asked.prompt)}” on {asked.model}"
                result = jobs.run(lambda job: work(asked, job), on_cancel=cancel, name=page, keep=asked, title=title)
                st.session_state[shown] = asked
                return asked, result
            except TooLarge as error:
                if not asked.can_group:
                    raise
                _offer_smaller(asked, error)
    if last is None:
        return None
    st.caption(f"Below is the last good run: {blocks.plain(last.prompt)}")
    with blocks.reporting_errors():
        return last, jobs.run(lambda job: work(last, job), on_cancel=cancel, name="last")
    return None


def _offer_smaller(asked: Question, error: TooLarge) -> None:
    """The refusal, and buttons that run the same prompt in fewer sources, each with what it costs."""
    st.error(blocks.plain(str(error)), icon=":material/error:")
    offers: list[tuple[str, Estimate]] = []
    with suppress(InfoflowError):  # too long for the model itself, whatever its sources are
        offers = jobs.run(
            lambda job: cache.smaller_runs(asked.place, asked.model, asked.prompt, job), on_cancel=lambda: None, name="offers"
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        for kind, cost in offers:
            st.button(f"Run by {kind}", key=f"run_by_{kind}", on_click=inputs.run_by, args=(kind,), help=f"Takes {cost}.")


def shortened(prompt: str, most: int = 40) -> str:
    """A prompt as a title has room for."""
    one_line = " ".join(prompt.split())
    return one_line if len(one_line) <= most else one_line[: most - 1] + "…"


def some_left(flow: Flow, hide: Sequence[str], scope: str) -> tuple[int, ...]:
    """The sources to hide; when that would be every one, says so and keeps to the last choice that left some."""
    key = f"flow_hidden_{scope}"
    with blocks.reporting_errors():
        mask = flow.hidden_mask(hide)
        st.session_state[key] = tuple(int(i) for i in mask.nonzero()[0])
    kept: tuple[int, ...] = st.session_state.get(key, ())
    return kept
