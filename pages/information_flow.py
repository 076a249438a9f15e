"""Which earlier tokens is each position made of, layer by layer?"""

from dataclasses import replace
from functools import partial

import streamlit as st

from infoflow.analyses.flow import Flow, FlowRequest
from infoflow.analyses.perform import Performed
from infoflow.charts.flow import error_by_layer
from infoflow.files import formats
from infoflow.pictures import flow as pictures
from infoflow.pictures.picture import identity
from infoflow.summaries.flow import sentences
from infoflow.summaries.sentence import spoken
from infoflow.tables import attribution as attribution_tables
from infoflow.tables import flow as tables
from infoflow.ui import address, asking, attribution, blocks, carriers, causal, controls, frame, results
from infoflow.ui import information_flow as ui

NAME = "Information flow"
head = frame.page(NAME, ui.INTRO, ui.USE, ("residual stream", "source", "layer", "MLP", "attention sink"))
asked, sources = asking.question(controls.run_by)
request = FlowRequest(
    model=asked.model, prompt=asked.prompt, sources=sources or controls.RUN_BY[0], interventions=asked.interventions
)
result = results.last_good(NAME, request, asked.key)


@st.fragment
def picture(shown: FlowRequest, run: Performed[Flow], at_first: str) -> None:
    """The grid with its controls, the chosen cell and questions about it: reruns alone."""
    dark, of_run = frame.dark(), asking.Asked(shown.model, shown.prompt, asked.key, shown.interventions)
    view = ui.view(run.result)
    flow, hidden = view.flow, view.hidden
    scope = identity(flow.provenance, flow.token_ids)
    chosen, key = ui.bar_of(flow, ui.BARS.chosen(scope)), ui.BARS.key(ui.scope_of(flow))
    with blocks.reporting_errors():
        said = sentences(flow, view.metric, hidden)
        blocks.says(said, partial(ui.go, scope))
        look = replace(view.look, chosen=ui.bar_of(flow, ui.BARS.marked(scope, at_first)))
        draw = partial(pictures.grid, flow, view.metric, hidden, look)
        drawn = draw(dark=dark)
        left, right = st.columns([3.2, 1], gap="medium")
        with left:
            picked = partial(ui.pick, key, scope)
            says = f"Share of each source in the residual stream by layer and position, as stacked bars. {spoken(said)}"
            event = blocks.chart(drawn.chart, key=key, on_select=picked, selection_mode=drawn.selections, alt=says)
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption(blocks.plain(f"{ui.size(drawn)} {ui.run_size(run)}"), width="stretch")
                ui.reset_view()
        clicked = ui.clicked(event.selection)
        bar = chosen or (flow.n_layers - 1, "post", len(flow.tokens) - 1)
        ui.trust_line(flow, hidden)
        causal.tested(of_run, flow, dark)
        logits = attribution_tables.logit_parts(flow, flow.top[0].id)
        if ui.panel(list(ui.Ask)) == ui.Ask.LOGIT:
            logits = attribution.logit(of_run, flow, hidden, clicked.answer, dark)
        else:
            carriers.carriers(of_run, flow, bar, clicked.source, hidden, dark)
        with right, st.container():
            if chosen is None:
                st.caption("Click a bar to see what it is made of. This is where the next token is predicted:")
            ui.details(flow, bar, drawn, logits, dark)
        blocks.downloads(drawn, lambda: formats.as_json(flow), dark, flow.provenance, "", flow, draw)
    address.write(ui.BARS.name)


if result is not None:
    shown, run = result
    frame.shown(head, shown, run)
    picture(shown, run, ui.BARS.chosen(identity(run.result.provenance, run.result.token_ids)))
    with blocks.fold("How exact is it, layer by layer?", "exact") as is_open:
        if is_open:
            says = f"Reconstruction error by layer; the largest is {run.result.max_error:.0e}"
            blocks.chart(error_by_layer(tables.errors(run.result), frame.dark()), key="errors", alt=says)
            st.caption(ui.EXACT)
            st.caption(blocks.plain(tables.provenance_line(run.result)))
    blocks.how(ui.HOW, "infoflow.traced.flow.split")
