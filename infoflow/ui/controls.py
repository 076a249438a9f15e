"""Controls that several pages have: none of them runs the model.

What a reader chose is found again on coming back: in the address where `bind` says so, else kept by Streamlit (`persist_state`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitPageNotFoundError

from infoflow.ui import address
from infoflow.ui.places import Places

RUN_BY = ("tokens", "words", "sentences", "64 spans", "32 spans", "16 spans")
RUN_BY_HELP = """What the run keeps apart. **tokens** can be grouped afterwards at will; memory grows with the square of the
number of sources, so long prompts need **words**, **sentences**, or equal **spans**. The first token is always a span of
its own."""


def row() -> DeltaGenerator:
    """The one line of controls above the picture, their labels beside them."""
    return st.container(horizontal=True, gap="small", vertical_alignment="center", key="controls")


@contextmanager
def more(defaults: Mapping[str, Any]) -> Iterator[None]:
    """The controls that matter less, behind a button that says how many differ from `defaults` (by key)."""
    changed = sum(_differs(key, default) for key, default in defaults.items())
    with st.popover(f"More ({changed} changed)" if changed else "More", key="more"):
        yield


def _differs(key: str, default: Any) -> bool:
    if key in st.session_state or key not in st.query_params:
        return bool(st.session_state.get(key, default) != default)
    return [text.lower() for text in st.query_params.get_all(key)] != [str(default).lower()]  # a link has just brought it


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
        bind="query-params",
    )


def held_choice(
    label: str, titles: Mapping[str, str], place: Places, scope: str, help_text: str, none: str, width: int
) -> str | None:
    """One of some values by their titles, or any text that is typed; None for none. The address holds the value itself, which
    means the same where the titles are not known yet; it belongs to `scope`."""
    key = f"{place.name}_choice_{scope}"
    st.session_state[key] = place.chosen(scope) or None
    st.selectbox(
        label, list(titles), index=None, key=key, format_func=lambda value: titles.get(value, value), accept_new_options=True,
        placeholder=none, help=help_text, width=width, persist_state="session",
        on_change=lambda: place.choose(scope, (st.session_state[key] or "").strip()),
    )  # fmt: skip
    address.write(place.name)
    return place.chosen(scope) or None


def run_by(width: int | Literal["stretch"] = "stretch") -> str:
    """What a split keeps apart, here and on every other page."""
    return st.selectbox("Run by", RUN_BY, key="run_by", bind="query-params", help=RUN_BY_HELP, width=width)


def layer_and_head(n_layers: int, n_heads: int, no_layer: bool, no_head: bool) -> tuple[int, int]:
    """Which layer and head is looked at, here and on every other page."""
    for key, n in (("layer", n_layers), ("head", n_heads)):
        if not 0 <= int(st.session_state.get(key, 0)) < n:
            st.session_state[key] = 0  # of a larger model
    layer = st.selectbox("Layer", range(n_layers), key="layer", disabled=no_layer, bind="query-params", width=140)
    head = st.selectbox("Head", range(n_heads), key="head", disabled=no_head, bind="query-params", width=140)
    return int(layer), int(head)


def picked_head(chart: str, first: tuple[int, int] | None) -> None:
    """A link to the attention of the head that was clicked in a chart, at first of the one given."""
    found = next(iter((st.session_state.get(chart) or {}).get("selection", {}).get("head") or []), None)
    layer, head = (int(found["layer"]), int(found["head"])) if found else first or (-1, -1)
    if layer >= 0 and head >= 0:
        head_link(layer, head)


def head_link(layer: int, head: int) -> None:
    """A link to the attention of a head."""
    with suppress(StreamlitPageNotFoundError):  # no other page is there where this one stands alone
        view = {"layer": str(layer), "head": str(head), "attn_level": "one head"}
        st.page_link("pages/attention.py", label=f"Where head {layer}.{head} looks →", query_params=view)


def hide_first(key: str, help_text: str) -> bool:
    """Whether the first token is set aside."""
    return st.toggle("Hide first token", value=True, key=key, help=help_text, bind="query-params")


def tokens_shown(n: int, most: int, key: str) -> tuple[int, int]:
    """First and last token of a picture that has room for so many."""
    if n <= most:
        return 0, n - 1
    low, high = st.slider(
        "Tokens", 0, n - 1, (n - most, n - 1), key=f"{key}_{n}", help="Which tokens the pictures show.", bind="query-params"
    )
    return int(low), int(high)


def every_token(n: int, most: int, key: str) -> dict[str, Any]:
    """What `tokens_shown` shows at first, by its key."""
    return {f"{key}_{n}": (n - most, n - 1)} if n > most else {}


def part_shown(n: int, shown: tuple[int, int], note: str = "All of them were run.") -> str:
    """What is to be said where a picture shows some of the tokens."""
    first, last = shown
    return (
        f"The prompt has {n} tokens; {last - first + 1} of them are shown (More: Tokens). {note}" if last - first + 1 < n else ""
    )
