"""What would the model say if it stopped after each layer?"""

import streamlit as st

from infoflow import export, lens_tables, pictures
from infoflow.analyses.logit_lens import Lens
from infoflow.analyses.logit_lens_trace import read_off
from infoflow.charts import lens as charts
from infoflow.ui import blocks, cache, inputs, readings, runs, texts, views

NAME = "Logit lens"
inputs.page(NAME, texts.LENS_INTRO)
asked = inputs.question(apart=False)
view = views.lens_view(list(lens_tables.COLOURS), hosted=bool(asked.place.host))
mids = view.mids or not asked.place.host  # here they are always read, and the toggle only hides them
reading = inputs.Reading(asked.model, asked.prompt, place=asked.place, follow=view.follow, mids=mids)
result = runs.last_good("lens", NAME, reading, lambda r, job: cache.lens(r.place, r.model, r.prompt, r.follow, r.mids, job))


@st.fragment
def picture(lens: Lens, view: views.LensView) -> None:
    """The table, the chosen cell, and tokens through the layers there: reruns alone."""
    dark, scope = inputs.dark(), pictures.identity_of(lens.provenance, lens.prompt_ids)
    colour, missing = view.colour, lens_tables.FOLLOWED.get(view.colour, 0) > len(lens.targets)
    if missing:
        st.info(texts.LENS_NEEDS[colour])
        colour = "probability"
    first, last = views.tokens_shown(len(lens.tokens), views.LENS_WINDOW, "lens_positions")
    cells = lens_tables.grid(lens, colour, 0, view.mids)
    shown = cells[cells["position"].between(first, last)]
    left, right = st.columns([3.2, 1], gap="medium")
    with left:
        chart = charts.table(shown, colour, dark)
        says = "Logit lens: the likeliest next token by row of the residual stream and position"
        event = st.altair_chart(chart, key=f"lens_table_{scope}", on_select="rerun", selection_mode="cell", alt=says)
        names = [blocks.plain(lens.names[t]) for t in lens.targets[: lens_tables.FOLLOWED.get(colour, 0)]]
        whose = f" of {' over '.join(names)}" if names else ""
        st.caption(f"Colour: {colour}{whose}, {lens_tables.COLOURS[colour]}. {texts.LENS_USE}")
    row, position = readings.clicked(event.selection, lens)
    with right:
        readings.cell(lens, row, position)
    st.caption(f"{lens_tables.hint(lens)} Top row against the model's logits: error {lens.max_error:.0e}.")
    blocks.warn_if_off(lens.max_error, lens.provenance, "The top row is not what the model says")
    st.markdown(f"**Tokens through the layers**, position {position}: {blocks.plain(lens.tokens[position])}")
    value = views.trajectory(bool(lens.targets))
    lines = lens_tables.trajectories(lens, position, view.mids)
    st.altair_chart(charts.trajectories(lines, value, dark), key="lens_lines_chart", alt="Tokens through the layers")
    st.caption("The four likeliest of the output (dashed) and the followed tokens (solid).")
    with st.expander("How far can rows be trusted?"):
        st.altair_chart(
            charts.reliability(lens_tables.reliability(lens, view.mids), dark), key="lens_trust", alt="Agreement by row"
        )
        st.caption(texts.LENS_TRUST)
    frame = lens.to_frame()
    blocks.downloads(chart, frame, lambda: export.frame_json(frame, lens.provenance), dark)


if result is not None:
    (lens, verdict) = result[1]
    picture(lens, view)
    readings.contrast(result[0], lens, view.mids)
    with st.expander("How is it computed?"):
        st.markdown(texts.LENS_HOW)
        blocks.how(read_off)
