"""The frame of every page: title, one line of help, the router, and addresses of earlier versions."""

from pathlib import Path

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


def dark() -> bool:
    """Whether the reader's page is dark."""
    return st.context.theme.type == "dark"
