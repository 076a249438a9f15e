"""What would the model say if it stopped after each layer?"""

import streamlit as st

from infoflow.analyses.logit_lens import Lens, LensRequest
from infoflow.charts import logit_lens as charts
from infoflow.files import formats
from infoflow.pictures.logit_lens import table
from infoflow.pictures.picture import identity
from infoflow.tables import logit_lens as tables
from infoflow.traced.logit_lens import read_off
from infoflow.ui import asking, blocks, frame, results
from infoflow.ui import logit_lens as ui

NAME = "Logit lens"
frame.page(NAME, ui.INTRO)
asked, _ = asking.question()
view = ui.view(list(tables.COLOURS), asked.model.hosted)
mids = view.mids or not asked.model.hosted  # here they are always read, and the toggle only hides them
shown = ui.read(asked.model, asked.prompt)
request = LensRequest(model=asked.model, prompt=asked.prompt, targets=view.follow, mids=mids, positions=shown)
result = results.last_good(NAME, request, asked.key)


@st.fragment
def picture(request: LensRequest, lens: Lens, view: ui.View) -> None:
    """The table, the chosen cell, and tokens through the layers there: reruns alone."""
    dark, scope = frame.dark(), identity(lens.provenance, lens.prompt_ids)
    colour, missing = view.colour, tables.FOLLOWED.get(view.colour, 0) > len(lens.targets)
    if missing:
        st.info(ui.NEEDS[colour])
        colour = "probability"
    left, right = st.columns([3.2, 1], gap="medium")
    with left:
        drawn = table(lens, colour, view.mids, dark)
        says = "Logit lens: the likeliest next token by row of the residual stream and position"
        event = blocks.chart(drawn.chart, key=f"lens_table_{scope}", on_select="rerun", selection_mode="cell", alt=says)
        st.caption(f"{blocks.plain(drawn.note)} {ui.USE}")
    row, position = ui.clicked(event.selection, lens)
    with right:
        ui.cell(request, asked.key, lens, row, position)
    st.caption(f"{tables.hint(lens)} Top row against the model's logits: error {lens.max_error:.0e}.")
    blocks.warn_if_off(lens.max_error, lens.provenance, "The top row is not what the model says")
    st.markdown(f"**Tokens through the layers**, position {position}: {blocks.plain(lens.position_labels[position])}")
    value = ui.trajectory(bool(lens.targets))
    lines = tables.trajectories(lens, position, view.mids)
    blocks.chart(charts.trajectories(lines, value, dark), key="lens_lines_chart", alt="Tokens through the layers")
    st.caption("The four likeliest of the output (dashed) and the followed tokens (solid).")
    with st.expander("How far can rows be trusted?"):
        trust = charts.reliability(tables.reliability(lens, view.mids), dark)
        blocks.chart(trust, key="lens_trust", alt="Agreement by row")
        st.caption(ui.TRUST)
    blocks.downloads(drawn, lambda: formats.as_json(lens), dark)


if result is not None:
    ui.choose_tokens(result[0], result[1].result)
    picture(result[0], result[1].result, view)
    ui.contrast(result[0], asked.key, result[1].result, view.mids)
    with st.expander("How is it computed?"):
        st.markdown(ui.HOW)
        blocks.how(read_off)
