"""The frame of every page: one line with its title, verdict and help, what is asked in the sidebar, the router, and addresses of
earlier versions."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitPageNotFoundError

from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Request
from infoflow.errors import InfoflowError
from infoflow.interventions import described
from infoflow.pictures.picture import short
from infoflow.settings import settings
from infoflow.text.glossary import WORDS
from infoflow.ui import blocks, seen, streamlit_names
from infoflow.ui.changes import count

ICON = str(Path(__file__).with_name("icon.png"))
"""the browser tab's picture; a named symbol would be fetched from another host"""
STYLE = Path(__file__).with_name("frame.css")
DARK = '<style>[data-testid^="stBaseButton-primary"] { color: #191816; }</style>'
"""text on the dark theme's light accent, where Streamlit writes white"""
RENAMED = {"sources": "grouping"}
"""parameters of addresses by their earlier names"""
SIDEBAR = 320
"""pixels: room to type in"""
BADGE = """The self-test: a short prompt decomposed on this model, and held against what the model itself computed."""
BADGE_STORED = """A stored run of this example, held against what the model itself computed then."""
WEIGHTS = """How the weights were stored before they were read. All that is shown is of the dequantised ones, and exact for
them: the model as it was trained may say something else."""
SAVED = """Shown from the session that is open: nothing was run, and no model is needed. Close it on Sessions to run it again."""
DIFFERENCE = "A click shows before, after and the difference; the switch in the sidebar shows either here."
SHOWN = "What is shown. A click opens the sidebar, where something else can be asked."
_OPEN, _OPENED = "sidebar_open", "sidebar_opened"
_BADGES: dict[str, tuple[Literal["green", "orange", "red"], str]] = {
    "exact": ("green", ":material/verified:"),
    "approximate": ("orange", ":material/warning:"),
    "unsupported": ("red", ":material/error:"),
}


def page(title: str, intro: str, use: str = "", words: Sequence[str] = ()) -> DeltaGenerator:
    """The page's first line, the same on every page: its title, and how to read it behind a button, with
    `words` of the glossary. Each page calls it first, since a link can open it alone. Gives the place in that line where `shown`
    says what is shown."""
    if streamlit_names.skips_the_router():
        streamlit_names.use_the_router()
        st.rerun()
    st.set_page_config(page_title=f"{title} · infoflow", page_icon=ICON, layout="wide", initial_sidebar_state=SIDEBAR)
    st.html(STYLE)
    if dark():
        st.html(DARK)
    if streamlit_names.came_by_history():
        streamlit_names.read_address_again()
    _bring_along()
    for before, now in RENAMED.items():
        if before in st.query_params:
            st.session_state.setdefault(now, st.query_params[before])
            del st.query_params[before]
    try:
        settings()
    except InfoflowError as error:  # of whoever runs the app: nothing can be run before it is mended
        blocks.failed(error)
        st.stop()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="first_line"):
        st.title(title, anchor=False, width="content")
        place = st.container(horizontal=True, vertical_alignment="center", gap="small")
        with st.popover("How to read this", icon=":material/help:", type="tertiary"):
            st.markdown(intro)
            if use:
                st.markdown(use)
            for word in words:
                st.markdown(f"**{word}**: {WORDS[word]}")
    return place


def shown(place: DeltaGenerator, request: Request[Any], run: Performed[Any]) -> None:
    """The self-test's verdict, and which prompt on which model the page shows; a click on that opens the sidebar."""
    found, made = run.verdict, getattr(run.result, "provenance", None)
    colour, icon = _BADGES[found.verdict]
    with place:
        st.badge(found.verdict, icon=icon, color=colour, help=blocks.plain(f"{_badge(run)} {found.reason}"))
        if run.kept:
            saved(run.kept)
        if made is not None and made.weights:
            st.badge(made.weights, color="gray", help=WEIGHTS)
        if request.interventions:
            _changed(request)
        where = f"{request.model.name}{' on NDIF' if request.model.hosted else ''}"
        name = where if len(where) <= 40 else f"…{where[-39:]}"  # of a path, its end says more
        words = blocks.plain(f"“{short(request.title, 32)}” on {name}")
        st.button(words, key="shown", type="tertiary", help=SHOWN, on_click=_open_sidebar, wrap=True)


def saved(title: str, whose: str = "") -> None:
    """That a result is of the session that is open."""
    st.badge(f"saved{whose}: {blocks.plain(short(title, 24))}", icon=":material/inventory_2:", color="gray", help=SAVED)


_VIEWS = {"flow": "flow", "location": "answer", "attention": "attention", "logit_lens": "lens"}
"""what of a page's analysis is compared on the Interventions page"""


def _changed(request: Request[Any]) -> None:
    """That the run is a changed one; a click leads to what this page shows before and after, and the difference."""
    said, number = blocks.plain(" ".join(described(one) for one in request.interventions)), count(len(request.interventions))
    if request.analysis in _VIEWS:
        with suppress(StreamlitPageNotFoundError):  # no other page is there where this one stands alone
            view = {"change_view": _VIEWS[request.analysis]}
            label = f":orange-badge[:material/science: {number}] difference →"
            st.page_link("pages/interventions.py", label=label, query_params=view, help=f"{said} {DIFFERENCE}")
            return
    st.badge(number, icon=":material/science:", color="orange", help=said)


def _badge(run: Performed[Any]) -> str:
    """What the verdict rests on."""
    return BADGE if run.cost else "" if run.kept else BADGE_STORED


def _open_sidebar() -> None:
    st.session_state[_OPEN] = st.session_state.get(_OPEN, 0) + 1


def _bring_along() -> None:
    """What was chosen goes along to the next page and is found again on coming back: what a widget bound to the address shows is
    forgotten by Streamlit at a change of page, unless it is said again."""
    here, before = streamlit_names.this_page(), st.session_state.get("page")
    st.session_state["page"] = here
    if before not in (None, here):
        seen.leave()
        keys = streamlit_names.bound_keys()
        brought = [key for key in keys if key in st.session_state and key not in st.query_params]  # a link's own come first
        st.session_state.update({key: st.session_state[key] for key in brought})


def settle() -> None:
    """At a page's end: its address has all that was brought along, so that a reload and Back show the same."""
    streamlit_names.write_bound()
    seen.look()
    st.html(streamlit_names.ONE_ENTRY_A_PAGE, unsafe_allow_javascript=True)
    asked = st.session_state.get(_OPEN, 0)
    if asked != st.session_state.get(_OPENED, 0):
        st.session_state[_OPENED] = asked
        st.html(streamlit_names.OPEN_SIDEBAR.format(asked), unsafe_allow_javascript=True)


def dark() -> bool:
    """Whether the reader's page is dark."""
    return st.context.theme.type == "dark"
