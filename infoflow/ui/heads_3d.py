"""Every head of a model in three dimensions, to be turned and clicked. Its twin for reading is the flat map of layers by heads,
which stands beside it.

Drawn by a script of ours on a plain canvas: deck.gl, which Streamlit has, needs WebGL, fades names and other heads once one is
selected, and lets no page say which one is.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from jaxtyping import Float

from infoflow.charts.heads_3d import Edge, Head, Labels, scene

_HTML, _CSS, _JS = (Path(__file__).with_suffix(kind).read_text(encoding="utf-8") for kind in (".html", ".css", ".js"))
_DRAWN = st.components.v2.component("infoflow_heads_3d", html=_HTML, css=_CSS, js=_JS)


def heads_3d(
    values: Float[np.ndarray, "layer head"],
    colour: Float[np.ndarray, "layer head"],
    labels: Labels,
    edges: Sequence[Edge],
    key: str,
    selected: Head | None = None,
) -> Head | None:
    """Draw them; gives the layer and head that is selected: by a click, or by a `selected` that differs from the run before,
    whichever came last. So a page that keeps what is looked at hands it back here. Escape selects none."""
    state, seen = st.session_state.get(key) or {}, f"{key}_seen"
    picked = state.get("picked") or {"head": None, "at": 0}
    before = st.session_state.get(seen)
    if before is None or before[0] != selected:  # said from outside, after any click so far
        before = st.session_state[seen] = (selected, picked["at"])
    if picked["at"] > before[1]:
        selected = None if picked["head"] is None else (int(picked["head"][0]), int(picked["head"][1]))
    layers, heads = values.shape
    if selected is not None and not (selected[0] < layers and selected[1] < heads):
        selected = None  # of a larger model
    _DRAWN(key=key, data=scene(values, colour, labels, edges, selected), on_picked_change=lambda: None)
    return selected
