"""What follows when the run is changed? Before and after, side by side."""

from dataclasses import replace
from functools import partial
from typing import TypeVar

import streamlit as st

from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.generation import Generation, GenerationRequest
from infoflow.analyses.location import LocationRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.analyses.request import Request
from infoflow.files import formats
from infoflow.interventions import AnyIntervention
from infoflow.pictures.interventions import picture
from infoflow.pictures.picture import identity
from infoflow.studies.compare import Comparison, compare
from infoflow.tables import interventions as tables
from infoflow.ui import address, asking, blocks, controls, frame, results
from infoflow.ui import compare as beside
from infoflow.ui import interventions as ui
from infoflow.ui.change_form import adding

R = TypeVar("R")
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
        view, followed = ui.view(), ui.follow() if run.interventions else ()
        labels = before.position_labels[: before.n_prompt]
        adding(labels, scope)
        ui.listed(labels, scope)
    first, second = int(before.token_ids[0, 0]), int(after.token_ids[0, 0])
    if run.interventions:
        st.markdown(blocks.plain(tables.said(before, after)))
    if followed:
        st.caption(blocks.plain(f"Followed: {tables.followed(*both(lens(run, followed), run))}."))
    if not run.interventions:
        drawn = picture(before, dark)
        says = f"Next tokens. {blocks.largest(drawn.frame, 'name', 'probability', '.1%')}"
        blocks.chart(drawn.chart, key="change_next", alt=says)
        attention = AttentionRequest(model=run.model, prompt=run.prompt)
        told = partial(results.of, attention, asked.key, "change_try"), partial(outcome, run, before)
        ui.nothing_yet(before, *((None, None) if run.model.hosted else told))  # there each example would be a request
        return
    if view == ui.View.NEXT:
        found = named((before, after))
        draw = beside.next_token(found, ui.LOOK)
        st.dataframe(draw(dark=dark).frame.drop(columns="id"), hide_index=True, column_config=ui.COLUMNS)
    elif view == ui.View.LENS:
        found = named(both(lens(run, (first, second, *followed)), run))
        draw = beside.lens(found, ui.LOOK)
    elif view == ui.View.FLOW:
        row = st.container(horizontal=True, key="change_flow")
        with row:
            sources = controls.run_by(220)
        found = named(both(FlowRequest(model=run.model, prompt=run.prompt, sources=sources), run))
        with row:
            place = ui.position(found.labels, scope)
        draw = beside.flow(found, ui.LOOK, place)
    elif view == ui.View.ANSWER:
        found = named(both(LocationRequest(model=run.model, prompt=run.prompt, target=first), run))
        draw = beside.answer(found, ui.LOOK)
    else:
        found = named(both(AttentionRequest(model=run.model, prompt=run.prompt), run))
        draw = beside.attention(found, ui.LOOK, scope)
        address.write(beside.HEADS.name)
    if draw is not None:
        shown = draw(dark=dark)
        as_json = partial(formats.frame_json, shown.frame, found.provenance)
        blocks.downloads(shown, as_json, dark, found.provenance, "", found, draw)


def lens(run: GenerationRequest, followed: tuple[int | str, ...]) -> LensRequest:
    """Some tokens through the layers, at the last position."""
    return LensRequest(model=run.model, prompt=run.prompt, positions=(-1,), targets=tuple(dict.fromkeys(followed)))


def named(runs: tuple[R, R]) -> Comparison:
    """The two, compared under the names that they have here."""
    return replace(compare(*runs), names=ui.NAMES)


def outcome(run: GenerationRequest, before: Generation, change: AnyIntervention) -> str:
    """What becomes of the answer under one change more."""
    after = results.of(
        replace(run, interventions=(change,)), asked.key, f"change_try_{change.kind}_{getattr(change, 'site', '')}"
    )
    return tables.said(before, after)


def both(plain: Request[R], run: GenerationRequest) -> tuple[R, R]:
    """The result of the run as it is, and of the changed one."""
    before = results.of(plain, asked.key, f"change_{plain.analysis}_before")
    return before, results.of(replace(plain, interventions=run.interventions), asked.key, f"change_{plain.analysis}_after")


if result is not None:
    frame.shown(head, *result)
    with blocks.reporting_errors():
        compared(result[0], result[1].result)
    blocks.how(ui.HOW, "infoflow.traced.interventions.apply", "infoflow.analyses.interventions.changed_plan")
else:
    ui.listed()  # where a change can't be made, it can be taken back
