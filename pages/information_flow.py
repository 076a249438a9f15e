"""Which earlier tokens is each position made of, layer by layer?"""

import streamlit as st

from infoflow import pictures, tables
from infoflow.analyses.flow import Flow
from infoflow.analyses.flow_trace import split
from infoflow.charts import flow as charts
from infoflow.ui import blocks, cache, groups, inputs, jobs

inputs.page(
    "Information flow",
    "Every bar is one position's residual stream after one layer, split exactly into what each source token contributed. "
    "Read from the bottom (embeddings) to the top (output); colours are those of the tokens along the bottom.",
)  # fmt: skip
asked = inputs.question()


def keep_last() -> None:
    """Cancel: go back to the run that is on the screen."""
    if "flow_shown" in st.session_state:
        st.session_state["flow_refused"] = asked


def run() -> Flow | None:
    """The run asked for; when it fails or is stopped, the last good one stays."""
    last: inputs.Question | None = st.session_state.get("flow_shown")
    wanted = asked if asked != st.session_state.get("flow_refused") else last
    with blocks.reporting_errors():
        flow = jobs.run(lambda job: cache.flow(wanted.model, wanted.prompt, job), on_cancel=keep_last)
        st.session_state["flow_shown"], st.session_state["flow_refused"] = wanted, None
        return flow
    if last is None:
        return None
    st.caption(f"Shown below is the last good run: {blocks.plain(last.prompt)}")
    return jobs.run(lambda job: cache.flow(last.model, last.prompt, job), on_cancel=keep_last)


@st.fragment
def picture(flow: Flow, view: inputs.View) -> None:
    """The grid with its controls and the details of the chosen cell: reruns alone, and never runs the model."""
    dark = inputs.dark()
    labels = groups.editor(flow) if view.grouping == "custom" else view.grouping
    grouped = flow.grouped(labels)
    scope = f"{abs(hash((flow.token_ids, grouped.source_labels))):x}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        more = inputs.hide_also(grouped.source_labels[1:] if view.hide_first else grouped.source_labels, scope)
        traced = inputs.trace(grouped.source_labels, scope)
        layers = inputs.layer_range(flow.n_layers)
        if st.button(
            "Reset view",
            icon=":material/zoom_out_map:",
            help="Zoom with Ctrl+wheel, drag to pan. This shows all again.",
        ):
            st.session_state["flow_zoom"] = st.session_state.get("flow_zoom", 0) + 1
    hidden = (0, *(i + 1 for i in more)) if view.hide_first else more
    with blocks.reporting_errors():
        grid = pictures.flow_grid(grouped, view.metric, hidden, view.emphasis, view.palette, traced, layers, dark)
        left, right = st.columns([3.2, 1], gap="medium")
        with left:
            event = st.altair_chart(
                grid.chart, key=f"flow_grid_{st.session_state.get('flow_zoom', 0)}", on_select="rerun", selection_mode="cell",
                alt="Stacked bars: share of each source token in the residual stream, by layer and position",
            )  # fmt: skip
            note = f"{view.metric} shares of {len(grouped.source_labels)} sources. "
            note += (
                f"Each bar shows its {charts.FOLDED_TO} largest sources and the rest in grey; details and tables hold all. "
                if grid.folded
                else ""
            )
            st.caption(
                note
                + "Hover a colour to single it out, click a token's stripe to pin it (double-click releases), click a bar for its details. Thin grey lines: what is hidden."
            )
        chosen = (event.selection.get("cell") or [None])[0]
        with right:
            if chosen is None:
                st.caption("Click a bar to see what it is made of. This is where the next token is predicted:")
                chosen = {"layer": flow.n_layers - 1, "stage": "post", "position": len(flow.tokens) - 1}
            blocks.details(grouped, chosen, view.metric, hidden, traced, grid.colours, dark)
            with st.expander("Who raises the next token?"):
                blocks.next_token(grouped, grid.colours, dark)
        blocks.trust_line(grouped, hidden)
        blocks.downloads(grouped, grid.chart, view.metric, hidden, dark)


flow = run()
if flow is not None:
    picture(flow, inputs.view())
    with st.expander("How exact is it, layer by layer?"):
        st.altair_chart(
            charts.error_by_layer(tables.errors(flow), inputs.dark()), key="errors", alt="Reconstruction error by layer"
        )
        st.caption(
            f"Relative error of the summed parts against the model's own residual; the dashed line is where this page warns. Model {blocks.plain(flow.provenance.model)}, {flow.provenance.dtype}, revision {blocks.plain(flow.provenance.revision)}."
        )
    with st.expander("How is it computed?"):
        st.markdown(
            "One normal run of the model gives attention patterns, MLP gates and norm scales. Holding those fixed, everything that is left is linear, "
            "so the residual stream is a sum of one vector per source token, carried along exactly. What a bar shows is the *linear share traced to* a "
            "token: it does not say why a head attended where it did, and how the MLP's gate is held fixed is a choice (the identity rule)."
        )
        blocks.how(split)
