"""What does a correction change? A question, an answer, a correction, a new answer, side by side."""

import streamlit as st

from infoflow import corrections_tables as tables
from infoflow import export, lens_tables, pictures
from infoflow.analyses import corrections
from infoflow.analyses.attribution_trace import attribute_block
from infoflow.charts import lens as lens_charts
from infoflow.charts import signed
from infoflow.ui import blocks, cache, inputs, runs, talk, texts, views

NAME = "Corrections"
inputs.page(NAME, texts.TALK_INTRO)
asked = inputs.talking()
transcript = st.container()  # filled once the answers are there
inputs.next_turn(asked.said, asked.model)
result = None
if asked.said:
    work = lambda q, job: cache.conversation(q.place, q.model, q.said, q.form, job)  # noqa: E731
    result = runs.last_good("talk", NAME, asked, work)
else:
    st.info("Type a question, or choose an example above.")


@st.fragment
def comparison(found: corrections.Correction) -> None:
    """Before and after: reruns alone."""
    dark = inputs.dark()
    n_layers, n_heads = found.answers[0].generation.pattern.shape[:2]
    made, ids = found.answers[-1].generation.provenance, found.answers[-1].generation.prompt_ids
    number = views.which_change([f"{c.before.text} → {c.after.text}" for c in found.changes], pictures.identity_of(made, ids))
    view = views.heard(tables.ATTENTION, n_layers, n_heads)
    if not found.changes:
        talk.side("Answer", found.answers[0], view, dark)
        talk.layers(found.answers[0])
        st.info("Now correct the answer, in the box above: then both are compared here.")
        return
    change = found.changes[number]
    before, after = st.columns(2, gap="medium")
    with before:
        talk.side("Before", change.before, view, dark)
    with after:
        talk.side("After", change.after, view, dark)
    st.markdown("**Layer by layer**")
    talk.layers(change.before, change.after)
    st.markdown("**Where the answer flips**", help=texts.TALK_LINES)
    st.markdown(blocks.plain(tables.said(change)))
    lines = lens_tables.trajectories(change.lens, len(change.lens.tokens) - 1)
    st.altair_chart(lens_charts.trajectories(lines, "probability", dark), key="talk_lines", alt="The answers through the layers")
    if change.difference is None:
        return
    st.markdown("**What each turn contributed to it**", help=texts.TALK_TURNS)
    by_turn = tables.turns(change)
    chart = signed.ranking(by_turn.rename(columns={"label": "name"}), "logit", "+.2f", dark)
    st.altair_chart(chart, key="talk_turns", alt="Contribution of each turn to the lead of the new answer")
    error = f"All parts sum to {change.difference.total:+.2f}; error {change.difference.max_error:.0e}."
    st.caption(f"Bars are logits: green raised “{blocks.plain(change.after.text)}” over the old answer. {error}")
    blocks.warn_if_off(change.difference.max_error, made, "The contributions do not add up to the lead")
    by_word = signed.columns(tables.words(change), title="logit", dark=dark)
    st.altair_chart(by_word, key="talk_tokens", alt="The same by token")
    frame = found.to_frame()
    blocks.downloads(chart, frame, lambda: export.frame_json(frame, made), dark)


with transcript:
    talk.conversation(result[1].found.answers if result is not None and result[0] == asked else (), asked.said)
if result is not None:
    shown, talked = result
    answers = talked.found.answers
    changed = tables.other_answers(st.session_state.get("talk_saved", ()), tuple(a.text for a in answers))
    if changed:
        st.warning(blocks.plain(changed))
    st.caption(f"Written as {answers[0].form}. {'' if talked.has_template else texts.GEN_NO_TEMPLATE}")
    comparison(talked.found)
    talk.keep(talked.found, shown.said)
    talk.read_as(answers[-1])
    with st.expander("How is it computed?"):
        st.markdown(texts.TALK_HOW)
        blocks.how(corrections.answer, corrections.change, attribute_block)
talk.reopen()
