"""Which earlier tokens is each position made of, layer by layer?"""

import streamlit as st

from infoflow.analyses.flow import Flow, FlowRequest
from infoflow.charts.flow import error_by_layer
from infoflow.files import formats
from infoflow.pictures import flow as pictures
from infoflow.tables import attribution as attribution_tables
from infoflow.tables import flow as tables
from infoflow.traced.flow import split
from infoflow.ui import asking, attribution, blocks, carriers, frame, groups, results
from infoflow.ui import information_flow as ui

NAME = "Information flow"
frame.page(NAME, ui.INTRO)
asked, sources = asking.question(beside=ui.run_by)
request = FlowRequest(model=asked.model, prompt=asked.prompt, sources=sources or ui.RUN_BY[0])
result = results.last_good(NAME, request, asked.key)


@st.fragment
def picture(shown: FlowRequest, flow: Flow, view: ui.View) -> None:
    """The grid with its controls, the chosen cell and questions about it: reruns alone."""
    dark, of_run = frame.dark(), asking.Asked(shown.model, shown.prompt, asked.key)
    grouped = flow.grouped(groups.editor(flow) if view.grouping == "custom" else view.grouping)
    labels, scope = grouped.source_labels, ui.scope_of(grouped)
    hide_first = view.hide_first and grouped.first_is_one_of_many()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        hide = ui.hide_also(labels[1:] if hide_first else labels, scope)
        traced = ui.trace(labels, scope)
        layers = ui.layer_range(flow.n_layers)
        positions = ui.position_range(len(flow.tokens))
        key = ui.reset_view(scope)
    hidden = ui.some_left(grouped, ((labels[0],) if hide_first else ()) + hide, scope)
    with blocks.reporting_errors():
        look = pictures.Look(view.emphasis, view.palette, traced, layers, positions)
        drawn = pictures.grid(grouped, view.metric, hidden, look, dark)
        left, right = st.columns([3.2, 1], gap="medium")
        with left:
            says = "Share of each source token in the residual stream, by layer and position, as stacked bars"
            event = blocks.chart(drawn.chart, key=key, on_select="rerun", selection_mode=drawn.selections, alt=says)
            st.caption(f"{ui.size(drawn)} {ui.USE}")
        clicked = ui.clicked(event.selection)
        chosen = clicked.cell or {"layer": flow.n_layers - 1, "stage": "post", "position": len(flow.tokens) - 1}
        ui.trust_line(grouped, hidden)
        logits = attribution_tables.logit_parts(grouped, grouped.top[0].id)
        if ui.panel(list(ui.Ask)) == ui.Ask.LOGIT:
            logits = attribution.logit(of_run, grouped, hidden, clicked.answer, dark)
        else:
            carriers.carriers(of_run, grouped, chosen, clicked.source, hidden, dark)
        with right, st.container():
            if clicked.cell is None:
                st.caption("Click a bar to see what it is made of. This is where the next token is predicted:")
            ui.details(grouped, chosen, drawn, logits, dark)
        blocks.downloads(drawn, lambda: formats.as_json(grouped), dark)


if result is not None:
    shown, run = result
    ui.badge(run)
    picture(shown, run.result, ui.view(apart=run.result.provenance.sources == "tokens"))
    with st.expander("How exact is it, layer by layer?"):
        blocks.chart(error_by_layer(tables.errors(run.result), frame.dark()), key="errors", alt="Reconstruction error by layer")
        st.caption(
            "Relative error of the summed parts against the model's own residual; the dashed line is where this page warns."
        )
        st.caption(blocks.plain(tables.provenance_line(run.result)))
    with st.expander("How is it computed?"):
        st.markdown(ui.HOW)
        blocks.how(split)
