"""What follows when the run is changed? Before and after, side by side."""

import streamlit as st

from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.generation import Generation, GenerationRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.charts import logit_lens as lens_charts
from infoflow.files import formats
from infoflow.pictures.interventions import picture
from infoflow.pictures.picture import identity
from infoflow.tables import interventions as tables
from infoflow.tables import logit_lens as lens_tables
from infoflow.ui import asking, blocks, controls, frame, results
from infoflow.ui import interventions as ui

NAME = "Interventions"
head = frame.page(NAME, ui.INTRO, ui.USE, ("token", "head", "logit lens", "residual stream"))
asked, _ = asking.question()
request = GenerationRequest(
    model=asked.model, prompt=asked.prompt, max_new_tokens=1, k=ui.READ, interventions=asked.interventions
)
result: tuple[GenerationRequest, results.Performed[Generation]] | None = results.last_good(NAME, request, asked.key)


def compared(run: GenerationRequest, after: Generation) -> None:
    """Before beside after, in the view that is chosen."""
    dark, plain = frame.dark(), GenerationRequest(model=run.model, prompt=run.prompt, max_new_tokens=1, k=ui.READ)
    before = results.of(plain, asked.key, "change_before") if run.interventions else after
    scope = identity(before.provenance, before.prompt_ids)
    with controls.row():
        view = ui.view()
        labels = before.position_labels[: before.n_prompt]
        ui.adding(labels, scope)
        ui.listed(labels)
    if run.interventions:
        st.markdown(blocks.plain(tables.said(before, after)))
    if not run.interventions or view == ui.View.NEXT:
        drawn = picture(before, after, dark)
        says = f"Next tokens before and after. {blocks.largest(drawn.frame, 'name', 'change', '+.1%')}"
        blocks.chart(drawn.chart, key="change_next", alt=says)
        if not run.interventions:
            ui.nothing_yet(before)
            return
        st.dataframe(drawn.frame.drop(columns="id"), hide_index=True, column_config=ui.COLUMNS)
        blocks.downloads(drawn, lambda: formats.frame_json(drawn.frame, after.provenance), dark)
    elif view == ui.View.LENS:
        ends = LensRequest(
            model=run.model, prompt=run.prompt, positions=(-1,), targets=tuple(dict.fromkeys((
                int(before.token_ids[0, 0]), int(after.token_ids[0, 0])
            ))),
        )  # fmt: skip
        one = results.of(ends, asked.key, "change_lens_before")
        other = results.of(ui.changed(ends, run.interventions), asked.key, "change_lens_after")
        chart = lens_charts.trajectories(lens_tables.contrasted(one, other), "probability", dark)
        blocks.chart(chart, key="change_lens", alt=f"Tokens through the layers. {tables.said(before, after)}")
        st.caption("Probability at the last position, row by row. Solid: before; dashed: after.")
    else:
        ends_of = AttentionRequest(model=run.model, prompt=run.prompt)
        first = results.of(ends_of, asked.key, "change_attn_before")
        second = results.of(ui.changed(ends_of, run.interventions), asked.key, "change_attn_after")
        ui.attention(first, second, dark)


if result is not None:
    frame.shown(head, *result)
    with blocks.reporting_errors():
        compared(result[0], result[1].result)
    blocks.how(ui.HOW, "infoflow.traced.interventions.apply", "infoflow.analyses.interventions.changed_plan")
else:
    ui.listed()  # where a change can't be made, it can be taken back
