"""What is in one run and not in another? Two runs and their difference, side by side."""

from functools import partial

import streamlit as st

from infoflow.files import formats
from infoflow.summaries.compare import sentences
from infoflow.tables.compare import left_out
from infoflow.ui import address, asking, blocks, controls, frame
from infoflow.ui import compare as ui

head = frame.page("Compare", ui.INTRO, ui.USE, ("residual stream", "token", "head", "logit"))
asked, other = asking.question(ui.other)
row = controls.row()
with row:
    at = ui.asks()
    a, b = ui.sides(asked, other, at.dtype)


def differing() -> None:
    """The picture of the view that is chosen, and what it says."""
    found = ui.compared(a, b, at)
    ui.told(head, found, a, b)
    blocks.told([*found.a.notes, *(note for note in found.b.notes if note not in found.a.notes)])
    blocks.says(sentences(found))
    draw = ui.shown(found, at, row)
    ui.prompts(found)
    if at.view == ui.View.FLOW:
        ui.group(found, at, int(st.session_state.get("cmp_place", -1)))
    if draw is None:
        st.caption(blocks.plain(left_out(found)))
    else:
        drawn = draw(dark=frame.dark())
        as_json = partial(formats.frame_json, drawn.frame, found.provenance)
        blocks.downloads(drawn, as_json, frame.dark(), found.provenance, "", found, draw)
    address.write(ui.HEADS.name)


with blocks.reporting_errors():
    if a.runs == b.runs:
        ui.nothing_yet(a)
    else:
        differing()
blocks.how(ui.HOW, "infoflow.studies.compare.compare")
