"""Pieces of the Corrections page: the conversation, one answer with what it rests on, saving and reopening."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from infoflow import corrections_tables as tables
from infoflow.analyses.corrections import Answer, Correction
from infoflow.charts import signed
from infoflow.sessions import Conversation, save_conversation
from infoflow.ui import blocks, inputs, texts

WORDS = 8
"""so many words have a bar beside each answer"""


def conversation(answers: Sequence[Answer], said: Sequence[str]) -> None:
    """Who said what. Turns that are not answered yet, or failed, are shown too."""
    for number, text in enumerate(said):
        asked, answered = st.columns([1.4, 1], gap="small")
        with asked, st.chat_message("user"):
            st.markdown(blocks.plain(text))
        if number < len(answers):
            found = answers[number]
            with answered, st.chat_message("assistant"):
                st.markdown(f"**{blocks.plain(found.text)}** (its first token {found.generation.prob[0]:.1%})")


def side(title: str, found: Answer, view: tuple[str, int, int, bool], dark: bool) -> None:
    """One answer: the likeliest tokens, and what its position attends to."""
    st.markdown(f"**{title}: “{blocks.plain(found.text)}”**")
    percent = st.column_config.NumberColumn("probability", format="percent")
    logit = st.column_config.NumberColumn("logit", format="%.2f")
    st.dataframe(tables.top(found), hide_index=True, column_config={"probability": percent, "logit": logit})
    words, first = tables.attended(found, *view)
    bars = words.nlargest(WORDS, "share", keep="first")
    chart = signed.ranking(bars, "share", ".1%", dark)
    st.altair_chart(chart, key=f"talk_words_{title}", alt=f"{title}: what the answering position attends to")
    most = f"The {WORDS} words most looked at. " if len(words) > WORDS else ""
    st.caption(f"{most}The first token has {first:.0%} of the row{' and is left out' if view[3] else ''}.")


def layers(*answers: Answer) -> None:
    """What each layer would answer, of one answer or of two side by side."""
    rows = tables.layers(*answers)
    columns: dict[str, Any] = {"layer": st.column_config.Column(width=80)}
    for name in rows.columns[1:]:
        title = "others" if name.startswith("others") else None
        columns[name] = (
            st.column_config.TextColumn(title, width=250) if title else st.column_config.NumberColumn(format="percent", width=80)
        )
    st.dataframe(rows, hide_index=True, height=min(420, 38 + 35 * len(rows)), column_config=columns, key="talk_layers")
    st.caption(texts.TALK_LAYERS)


def read_as(found: Answer) -> None:
    """The very text that the model was given."""
    with st.expander("What the model reads"):
        pieces = found.generation.pieces[: found.generation.n_prompt]
        st.code("".join(t.text or t.name for t in pieces if t.part <= 1), language=None, wrap_lines=True)


def keep(found: Correction, said: Sequence[str]) -> None:
    """Save and reopen."""
    made = found.answers[0].generation.provenance
    kept = Conversation(made.model, made.revision, found.answers[0].form, tuple(said), tuple(a.text for a in found.answers))
    st.download_button(
        "Save the conversation", save_conversation(kept), file_name="conversation.json", mime="application/json",
        on_click="ignore", help="The conversation as JSON, to be reopened here.",
    )  # fmt: skip


def reopen() -> None:
    with st.expander("Reopen a saved conversation"):
        st.file_uploader(
            "Saved conversation", type="json", key="talk_file", on_change=inputs.reopened, help=texts.TALK_REOPEN,
            label_visibility="collapsed",
        )  # fmt: skip
    if st.session_state.get("talk_error"):
        st.error(blocks.plain(st.session_state["talk_error"]), icon=":material/error:")
