"""How long is the residual stream, and which way does it point?"""

from functools import partial

import streamlit as st

from infoflow.analyses.activations import Activations, ActivationsRequest
from infoflow.charts import signed
from infoflow.files import formats
from infoflow.pictures import stability as directions
from infoflow.summaries.activations import sentences
from infoflow.tables import activations as tables
from infoflow.ui import activations as ui
from infoflow.ui import asking, blocks, frame, results

NAME = "Activations"
head = frame.page(NAME, ui.INTRO, ui.USE, ("residual stream", "layer", "MLP", "attention sink"))
asked, _ = asking.question()
request = ActivationsRequest(model=asked.model, prompt=asked.prompt, interventions=asked.interventions)
result = results.last_good(NAME, request, asked.key)


@st.fragment
def picture(shown: ActivationsRequest, found: Activations) -> None:
    """Lengths and angles, and the directions of contributions: reruns alone."""
    dark = frame.dark()
    now = ui.view(found)
    blocks.says(sentences(found))
    with blocks.reporting_errors():
        draw = ui.drawing(shown, asked.key, found, now)
        if draw is not None:
            drawn = draw(dark=dark)
            says = f"{drawn.title}. {drawn.note} {found.summary()}"
            blocks.chart(drawn.chart, key="act_lines", alt=says)
            st.caption(blocks.plain(drawn.note))
            as_json = partial(formats.frame_json, drawn.frame, found.provenance)
            blocks.downloads(drawn, as_json, dark, found.provenance, "", found, draw)
    with blocks.fold("Every position", "act_map") as is_open:
        if is_open:
            table = tables.map_of(found, now.norm)
            drawn_map = signed.grid(table, "label", "layer", "share", ".0%", dark=dark)
            blocks.chart(
                drawn_map, key="act_every", alt=f"Length of the residual by layer and position. {ui.largest_norm(found)}"
            )
            st.caption("Length of the residual after each layer, as a share of the longest.")
    with blocks.fold("Does what each word contributes keep its direction?", "act_stable") as is_open, blocks.reporting_errors():
        if is_open:
            of_run = asking.Asked(shown.model, str(shown.prompt), asked.key, shown.interventions)
            turned = ui.stability(of_run, now.at(len(found.tokens)))
            st.markdown(blocks.plain(turned.summary()))
            kept_by = partial(directions.picture, turned)
            kept = kept_by(dark=dark)
            blocks.chart(kept.chart, key="act_stability_lines", alt=f"{kept.title}. {turned.summary()}")
            st.caption(ui.STABLE)
            blocks.warn_if_off(turned.max_error, turned.provenance, "The parts do not sum to the residual")
            as_json = partial(formats.frame_json, kept.frame, turned.provenance)
            blocks.downloads(kept, as_json, dark, turned.provenance, "stable_", turned, kept_by)


if result is not None:
    frame.shown(head, *result)
    picture(result[0], result[1].result)
    blocks.how(ui.HOW, "infoflow.traced.activations.stream", "infoflow.traced.stability.followed")
