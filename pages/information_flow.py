"""Which earlier tokens is each position made of, layer by layer?"""

import streamlit as st

from infoflow import export, pictures, tables
from infoflow.analyses.flow import Flow
from infoflow.analyses.flow_trace import split
from infoflow.charts import flow as charts
from infoflow.ui import blocks, cache, groups, inputs, panels, runs, texts, views

NAME = "Information flow"
inputs.page(NAME, texts.FLOW_INTRO)
asked = inputs.question()
result = runs.last_good("flow", NAME, asked, lambda q, job: cache.flow(q.place, q.model, q.prompt, q.sources, job))


@st.fragment
def picture(asked: inputs.Question, flow: Flow, view: views.View) -> None:
    """The grid with its controls, the chosen cell and questions about it: reruns alone."""
    dark = inputs.dark()
    grouped = flow.grouped(groups.editor(flow) if view.grouping == "custom" else view.grouping)
    labels, scope = grouped.source_labels, pictures.identity(grouped)
    hide_first = view.hide_first and grouped.first_is_one_of_many()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        hide = views.hide_also(labels[1:] if hide_first else labels, scope)
        traced = views.trace(labels, scope)
        layers = views.layer_range(flow.n_layers)
        positions = views.position_range(len(flow.tokens))
        key = views.reset_view(scope)
    hidden = runs.some_left(grouped, ((labels[0],) if hide_first else ()) + hide, scope)
    with blocks.reporting_errors():
        grid = pictures.flow_grid(grouped, view.metric, hidden, view.emphasis, view.palette, traced, layers, positions, dark)
        left, right = st.columns([3.2, 1], gap="medium")
        with left:
            says = "Share of each source token in the residual stream, by layer and position, as stacked bars"
            event = st.altair_chart(grid.chart, key=key, on_select="rerun", selection_mode=grid.selections, alt=says)
            note = f"Shares of {len(labels)} sources by {view.metric}."
            if grid.folded:
                note += f" Each bar shows its {charts.FOLDED_TO} largest and the rest in grey; details and tables hold all."
            st.caption(f"{note} {texts.FLOW_USE}")
        clicked = blocks.clicked(event.selection)
        chosen = clicked.cell or {"layer": flow.n_layers - 1, "stage": "post", "position": len(flow.tokens) - 1}
        blocks.trust_line(grouped, hidden)
        logits = tables.logit_parts(grouped, grouped.top[0].id)
        if views.panel(panels.QUESTIONS) == panels.QUESTIONS[0]:
            logits = panels.logit(asked, grouped, hidden, clicked.answer, dark)
        else:
            panels.carriers(asked, grouped, chosen, clicked.source, hidden, dark)
        with right, st.container():
            if clicked.cell is None:
                st.caption("Click a bar to see what it is made of. This is where the next token is predicted:")
            blocks.details(grouped, chosen, view.metric, hidden, traced, logits, grid.colours, dark)
        blocks.downloads(grid.chart, grid.frame, lambda: export.as_json(grouped), dark)


if result is not None:
    shown, run = result
    flow = run.flow
    blocks.badge(run.verdict, flow, run.cost)
    picture(shown, flow, views.view(apart=flow.provenance.sources == "tokens"))
    with st.expander("How exact is it, layer by layer?"):
        st.altair_chart(
            charts.error_by_layer(tables.errors(flow), inputs.dark()), key="errors", alt="Reconstruction error by layer"
        )
        st.caption(
            "Relative error of the summed parts against the model's own residual; the dashed line is where this page warns."
        )
        st.caption(blocks.plain(tables.provenance_line(flow)))
    with st.expander("How is it computed?"):
        st.markdown(texts.FLOW_HOW)
        blocks.how(split)
