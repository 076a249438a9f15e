"""Pieces of the Generation page: the text that was written, and one step of it."""

import streamlit as st

from infoflow import generation_tables as tables
from infoflow.analyses.generation import Generation, text_of
from infoflow.tokens import printable
from infoflow.ui import blocks, cache, texts


def text(written: cache.Written) -> None:
    """Prompt and output as running text, and what is to be said of them."""
    gen = written.gen
    prompt = gen.pieces[: gen.n_prompt]
    marked = "".join(t.text or t.name for t in prompt if t.part <= 1)
    before = blocks.plain(printable(marked if written.chat else text_of(prompt)))
    after = blocks.plain(printable(gen.text)) or "(nothing but the end)"
    with st.container(border=True):
        st.markdown(f"{before} **:orange-background[{after}]**")
    form = "In the model's chat template." if written.chat else ""
    template = "" if written.chat else texts.GEN_TEMPLATE if written.has_template else texts.GEN_NO_TEMPLATE
    st.caption(" ".join(filter(None, [*map(blocks.plain, tables.said(gen)), form, template])))


def step(gen: Generation, number: int, found: tables.Connections, hide_first: bool) -> None:
    """The likeliest tokens of a step, and what its weights sum to."""
    name = blocks.plain(tables.written(gen, number))
    st.markdown(f"**Step {number + 1} of {gen.n_steps}: “{name}”**")
    place = "the likeliest" if gen.rank[number] == 0 else f"number {gen.rank[number] + 1} by probability"
    st.caption(f"Probability {gen.prob[number]:.1%}, {place}.")
    percent = st.column_config.NumberColumn("probability", format="percent")
    logit = st.column_config.NumberColumn("logit", format="%.2f")
    st.dataframe(tables.likeliest(gen, number), hide_index=True, column_config={"probability": percent, "logit": logit})
    inputs, outputs = float(found.raw_inputs[number]), float(found.raw_outputs[number])
    hidden = " The first token, which is hidden, has the rest." if hide_first else ""
    st.caption(
        f"Raw weights: {inputs:.2f} on the prompt's tokens shown, {outputs:.2f} on tokens written before; "
        f"{inputs + outputs:.2f} in all.{hidden}"
    )
