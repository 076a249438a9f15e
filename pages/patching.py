"""Which parts make the difference between two prompts? Each is taken from the one run into the other."""

from dataclasses import replace
from functools import partial

import streamlit as st

from infoflow.analyses.patching import Patching, PatchRequest, joined
from infoflow.errors import Cancelled
from infoflow.files import formats
from infoflow.pictures.pairs import picture as pairs_picture
from infoflow.pictures.patching import picture
from infoflow.summaries.patching import sentences
from infoflow.ui import asking, blocks, controls, frame, results
from infoflow.ui import patching as ui

NAME = "Patching"
head = frame.page(NAME, ui.INTRO, ui.USE, ("head", "layer", "logit", "residual stream"))
asked, _ = asking.question()
result = None
with blocks.reporting_errors():
    request, view = ui.asked_of(asked.model, asked.prompt, asked.interventions)
    result = ui.first_look(NAME, request, asked.key)


def exact(wanted: PatchRequest, n_layers: int) -> list[Patching]:
    """The exact sweep as far as it has come: whole, or what was there when it was stopped."""
    kept: list[Patching] = []
    place = st.empty()

    def run(part: PatchRequest, patience: float) -> Patching:
        return results.of(part, asked.key, f"patch_{part.layers[0]}", patience=patience)

    def draw(found: list[Patching], n: int) -> None:
        kept[:] = found
        with place.container():
            part = picture(joined(found), frame.dark(), view.metric)
            blocks.chart(part.chart, alt="The sweep as far as it has come")
            st.caption(f"{len(found)} of {n} parts of the sweep are there.")

    try:
        kept = ui.swept(wanted, n_layers, run, draw)
    except Cancelled:
        st.info("The sweep was stopped: what had come by then is shown.", icon=":material/cancel:")
    place.empty()
    return kept


def shown(first: Patching, found: Patching, is_exact: bool) -> None:
    """The map, the strongest parts, the two runs."""
    dark = frame.dark()
    draw = partial(picture, found, metric=view.metric)
    drawn, key = draw(dark=dark), f"patch_map_{ui.scope_of(found)}"
    blocks.says(sentences(found))
    left, right = st.columns([1.7, 1], gap="large")
    with left:
        blocks.chart(drawn.chart, key=key, on_select="rerun", alt=f"{drawn.title}. {found.summary()}")
        st.caption(blocks.plain(drawn.note))
        if is_exact:
            ui.foretold(first, found)
        ui.cone(found, key)
        if ui.heads_can_be_seen(found):
            controls.picked_head(key, None)
    with right:
        ui.aside(found, view.metric, dark)
    blocks.downloads(
        drawn, lambda: formats.frame_json(found.to_frame(), found.provenance), dark, found.provenance, "", found, draw
    )


def pairs(found: Patching) -> None:
    """Pairs of the strongest heads, once they are asked for."""
    with blocks.fold(ui.PAIRS_TITLE, "pairs") as is_open, blocks.reporting_errors():
        if not is_open:
            return
        dark = frame.dark()
        wanted, how = ui.pairs_of(found)
        both = replace(results.of(wanted, asked.key, "patch_pairs_run"), swept=True)  # the page's own sweep
        draw = partial(pairs_picture, both, metric=view.metric, shown=how)
        drawn = draw(dark=dark)
        st.markdown(blocks.plain(both.summary()))
        left, right = st.columns([1, 1.2], gap="large")
        with left:
            blocks.chart(drawn.chart, key="patch_pairs_map", alt=f"{drawn.title}. {both.summary()}")
            st.caption(blocks.plain(drawn.note))
        with right:
            ui.pairs_table(both, view.metric)
        as_json = partial(formats.as_json, both)
        blocks.downloads(drawn, as_json, dark, both.provenance, "pairs_", both, draw)


def sweep(shown_of: PatchRequest, first: Patching) -> None:
    """The exact sweep and its pairs, or what may be run in its place."""
    wanted = ui.in_full(first, shown_of)
    offers = results.refused(wanted, asked.key, "patch")
    if offers is not None:
        if ui.is_asked(request):
            ui.offer(offers)
        if first.provenance.request.method == "gradient":
            shown(first, first, False)
        return
    found = exact(wanted, first.n_layers)
    if found:
        whole = joined(found)
        shown(first, whole, True)
        if ui.can_pair(whole):
            pairs(whole)


if result is not None:
    frame.shown(head, *result)
    first = result[1].result
    with blocks.reporting_errors():
        if view.shown == ui.ESTIMATE and first.provenance.request.method == "gradient":
            shown(first, first, False)
        else:
            sweep(result[0], first)
        ui.note(result[0], first)
    blocks.how(ui.HOW, "infoflow.traced.reruns.joined", "infoflow.traced.reruns.taken", "infoflow.traced.reruns.outcomes")
