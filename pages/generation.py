"""What does the model write, and what does each token of it rest on?"""

from functools import partial

import streamlit as st

from infoflow.analyses.generation import Generation, GenerationRequest
from infoflow.analyses.perform import Performed
from infoflow.charts import signed
from infoflow.files import formats
from infoflow.pictures.generation import Drawn, connections
from infoflow.pictures.picture import identity
from infoflow.summaries.generation import sentences
from infoflow.summaries.sentence import spoken
from infoflow.tables import generation as tables
from infoflow.ui import asking, blocks, contrast, controls, frame, parts, results
from infoflow.ui import generation as ui

NAME = "Generation"
head = frame.page(NAME, ui.INTRO, ui.USE, ("token", "head", "logit", "attention sink"))
asked, how = asking.question(ui.writing)
assert how is not None
request = GenerationRequest(
    model=asked.model, prompt=asked.prompt, max_new_tokens=how.new_tokens, temperature=how.temperature, top_p=how.top_p,
    seed=how.seed, form=how.form, thinking=how.thinking, interventions=asked.interventions,
)  # fmt: skip
result: tuple[GenerationRequest, Performed[Generation]] | None = results.last_good(NAME, request, asked.key)


@st.fragment
def picture(run: GenerationRequest, written: Performed[Generation]) -> None:
    """The text, its connections, and one step of it: reruns alone."""
    gen, dark = written.result, frame.dark()
    scope = identity(gen.provenance, gen.prompt_ids, gen.output_ids)
    at = ui.view(gen, scope)
    said = sentences(gen, at.step)
    blocks.says(said, partial(ui.go, scope))
    found = tables.connections(gen, at.level, at.layer, at.head, at.normalisation, at.hide_first)
    left, right = st.columns([2, 1], gap="large")
    with left:
        which = Drawn(None if at.every else at.step, at.chosen, at.least, at.hide_first, at.window)
        draw = partial(connections, gen, found, which)
        drawn = draw(dark=dark)
        blocks.chart(
            drawn.chart, key=at.chart, on_select=lambda: ui.pick_token(at.chart, scope), selection_mode="token",
            alt=f"Connections from the prompt (left) to what was written (right). {spoken(said)}",
        )  # fmt: skip
        if tables.shown(tables.edges(found, gen, at.least), which.step, at.chosen).empty:
            st.info("No connection here reaches the threshold: lower it, or choose another step or token.")
        drawn_steps = "All steps are drawn" if at.every else f"Step {at.step + 1} is drawn"
        st.caption(f"**{found.title}**, {at.normalisation}. {drawn_steps}. {controls.part_shown(gen.n_prompt, at.window)}")
    with right:
        ui.step(gen, at.step, found, at.hide_first)
    ui.text(written)
    if ui.hops() == ui.Hops.ALL:
        through(gen, at, scope, dark)
    else:
        raised(run, gen, at, scope, dark)
    labels = ["first token", *["prompt"] * (gen.n_prompt - 1), *["written"] * gen.n_steps]
    parts.by_part(run.model, asked.key, gen.prompt_ids + gen.output_ids, labels, bool(run.interventions), dark)
    blocks.warn_if_off(gen.max_error, gen.provenance, "The contributions do not add up to the logits")
    blocks.downloads(drawn, lambda: formats.as_json(gen), dark, gen.provenance, "", gen, draw)


def raised(run: GenerationRequest, gen: Generation, at: ui.View, scope: str, dark: bool) -> None:
    """What each token before adds to the logit of the one that a step wrote."""
    st.markdown(f"**What raised “{blocks.plain(tables.written(gen, at.step))}”**, step {at.step + 1}", help=ui.RAISED)
    gen, quantity = ui.held_against(run, asked.key, gen, scope)
    table = tables.raised(gen, at.step, hide_first=at.hide_first, quantity=quantity)
    what = "logit" if quantity == "own" else f"{quantity} part of the logit"
    says = f"What raised the token written: {what}. {blocks.largest(table, 'label', 'logit', '+.2f')}"
    blocks.chart(signed.columns(table, title=contrast.axis(quantity), dark=dark), key="gen_raised", alt=says)
    note = tables.raised_note(gen, at.step, len(table), at.hide_first, quantity)
    st.caption(f"{note} {ui.hindsight(gen, at.step)}")


def through(gen: Generation, at: ui.View, scope: str, dark: bool) -> None:
    """What a span of the text rests on in the prompt, through what was written on the way."""
    first, last, surprise = ui.span(gen, at.step, scope)
    what = tables.span(gen, first, last)
    st.markdown(f"**What {blocks.plain(what)} rests on**, all hops", help=ui.HOPS)
    table = tables.rests_on(gen, first, last, surprise, at.hide_first)
    says = f"Share of each token of the prompt, all hops. {blocks.largest(table, 'label', 'share')}"
    blocks.chart(signed.columns(table, "share", "share", dark, ".1%"), key="gen_through", alt=says)
    st.caption(blocks.plain(tables.through_note(gen, first, last, at.hide_first)))
    with blocks.fold(f"All hops beside one ({len(table)} rows)", "through") as is_open:
        if is_open:
            share = st.column_config.NumberColumn("all hops", format="percent")
            one = st.column_config.NumberColumn("one hop", format="percent")
            st.dataframe(table, hide_index=True, column_config={"share": share, "direct": one})


if result is not None:
    frame.shown(head, *result)
    picture(*result)
    blocks.how(ui.HOW, "infoflow.models.decoding.continue_here", "infoflow.traced.generation.teacher_forced")
