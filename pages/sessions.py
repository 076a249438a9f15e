"""Keep what was found, find it again, and see whether it still holds."""

import streamlit as st

from infoflow.ui import asking, frame, seen
from infoflow.ui import sessions as ui

frame.page("Sessions", ui.INTRO, ui.USE)
place = asking.place()
open_now = seen.opened()
if open_now is not None:
    ui.opened(open_now, place.key)
st.subheader("Keep what you have looked at", anchor=False)
ui.keep(place.key)
st.subheader("Saved sessions", anchor=False)
ui.library()
ui.upload()
