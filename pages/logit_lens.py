"""What would the model say if it stopped after each layer?"""

from functools import partial

import streamlit as st

from infoflow.analyses.logit_lens import Lens, LensRequest
from infoflow.charts import logit_lens as charts
from infoflow.files import formats
from infoflow.pictures.logit_lens import table
from infoflow.pictures.picture import identity
from infoflow.summaries.logit_lens import sentences
from infoflow.tables import logit_lens as tables
from infoflow.ui import address, asking, blocks, frame, results
from infoflow.ui import lenses as side_by_side
from infoflow.ui import logit_lens as ui

NAME = "Logit lens"
head = frame.page(NAME, ui.INTRO, ui.USE, ("logit lens", "residual stream", "layer", "logit"))
asked, _ = asking.question()
view = ui.view(list(tables.COLOURS), asked.model, asked.prompt)
request = ui.request(asked, view)
result = results.last_good(NAME, request, asked.key)


@st.fragment
def picture(request: LensRequest, lens: Lens, view: ui.View, at_first: str) -> None:
    """The table, the chosen cell, and tokens through the layers there: reruns alone."""
    dark, scope = frame.dark(), identity(lens.provenance, lens.prompt_ids)
    colour, missing = view.colour, tables.FOLLOWED.get(view.colour, 0) > len(lens.targets)
    if missing:
        st.info(ui.NEEDS[colour])
        colour = "probability"
    blocks.says(sentences(lens), partial(ui.go, lens, scope))
    left, right = st.columns([3.2, 1], gap="medium")
    with left:
        draw = partial(table, lens, colour, view.mids, chosen=ui.cell_of(lens, ui.CELLS.marked(scope, at_first)))
        drawn = draw(dark=dark)
        says = f"{tables.NAMES[lens.kind]}: the likeliest next token by row and position. {lens.summary()}"
        key = ui.CELLS.key(scope)
        blocks.chart(drawn.chart, key=key, on_select=partial(ui.pick, key, lens, scope), selection_mode="cell", alt=says)
        st.caption(f"{blocks.plain(drawn.note)} {ui.part_read(lens)}")
    row, position = ui.cell_of(lens, ui.CELLS.chosen(scope)) or (len(lens.rows) - 1, lens.positions[-1])
    with right:
        ui.cell(request, asked.key, lens, row, position)
    st.caption(f"{tables.hint(lens)} {tables.ERROR[lens.read]}: error {lens.max_error:.0e}.")
    blocks.warn_if_off(lens.max_error, lens.provenance, ui.OFF[lens.read])
    st.markdown(f"**Tokens through the layers**, position {position}: {blocks.plain(lens.position_labels[position])}")
    value = ui.trajectory(bool(lens.targets))
    lines = tables.trajectories(lens, position, view.mids)
    at_end = lines[lines["order"] == lines["order"].max()]
    says = f"Tokens through the layers; at the output: {blocks.largest(at_end, 'token', 'probability')}"
    blocks.chart(charts.trajectories(lines, value, dark), key="lens_lines_chart", alt=says)
    st.caption("The four likeliest of the output (dashed) and the followed tokens (solid).")
    with blocks.fold("How far can rows be trusted?", "trust") as is_open:
        if is_open:
            trust = charts.reliability(tables.reliability(lens, view.mids), dark)
            blocks.chart(trust, key="lens_trust", alt=f"Agreement by row. {tables.hint(lens)}")
            st.caption(ui.TRUST)
    with blocks.fold("Every lens, and which to believe", "lenses") as is_open:
        if is_open:
            at = row if ui.cell_of(lens, ui.CELLS.chosen(scope)) else ui.middle(lens)
            side_by_side.every_lens(request, asked.key, lens, (lens.rows[at], position))
    blocks.downloads(drawn, lambda: formats.as_json(lens), dark, lens.provenance, "", lens, draw)
    address.write(ui.CELLS.name)


if result is not None:
    frame.shown(head, *result)
    found = result[1].result
    picture(result[0], found, view, ui.CELLS.chosen(identity(found.provenance, found.prompt_ids)))
    ui.note_tokens(result[0], result[1].result)
    ui.contrast(result[0], asked.key, result[1].result, view.mids)
    blocks.how(ui.HOW, *ui.CODE[result[1].result.kind])
