"""What does the model write, and what does each token of it rest on?"""

import streamlit as st

from infoflow import decoding, export, pictures
from infoflow import generation_tables as tables
from infoflow.analyses.generation_trace import forced
from infoflow.attention_tables import LEVELS
from infoflow.charts import generation as charts
from infoflow.charts import signed
from infoflow.ui import blocks, cache, inputs, runs, steps, texts, views

NAME = "Generation"
inputs.page(NAME, texts.GEN_INTRO)
asked = inputs.writing()
result = runs.last_good(
    "generation", NAME, asked, lambda q, job: cache.generation(q.place, q.model, q.prompt, q.new_tokens, q.sampling, q.form, job)
)


@st.fragment
def picture(written: cache.Written) -> None:
    """The text, its connections, and one step of it: reruns alone."""
    gen, dark = written.gen, inputs.dark()
    scope = pictures.identity_of(gen.provenance, gen.prompt_ids, gen.output_ids)
    steps.text(written)
    n_layers, n_heads = gen.pattern.shape[:2]
    ties = views.ties(LEVELS[::-1], tables.NORMALISATIONS, n_layers, n_heads)
    at = views.stepping(gen.n_steps, scope)
    hide_first = at.hide_first and gen.n_prompt > 1  # else nothing would be left
    window = views.tokens_shown(gen.n_prompt, views.INPUT_WINDOW, "gen_inputs")
    found = tables.connections(gen, ties.level, ties.layer, ties.head, ties.normalisation, hide_first)
    edges = tables.edges(found, gen, at.least)
    drawn = tables.shown(edges, None if at.every else at.step, at.chosen)
    left, right = st.columns([2, 1], gap="large")
    with left:
        st.markdown(f"**{found.title}**, {ties.normalisation}")
        nodes = tables.nodes(gen, None if at.every else at.step, at.chosen, hide_first, window)
        largest = max(float(found.inputs.max()), float(found.outputs.max()))
        chart = charts.bipartite(nodes, drawn, at.least, largest, dark)
        st.altair_chart(
            chart, key=at.chart, on_select=lambda: views.pick_token(at.chart, scope), selection_mode="token",
            alt="Connections from the prompt (left) to what was written (right)",
        )  # fmt: skip
        if drawn.empty:
            st.info("No connection here reaches the threshold: lower it, or choose another step or token.")
        st.caption(texts.GEN_USE)
    with right:
        steps.step(gen, at.step, found, hide_first)
    st.markdown(f"**What raised “{blocks.plain(tables.written(gen, at.step))}”**, step {at.step + 1}", help=texts.GEN_RAISED)
    table = tables.raised(gen, at.step)
    st.altair_chart(signed.columns(table, title="logit", dark=dark), key="gen_raised", alt="What raised the token written")
    n_before = gen.n_prompt + at.step
    most = f"The largest {len(table)} of {n_before} tokens. " if n_before > len(table) else ""
    error = f"All of them, biases included, sum to the logit {gen.total[at.step]:+.2f}; worst error {gen.max_error:.0e}."
    st.caption(f"{most}{error}")
    blocks.warn_if_off(gen.max_error, gen.provenance, "The contributions do not add up to the logits")
    frame = gen.to_frame()
    blocks.downloads(chart, frame, lambda: export.frame_json(frame, gen.provenance), dark)


if result is not None:
    picture(result[1])
    with st.expander("How is it computed?"):
        st.markdown(texts.GEN_HOW)
        blocks.how(decoding.continue_here, forced)
