"""What this reader has looked at, and the saved session that is open: its results are shown with no model and no run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st

from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Request
from infoflow.analyses.selftest import of_kept
from infoflow.files.results import kinds
from infoflow.files.sessions import Entry, Session
from infoflow.models.spec import ModelSpec

MOST = 60
"""requests that are remembered; the oldest go"""
_POSITIONS = ("position", "query", "key_position")
_SEEN, _HERE, _OPEN = "seen", "seen_here", "session_open"


@dataclass
class Seen:
    """One result that was on the screen."""

    request: Request[Any]
    main: bool
    """whether it is a page's own, and not a part's"""
    view: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """the page's address when it was looked at last"""


@dataclass(frozen=True)
class Opened:
    """The session that is open."""

    session: Session
    name: str = ""
    """of its file in the library; '' where it was uploaded"""

    @property
    def title(self) -> str:
        return self.session.title or "a session"


def note(request: Request[Any], result: Any, main: bool) -> None:
    """A result is on the screen."""
    if type(result).__name__ not in kinds():
        return
    log = _log()
    before = log.pop(request.key, None)
    log[request.key] = Seen(request, main or (before is not None and before.main), before.view if before else {})
    if main:
        st.session_state[_HERE] = request.key
    while len(log) > MOST:
        del log[next(iter(log))]


def look() -> None:
    """Remember the address of the page, which says how its result is looked at."""
    here = _log().get(st.session_state.get(_HERE, ""))
    if here is not None:
        here.view = {name: tuple(st.query_params.get_all(name)) for name in st.query_params}


def leave() -> None:
    """Another page begins: its address is of nothing that was seen before."""
    st.session_state.pop(_HERE, None)


def seen() -> list[Seen]:
    """What was on the screen, the latest first."""
    return list(_log().values())[::-1]


def _log() -> dict[str, Seen]:
    log: dict[str, Seen] = st.session_state.setdefault(_SEEN, {})
    return log


def opened() -> Opened | None:
    """The session that is open."""
    found: Opened | None = st.session_state.get(_OPEN)
    return found


def open_session(session: Session, name: str = "") -> None:
    """From now on its results are shown wherever they are asked for."""
    st.session_state[_OPEN] = Opened(session, name)


def close_session() -> None:
    """From now on everything is run again."""
    st.session_state.pop(_OPEN, None)


def kept(request: Request[Any]) -> Performed[Any] | None:
    """The result of a request, where the open session has it. Of the model its name and where it runs count: how weights are
    held is the session's, unless another way is asked for than that of all pages (Compare)."""
    open_now = opened()
    if open_now is None:
        return None
    alike = [entry for entry in open_now.session.entries if _same(request, entry)]
    if not alike:
        return None
    found = next((entry for entry in alike if entry.request.model == request.model), alike[0])
    verdict = of_kept(found.result)
    return Performed(found.result, verdict, has_template=_has_template(found), kept=open_now.title)


def _same(asked: Request[Any], entry: Entry) -> bool:
    n = len(getattr(entry.result, "tokens", ()))
    return type(asked) is type(entry.request) and _plain(asked, n) == _plain(entry.request, n) and _of_model(asked.model, entry)


def _of_model(asked: ModelSpec, entry: Entry) -> bool:
    kept_of, ran = entry.request.model, entry.result.provenance.request.model
    held = ("auto", st.session_state.get("dtype", "auto"), kept_of.dtype, ran.dtype)
    return asked.name in (kept_of.name, exact_name(kept_of)) and asked.host == kept_of.host and asked.dtype in held


def exact_name(spec: ModelSpec) -> str:
    """A model with its revision, as it is typed."""
    return f"{spec.name}@{spec.revision}" if spec.revision else spec.name


def _plain(request: Request[Any], n: int) -> Request[Any]:
    """A request of no model, with its positions counted from the first token, as they are in what Python has kept."""
    fields: dict[str, Any] = {"model": ModelSpec()}
    for name in _POSITIONS:
        value = getattr(request, name, None)
        if isinstance(value, int) and -n <= value < 0:
            fields[name] = value + n
    return replace(request, **fields)


def _has_template(entry: Entry) -> bool:
    return any(getattr(answer, "form", "") == "chat" for answer in getattr(entry.result, "answers", ()))


def of_view(view: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """An address as a link is given it: of what is there several times a list."""
    return {name: list(values) if len(values) > 1 else values[0] for name, values in view.items() if values}
