"""What of a view is in the page's address though no widget holds it: a bar that was clicked, a conversation.

The address counts when a page is first drawn, and after Back or Forward; from then on what the session holds, which is written
into the address. What widgets hold is bound to it by Streamlit (`bind="query-params"`).
"""

from collections.abc import Sequence

import streamlit as st

from infoflow.ui import streamlit_names


def restored(name: str) -> tuple[str, ...]:
    """What is held under a name; `()` for nothing."""
    key = _key(name)
    if key not in st.session_state or streamlit_names.came_by_history():
        st.session_state[key] = tuple(st.query_params.get_all(name))
    held: tuple[str, ...] = st.session_state[key]
    return held


def hold(name: str, values: Sequence[str]) -> None:
    """Hold this from now on."""
    st.session_state[_key(name)] = tuple(values)


def write(name: str) -> None:
    """Put what is held into the address, or take it out where nothing is."""
    held = st.session_state.get(_key(name), ())
    if tuple(st.query_params.get_all(name)) != held:
        if held:
            st.query_params[name] = list(held)
        else:
            st.query_params.pop(name, None)


def _key(name: str) -> str:
    return f"address_{name}"
