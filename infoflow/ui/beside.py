"""The open session beside another saved one: results of the same analysis, value by value."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import streamlit as st

from infoflow.errors import BadPrompt
from infoflow.files import formats
from infoflow.files.library import Library, Listed
from infoflow.files.sessions import Entry, Session
from infoflow.pictures.picture import picture_of, short
from infoflow.studies.compare import Comparison, compare
from infoflow.ui import blocks
from infoflow.ui.frame import dark

BESIDE = """Another saved session: results of the same analysis are held against each other, value by value, the open one as A."""
NONE = "Neither has a result of an analysis that the other has, too, and that can be compared."
_OTHER = "session_other"


def beside(found: Session, saved: Sequence[Listed]) -> None:
    """Choose another session, and see what is different in it."""
    names = {one.name: f"{one.title} · {one.made[:10]}" for one in saved if not one.broken}
    chosen = st.selectbox(
        "Compare with", list(names), index=None, key="session_beside", format_func=lambda name: names.get(name, name),
        placeholder="another session", help=BESIDE, persist_state="session", width=420,
    )  # fmt: skip
    if chosen is None:
        return
    pairs = compared(found, _other(chosen))
    if not pairs:
        st.caption(NONE)
    for number, one in enumerate(pairs):
        with blocks.fold(_title(one), f"beside_{number}") as is_open:
            if is_open:
                _pair(one, number)


def _title(found: Comparison) -> str:
    a, b = (blocks.plain(short(one.provenance.prompt)) for one in (found.a, found.b))
    return f"{found.kind.replace('_', ' ').capitalize()}: A “{a}”, B “{b}”"


def _pair(found: Comparison, number: int) -> None:
    st.markdown(blocks.plain(found.summary()))
    draw = partial(picture_of, found)
    drawn = draw(dark=dark())
    blocks.chart(drawn.chart, key=f"beside_{number}_chart", alt=f"{drawn.title}. {found.summary()}")
    st.caption(blocks.plain(f"{drawn.title}. {drawn.note}"))
    as_json = partial(formats.frame_json, drawn.frame, found.provenance)
    blocks.downloads(drawn, as_json, dark(), found.provenance, f"beside_{number}_", found, draw)


def _other(name: str) -> Session:
    """The other session, read once.

    Raises:
        BadFile: it can't be read.
    """
    held = st.session_state.get(_OTHER)
    if held is None or held[0] != name:
        held = st.session_state[_OTHER] = (name, Library().open(name))
    session: Session = held[1]
    return session


def compared(a: Session, b: Session) -> list[Comparison]:
    """Of each analysis the results of both: those of one prompt, then the others in their order; those that can't be compared
    are left out."""
    out: dict[int, Comparison] = {}
    left: list[Entry] = list(b.entries)
    for alike in (True, False):
        for number, one in enumerate(a.entries):
            for other in [entry for entry in left if number not in out and type(entry.result) is type(one.result)]:
                if alike and other.request.prompt != one.request.prompt:
                    continue
                with suppress(BadPrompt):
                    out[number] = compare(one.result, other.result)
                    left = [entry for entry in left if entry is not other]
                    break
    return [out[number] for number in sorted(out)]
