"""The frame of every page: title, one line of help, the router, and addresses of earlier versions."""

from pathlib import Path
from typing import Any

import streamlit as st

from infoflow.errors import InfoflowError
from infoflow.settings import settings
from infoflow.ui import blocks, streamlit_names

ICON = str(Path(__file__).with_name("icon.png"))
"""the browser tab's picture; a named symbol would be fetched from another host"""
RENAMED = {"sources": "grouping"}
"""parameters of addresses by their earlier names"""


def page(title: str, intro: str) -> None:
    """Title and one line of help, the same on every page. Each page calls it first, since a link can open it alone."""
    if streamlit_names.skips_the_router():
        streamlit_names.use_the_router()
        st.rerun()
    st.set_page_config(page_title=f"{title} · infoflow", page_icon=ICON, layout="wide")
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
    st.header(title, anchor=False)
    st.caption(intro)


IN_ADDRESS: dict[str, Any] = {"prompt": "", "model": "demo", "where": "here", "layer": 0, "head": 0}
"""what several pages have in their addresses, and what stands for each where it is left out"""


def _bring_along() -> None:
    """What came by a link goes along to the next page: at the first change of page Streamlit forgets what is not said again."""
    here, before = streamlit_names.this_page(), st.session_state.get("page")
    st.session_state["page"] = here
    if before not in (None, here):
        st.session_state.update({key: st.session_state[key] for key in IN_ADDRESS if key in st.session_state})


def settle() -> None:
    """Once a page's question stands, and at its end: its address has what was brought along, so that a reload shows the same."""
    chosen = {key: st.session_state.get(key) for key in IN_ADDRESS}
    streamlit_names.write_into_address({
        key: str(value) for key, value in chosen.items() if value is not None and value != IN_ADDRESS[key]
    })  # fmt: skip


def dark() -> bool:
    """Whether the reader's page is dark."""
    return st.context.theme.type == "dark"
