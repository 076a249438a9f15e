"""What does a correction change? A question, an answer, a correction, a new answer, side by side."""

from dataclasses import replace
from functools import partial

import streamlit as st

from infoflow.charts import logit_lens as lens_charts
from infoflow.charts import signed
from infoflow.files import formats
from infoflow.pictures import corrections as pictures
from infoflow.pictures.picture import identity
from infoflow.studies import corrections
from infoflow.summaries.corrections import sentences
from infoflow.summaries.sentence import spoken
from infoflow.tables import corrections as tables
from infoflow.tables.logit_lens import trajectories
from infoflow.ui import blocks, contrast, frame, results
from infoflow.ui import corrections as ui
from infoflow.ui import parts as made_of

NAME = "Corrections"
head = frame.page(NAME, ui.INTRO, words=("token", "logit", "logit lens", "contribution"))
talk = ui.conversation_asked()
request = corrections.CorrectionRequest(
    model=talk.asked.model, prompt=talk.said, form=talk.form, system=talk.system, interventions=talk.asked.interventions
)
result = None
if talk.said:
    result = results.last_good(NAME, request, talk.asked.key)
else:
    st.info("Ask something in the sidebar, or choose an example there.")


@st.fragment
def comparison(asked: corrections.CorrectionRequest, found: corrections.Correction) -> None:
    """Before and after: reruns alone."""
    dark = frame.dark()
    n_layers, n_heads = found.answers[0].generation.pattern.shape[:2]
    made, ids = found.answers[-1].generation.provenance, found.answers[-1].generation.prompt_ids
    titles = [f"{c.before.text} → {c.after.text}" for c in found.changes]
    scope = identity(made, ids)
    view = ui.view(titles, asked.prompt, scope, n_layers, n_heads)
    if not found.changes:
        blocks.says(sentences(found))
        draw = partial(pictures.layers, found.answers[0])
        drawn = draw(dark=dark)
        blocks.chart(drawn.chart, key="talk_lines", alt=f"The answer through the layers. {spoken(sentences(found))}")
        st.caption(f"{ui.LINES} Now correct the answer, in the sidebar: then both are compared here.")
        ui.side("Answer", found.answers[0], view, dark)
        ui.layers(found.answers[0])
        blocks.downloads(drawn, lambda: formats.frame_json(found.to_frame(), made), dark, found.provenance, "", found, draw)
        return
    change, quantity = ui.held_against(asked, talk.asked.key, found, view, scope)
    said = spoken(sentences(change))
    blocks.says(sentences(change))
    left, right = st.columns(2, gap="medium") if change.difference is not None else (st.container(), st.empty())
    with left:
        lines = trajectories(change.lens, change.lens.positions[-1])
        blocks.chart(
            lens_charts.trajectories(lines, "probability", dark), key="talk_lines", alt=f"The answers through the layers. {said}"
        )
        st.caption(f"**Where the answer flips.** {tables.wins(change)}", help=ui.LINES)
    draw = partial(pictures.picture, change, quantity=quantity)
    drawn = draw(dark=dark)
    if change.difference is not None:
        with right:
            blocks.chart(drawn.chart, key="talk_turns", alt=f"Contribution of each turn to the lead of the new answer. {said}")
            st.caption(f"**What each turn contributed to it**{'' if quantity == 'own' else f', {quantity}'}", help=ui.TURNS)
            error = f"All parts sum to {change.difference.total:+.2f}; error {change.difference.max_error:.0e}."
            bars = f"Bars are logits: green raised “{blocks.plain(change.after.text)}” over the old answer."
            whole = f"{error} {change.difference.note}" if quantity == "own" else ""
            st.caption(f"{bars} {whole} {ui.hindsight(change, view.contrast)}")
            blocks.warn_if_off(change.difference.max_error, made, "The contributions do not add up to the lead")
    before, after = st.columns(2, gap="medium")
    with before:
        ui.side("Before", change.before, view, dark)
    with after:
        ui.side("After", change.after, view, dark)
    if change.difference is not None:
        st.markdown("**The same by word**", help=ui.TURNS)
        parts = tables.words(change, quantity)
        says = f"Contribution of each word to the lead of the new answer. {blocks.largest(parts, 'label', 'logit', '+.2f')}"
        blocks.chart(
            signed.columns(parts, title=contrast.axis(quantity), dark=dark),
            key="talk_tokens",
            alt=says,
        )
        labels = [change.parts[part] for part in change.part_of]
        by = change.difference.provenance
        made_of.by_part(asked.model, talk.asked.key, by.ids, labels, bool(asked.interventions), dark)
    st.markdown("**Layer by layer**")
    ui.layers(change.before, change.after)
    whole = replace(drawn, frame=found.to_frame())
    blocks.downloads(whole, lambda: formats.frame_json(found.to_frame(), made), dark, found.provenance, "", found, draw)


if result is not None:
    shown, run = result
    answers = run.result.answers
    talk.transcript(answers if shown == request else ())
    frame.shown(head, shown, run)
    changed = tables.other_answers(st.session_state.get("talk_saved", ()), tuple(a.text for a in answers))
    if changed:
        st.warning(blocks.plain(changed))
    comparison(shown, run.result)
    st.caption(f"Written as {answers[0].form}. {'' if run.has_template else ui.NO_TEMPLATE}")
    ui.keep(run.result, shown)
    ui.read_as(answers[-1])
    study = "infoflow.studies.corrections"
    traced = "infoflow.traced.attribution.attribute_block"
    blocks.how(ui.HOW, f"{study}.CorrectionRequest.run", f"{study}.parts_of", traced)
