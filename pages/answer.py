"""Where is the answer, layer by layer?"""

from functools import partial

import streamlit as st

from infoflow.analyses.location import Location, LocationRequest
from infoflow.files import formats
from infoflow.pictures.location import answer_map
from infoflow.summaries.location import sentences
from infoflow.ui import address, asking, blocks, frame, results
from infoflow.ui import answer as ui

NAME = "Answer"
head = frame.page(NAME, ui.INTRO, ui.USE, ("residual stream", "logit", "head", "MLP", "layer"))
asked, _ = asking.question()
view = ui.view(asked.model, asked.prompt)
request = LocationRequest(
    interventions=asked.interventions,
    model=asked.model, prompt=asked.prompt, target=view.target, against=view.against, centred=view.centred,
    contrast=view.contrast,
)  # fmt: skip
result = results.last_good(NAME, request, asked.key)


@st.fragment
def picture(found: Location, view: ui.View, at_first: str) -> None:
    """The map and the chosen cell: reruns alone."""
    dark, scope = frame.dark(), ui.scope_of(found)
    said = sentences(found)
    blocks.says(said, partial(ui.go, found, scope))
    left, right = st.columns([2.4, 1], gap="medium")
    with left:
        marked = ui.cell_of(found, ui.CELLS.marked(scope, at_first))
        draw = partial(answer_map, found, view.mids, view.moves, view.tokens, marked, quantity=view.quantity)
        drawn = draw(dark=dark)
        key = ui.CELLS.key(f"{scope}_{view.mids}")
        picked = partial(ui.pick, key, found, view.mids, scope)
        alt = f"Where the answer is, by row and position. {found.summary()}"
        blocks.chart(drawn.chart, key=key, on_select=picked, selection_mode="cell", alt=alt)
        st.caption(blocks.plain(f"{drawn.note} {ui.part_shown(found, view)}"))
    with right:
        row, position = ui.cell_of(found, ui.CELLS.chosen(scope)) or ui.first_cell(found)
        ui.cell(found, row, position, dark)
    blocks.warn_if_off(found.max_error, found.provenance, "Rows do not sum to the logit")
    blocks.downloads(drawn, lambda: formats.as_json(found), dark, found.provenance, "", found, draw)
    address.write(ui.CELLS.name)


if result is not None:
    frame.shown(head, *result)
    answer = result[1].result
    picture(answer, view, ui.CELLS.chosen(ui.scope_of(answer)))
    ui.note_likely(result[0], answer)
    blocks.how(ui.HOW, "infoflow.traced.location.locate_block")
