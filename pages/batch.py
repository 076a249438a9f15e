"""What is usual over many prompts? A data set of them, run here or opened, with a link back to each picture."""

import streamlit as st

from infoflow.studies.batch import Batch, open_batch
from infoflow.summaries.batch import sentences
from infoflow.ui import batch as ui
from infoflow.ui import blocks, frame

NAME = "Many prompts"
frame.page(NAME, ui.INTRO, ui.use(), ("head", "layer", "residual stream", "attention sink"))


@st.fragment
def picture(whole: Batch) -> None:
    """The summary that is chosen, and the prompts with their links: reruns alone."""
    dark = frame.dark()
    said = st.container()
    name, found, head = ui.view(whole)
    with blocks.reporting_errors():
        with said:
            blocks.says(sentences(found), ui.go)
        if name == ui.ONE_HEAD:
            ui.one_head(found.head(*head))
        else:
            ui.downloads(ui.drawn(name, found, dark), dark)
        ui.listed(found)


data: Batch | None = None
with blocks.reporting_errors():
    wanted, folder, key = ui.asked()
    data = open_batch(folder) if wanted is None else ui.made(wanted, key)
shown = ui.last_good(data)
with blocks.reporting_errors():
    if shown is not None:
        picture(shown)
