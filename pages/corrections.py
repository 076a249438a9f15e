"""What does a correction change? A question, an answer, a correction, a new answer, side by side."""

from dataclasses import replace

import streamlit as st

from infoflow.charts import logit_lens as lens_charts
from infoflow.charts import signed
from infoflow.files import formats
from infoflow.pictures.corrections import turns
from infoflow.pictures.picture import identity
from infoflow.studies import corrections
from infoflow.tables import corrections as tables
from infoflow.tables.logit_lens import trajectories
from infoflow.traced.attribution import attribute_block
from infoflow.ui import blocks, frame, results
from infoflow.ui import corrections as ui

NAME = "Corrections"
frame.page(NAME, ui.INTRO)
talk = ui.conversation_asked()
transcript = st.container()  # filled once the answers are there
ui.next_turn(talk.said, talk.asked.model.name)
request = corrections.CorrectionRequest(model=talk.asked.model, prompt=talk.said, form=talk.form)
result = None
if talk.said:
    result = results.last_good(NAME, request, talk.asked.key)
else:
    st.info("Type a question, or choose an example above.")


@st.fragment
def comparison(found: corrections.Correction) -> None:
    """Before and after: reruns alone."""
    dark = frame.dark()
    n_layers, n_heads = found.answers[0].generation.pattern.shape[:2]
    made, ids = found.answers[-1].generation.provenance, found.answers[-1].generation.prompt_ids
    number = ui.which_change([f"{c.before.text} → {c.after.text}" for c in found.changes], identity(made, ids))
    view = ui.view(n_layers, n_heads)
    if not found.changes:
        ui.side("Answer", found.answers[0], view, dark)
        ui.layers(found.answers[0])
        st.info("Now correct the answer, in the box above: then both are compared here.")
        return
    change = found.changes[number]
    before, after = st.columns(2, gap="medium")
    with before:
        ui.side("Before", change.before, view, dark)
    with after:
        ui.side("After", change.after, view, dark)
    st.markdown("**Layer by layer**")
    ui.layers(change.before, change.after)
    st.markdown("**Where the answer flips**", help=ui.LINES)
    st.markdown(blocks.plain(tables.said(change)))
    lines = trajectories(change.lens, change.lens.positions[-1])
    blocks.chart(lens_charts.trajectories(lines, "probability", dark), key="talk_lines", alt="The answers through the layers")
    if change.difference is None:
        return
    st.markdown("**What each turn contributed to it**", help=ui.TURNS)
    drawn = turns(change, dark)
    blocks.chart(drawn.chart, key="talk_turns", alt="Contribution of each turn to the lead of the new answer")
    error = f"All parts sum to {change.difference.total:+.2f}; error {change.difference.max_error:.0e}. {change.difference.note}"
    st.caption(f"Bars are logits: green raised “{blocks.plain(change.after.text)}” over the old answer. {error}")
    blocks.warn_if_off(change.difference.max_error, made, "The contributions do not add up to the lead")
    by_word = signed.columns(tables.words(change), title="logit", dark=dark)
    blocks.chart(by_word, key="talk_tokens", alt="The same by token")
    blocks.downloads(replace(drawn, frame=found.to_frame()), lambda: formats.frame_json(found.to_frame(), made), dark)


with transcript:
    ui.conversation(result[1].result.answers if result is not None and result[0] == request else (), talk.said)
if result is not None:
    shown, run = result
    answers = run.result.answers
    changed = tables.other_answers(st.session_state.get("talk_saved", ()), tuple(a.text for a in answers))
    if changed:
        st.warning(blocks.plain(changed))
    st.caption(f"Written as {answers[0].form}. {'' if run.has_template else ui.NO_TEMPLATE}")
    comparison(run.result)
    ui.keep(run.result, shown.prompt)
    ui.read_as(answers[-1])
    with st.expander("How is it computed?"):
        st.markdown(ui.HOW)
        blocks.how(corrections.CorrectionRequest.run, corrections.parts_of, attribute_block)
ui.reopen()
