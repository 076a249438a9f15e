"""A page with nothing but heads of no model: as many layers and heads as its address says, and with the numbers that it gives."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import streamlit as st

from infoflow.ui.heads_3d import heads_3d
from tests.helpers.heads import WORDS, edges, heights_and_colours

layers, heads = (int(st.query_params[name]) for name in ("layers", "heads"))
st.set_page_config(layout="wide")
values, colour = heights_and_colours(layers, heads)
if given := st.query_params.get("numbers"):
    colour = np.array(given.split(","), float).reshape(layers, heads)
    values = np.abs(colour)
if st.button("Select the last head", key="last"):
    st.session_state["outside"] = (layers - 1, heads - 1)
lines = edges(values, colour) if not given else ()
found = heads_3d(values, colour, WORDS, lines, "heads", selected=st.session_state.get("outside"))
st.write(f"Selected: {found[0]}.{found[1]}" if found else "Nothing is selected")
