"""Controls that several pages have: none of them runs the model.

What a reader chose is found again on coming back: in the address where `bind` says so, else kept by Streamlit (`persist_state`).
"""

from collections.abc import Sequence

import streamlit as st


def choice(label: str, options: Sequence[str], default: str, key: str, help_text: str | None = None) -> str:
    """One of a few, as a row of buttons whose choice is in the address."""
    if st.session_state.get(key, default) not in options:
        st.session_state[key] = default  # an address that was typed
    chosen = st.segmented_control(
        label, options, default=default, required=True, key=key, bind="query-params", help=help_text
    )  # fmt: skip
    return chosen or default


def token(label: str, titles: dict[int, str], key: str, help_text: str, optional: bool = False) -> int | str | None:
    """One of the likely next tokens, or any text that is typed."""
    return st.selectbox(
        label,
        list(titles),
        index=None if optional else 0,
        format_func=lambda i: titles.get(i, str(i)),
        key=key,
        accept_new_options=True,
        placeholder="nothing" if optional else "a token",
        help=help_text,
        persist_state="session",
    )


def layer_and_head(n_layers: int, n_heads: int, no_layer: bool, no_head: bool) -> tuple[int, int]:
    """Which layer and head is looked at, here and on every other page."""
    for key, n in (("layer", n_layers), ("head", n_heads)):
        if not 0 <= int(st.session_state.get(key, 0)) < n:
            st.session_state[key] = 0  # of a larger model
    layer = st.selectbox("Layer", range(n_layers), key="layer", disabled=no_layer, bind="query-params", width=90)
    head = st.selectbox("Head", range(n_heads), key="head", disabled=no_head, bind="query-params", width=90)
    return int(layer), int(head)


def hide_first(key: str, help_text: str, in_address: bool = False) -> bool:
    """Whether the first token is set aside."""
    return st.toggle(
        "Hide first token", value=True, key=key, help=help_text, persist_state="session",
        bind="query-params" if in_address else None,
    )  # fmt: skip


def tokens_shown(n: int, most: int, key: str, note: str = "All of them were run.") -> tuple[int, int]:
    """First and last token of a picture that has room for so many."""
    if n <= most:
        return 0, n - 1
    low, high = st.slider(
        "Tokens", 0, n - 1, (n - most, n - 1), key=f"{key}_{n}", help="Which tokens the pictures show.", persist_state="session"
    )
    st.caption(f"The prompt has {n} tokens; pictures show {high - low + 1} of them, chosen above. {note}")
    return int(low), int(high)
