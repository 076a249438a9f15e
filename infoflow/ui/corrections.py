"""The controls and pieces of the Corrections page: the conversation, one answer with what it rests on, saving and reopening."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote_plus

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from infoflow.charts import signed
from infoflow.errors import InfoflowError
from infoflow.files.conversations import (
    MOST_CHARACTERS,
    MOST_TURNS,
    Conversation,
    load_conversation,
    save_conversation,
)
from infoflow.models.spec import ModelSpec
from infoflow.studies.corrections import Answer, Change, Correction, CorrectionRequest
from infoflow.tables import corrections as tables
from infoflow.text.contrasts import seen
from infoflow.text.conversations import Form
from infoflow.text.examples import TALKS
from infoflow.ui import address, blocks, changes, controls, results
from infoflow.ui import contrast as contrasts
from infoflow.ui.asking import EXPECTED, IN_A_LINK, Asked, model_name, place, run_again
from infoflow.ui.controls import choice, hide_first, layer_and_head
from infoflow.ui.places import Places
from infoflow.ui.streamlit_names import came_by_history, write_bound

FORMS = (Form.AUTO, Form.CHAT, Form.PLAIN)
WORDS = 8
"""so many words have a bar beside each answer"""

INTRO = """Ask, get a one-word answer, correct it, and see what the correction changed: before and after side by side, the
layer where the answer flips, and which turn made it."""
HOW = """The conversation is written out by the model's chat template (or as questions and answers), and the model answers
greedily; the answer's first word is kept. One run of the second conversation, with patterns, gates and norm scales held
fixed, and one pass backward from logit(new) − logit(old) give every token's contribution. The code that made the numbers:"""
LINES = """The old and the new answer's first token through the layers, at the position that the new answer is read off
(solid), beside other likely ones (dashed)."""
TURNS = """With patterns, gates and norm scales fixed, logit(new) − logit(old) is a sum over the tokens of the conversation,
here summed by turn. *start* is the mark that every text begins with, *template* what is written around the turns (who speaks,
marks, a system message of its own), *answer cue* what comes after the last turn."""
LAYERS = """What each layer would answer if it were the last (logit lens): the probability of the answer's first token,
and the three likeliest others."""
FORM = """**chat**: the model's own chat template, its marks for who speaks included. **plain text**: lines that begin
with Question: and Answer:, for base models. **auto**: chat where the model has a template."""
BACK = """Removes the last turn that you said, with its answer."""
ONE_WORD = """Adds “Answer with one word.” to the question. Chat models need it; the bundled one was trained to answer so."""
ATTENTION = """The position that the answer's first word is read off: what it attends to, by word, as shares of what is
shown. Mean over all heads of the last layer, over all heads, or a single head."""
SYSTEM_PROMPT = """Said to the model before the question, in the place that its template has for it; as plain text, a line of its
own. Empty: only what the template itself says."""
CONTRASTS = Places("contrast_of_talk")
CONTRAST = """The same conversation with other words of the user's, of as many tokens: pick one with a word swapped, the mean over
neutral texts, or type another question and press Enter. What would be said then too is hindsight: paths that are held fixed are
those of the finished run."""
SAID = "said"
"""what the address calls the conversation"""
REOPEN = """A JSON file that “Save” wrote. The model answers again; where it answers otherwise, that is said."""
HIDE_FIRST = """The first token is an attention sink in most models: it takes most of the weight without meaning much.
Hidden, its weight is left out before anything is normalised."""
NO_TEMPLATE = """This model has no chat template: it is a base model, which continues text."""


@dataclass(frozen=True)
class ConversationAsked:
    """A conversation that is asked of a model."""

    asked: Asked
    said: tuple[str, ...]
    """a question, then corrections"""
    form: Form
    system: str
    place: DeltaGenerator
    """of the conversation, in the sidebar"""

    def transcript(self, answers: Sequence[Answer]) -> None:
        """Who said what. Turns that are not answered yet, or failed, are shown too."""
        with self.place.container():
            conversation(answers, self.said)


def conversation_asked() -> ConversationAsked:
    """Examples, the conversation so far, its next turn, model and form, in the sidebar. What is said is in the session, under
    `talk_said`; its address has it too, where it is short enough."""
    linked = address.restored(SAID)
    if linked and ("talk_said" not in st.session_state or came_by_history()):
        st.session_state["talk_said"] = tuple(text[:MOST_CHARACTERS] for text in linked[:MOST_TURNS])
    first = (TALKS[0].question, TALKS[0].correction)
    said: tuple[str, ...] = st.session_state.setdefault("talk_said", first)
    fits = sum(len(quote_plus(text, errors="replace")) for text in said) <= IN_A_LINK
    address.hold(SAID, said if fits and said != first else ())
    address.write(SAID)
    current = next((t for t in TALKS if (t.question, t.correction) == said[:2]), None)
    st.session_state["talk"] = current.title if current else None
    with st.sidebar:
        st.pills("Examples", [t.title for t in TALKS], key="talk", on_change=_use_talk, label_visibility="collapsed")
        asked = ConversationAsked(Asked(ModelSpec(), ""), said, Form.AUTO, "", st.empty())
        asked.transcript(())  # at once; with the answers, once they are there
        next_turn(said, str(st.session_state.get("model", "demo")))
        model = model_name()
        form = choice("Written as", FORMS, Form.AUTO, "talk_form", FORM)
        if current is not None:
            st.caption(f"**Expected of the bundled model:** {current.expected}", help=EXPECTED)
        system = st.text_area(
            "System prompt", key="talk_system", height=68, max_chars=MOST_CHARACTERS, bind="query-params",
            placeholder="What the model is told before", help=SYSTEM_PROMPT,
        )  # fmt: skip
        reopen()
    changed = changes.in_force()
    there = place()
    write_bound()
    return replace(asked, asked=Asked(there.spec(model), "", there.key, changed), form=Form(form), system=system)


def _use_talk() -> None:
    found = next((t for t in TALKS if t.title == st.session_state.get("talk")), None)
    if found is not None:
        talk_again((found.question, found.correction))


def talk_again(said: tuple[str, ...], saved: tuple[str, ...] = ()) -> None:
    """The conversation is now this one. `saved`: the answers that a file has for it."""
    st.session_state["talk_said"], st.session_state["talk_saved"] = said, saved
    run_again()


def say(said: tuple[str, ...]) -> None:
    """What is typed is the next turn: a question, or a correction of the last answer."""
    text = str(st.session_state.get("talk_text") or "").strip()
    if not text:
        return
    one_word = " Answer with one word." if st.session_state.get("talk_one_word") and not said else ""
    talk_again((*said, text + one_word))


def next_turn(said: tuple[str, ...], model: str) -> None:
    """Where the next turn is typed, and buttons to take the last one back or to begin anew."""
    what = "Correct the answer: No, it is …" if said else "Ask something that has a one-word answer"
    if len(said) < MOST_TURNS:
        st.chat_input(what, key="talk_text", on_submit=say, args=(said,), max_chars=MOST_CHARACTERS)
    else:
        st.caption(f"A conversation has at most {MOST_TURNS} turns. Begin a new one.")
    if not said:
        st.toggle("Ask for one word", value=model != "demo", key="talk_one_word", help=ONE_WORD, persist_state="session")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Take back", on_click=talk_again, args=(said[:-1],), disabled=not said, help=BACK)
        st.button("New conversation", on_click=talk_again, args=((),), disabled=not said)


def reopened() -> None:
    """A saved conversation takes the place of this one."""
    file = st.session_state.get("talk_file")
    st.session_state["talk_error"] = ""
    if file is None:
        return
    try:
        found = load_conversation(file.getvalue())
    except InfoflowError as error:
        st.session_state["talk_error"] = str(error)
        return
    st.session_state["model"], st.session_state["talk_form"] = found.model, found.form
    st.session_state["talk_system"] = found.system
    talk_again(found.said, found.answers)


@dataclass(frozen=True)
class View:
    """Whose attention the bars of an answer show."""

    level: str
    layer: int
    head: int
    hide_first: bool
    change: int
    """which correction is looked at"""
    contrast: str | tuple[str, ...] | None
    """what the conversation is held against"""
    quantity: str
    """own, specific or hindsight"""


def view(changes: Sequence[str], said: Sequence[str], scope: str, n_layers: int, n_heads: int) -> View:
    """The row of controls above both answers."""
    held_against, quantity = None, contrasts.Shown.OWN
    with controls.row():
        change = which_change(changes, scope)
        level = choice("Attention of", list(tables.Level), tables.Level.LAST, "talk_attention", ATTENTION)
        if changes:
            held_against = contrasts.of_turns(said, CONTRASTS, scope, CONTRAST)
            quantity = contrasts.shown("talk_show", held_against is not None)
        with controls.more({"talk_hide_first": True}):
            with st.container(horizontal=True):
                layer, head = layer_and_head(n_layers, n_heads, level != tables.Level.HEAD, level != tables.Level.HEAD)
            aside = hide_first("talk_hide_first", HIDE_FIRST)
    return View(level, layer, head, aside, change, held_against, quantity)


def held_against(asked: CorrectionRequest, key: str, found: Correction, view: View, scope: str) -> tuple[Change, str]:
    """The change that is looked at, held against another conversation where one is chosen, and which quantity is shown."""
    if view.contrast is not None:
        with blocks.reporting_errors():
            other = replace(asked, contrast=view.contrast)
            contrasted = results.of(other, key, "talk_contrast", lambda: CONTRASTS.choose(scope, ""))
            return contrasted.changes[view.change], view.quantity
    return found.changes[view.change], contrasts.Shown.OWN


def hindsight(change: Change, contrast: str | tuple[str, ...] | None) -> str:
    """What is to be said of hindsight in the lead of one answer over another."""
    found = change.difference
    if found is None or found.specific is None or contrast is None:
        return contrasts.WITHOUT
    return blocks.plain(seen(found.contrast or "", found.total, found.contrast_total or 0.0, float(found.specific.sum())))


def which_change(titles: Sequence[str], scope: str) -> int:
    """Which correction is looked at; the last at first."""
    if len(titles) < 2:
        return 0
    chosen = st.segmented_control(
        "Correction", range(len(titles)), format_func=lambda n: blocks.plain(titles[n]), default=len(titles) - 1, required=True,
        key=f"talk_change_{scope}", bind="query-params",
    )  # fmt: skip
    return len(titles) - 1 if chosen is None else int(chosen)


def conversation(answers: Sequence[Answer], said: Sequence[str]) -> None:
    """Who said what. Turns that are not answered yet, or failed, are shown too."""
    for number, text in enumerate(said):
        with st.chat_message("user"):
            st.text(text)
        with st.chat_message("assistant"):
            if number < len(answers):
                found = answers[number]
                st.markdown(f"**{blocks.plain(found.text)}** (its first token {found.generation.prob[0]:.1%})")
            else:
                st.markdown("…")


def side(title: str, found: Answer, view: View, dark: bool) -> None:
    """One answer: the likeliest tokens, and what its position attends to."""
    st.markdown(f"**{title}: “{blocks.plain(found.text)}”**")
    st.dataframe(tables.top(found), hide_index=True, column_config={"probability": blocks.PERCENT, "logit": blocks.LOGIT})
    words, first = tables.attended(found, view.level, view.layer, view.head, view.hide_first)
    bars = words.nlargest(WORDS, "share", keep="first")
    chart = signed.ranking(bars, "share", ".1%", dark)
    said = blocks.largest(bars, "name", "share")
    blocks.chart(chart, key=f"talk_words_{title}", alt=f"{title}: what the answering position attends to. {said}")
    most = f"The {WORDS} words most looked at. " if len(words) > WORDS else ""
    st.caption(f"{most}The first token has {first:.0%} of the row{' and is left out' if view.hide_first else ''}.")


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
    st.caption(LAYERS)


def read_as(found: Answer) -> None:
    """The very text that the model was given."""
    with st.expander("What the model reads"):
        pieces = found.generation.pieces[: found.generation.n_prompt]
        st.code("".join(t.text or t.name for t in pieces if t.part <= 1), language=None, wrap_lines=True)


def keep(found: Correction, asked: CorrectionRequest) -> None:
    """Save and reopen."""
    made = found.answers[0].generation.provenance
    kept = Conversation(
        made.model, made.revision, found.answers[0].form, asked.prompt, tuple(a.text for a in found.answers), asked.system
    )
    st.download_button(
        "Save the conversation", save_conversation(kept), file_name="conversation.json", mime="application/json",
        on_click="ignore", help="The conversation as JSON, to be reopened here.",
    )  # fmt: skip


def reopen() -> None:
    with st.expander("Reopen a saved conversation"):
        st.file_uploader(
            "Saved conversation", type="json", key="talk_file", on_change=reopened, help=REOPEN,
            label_visibility="collapsed",
        )  # fmt: skip
    if st.session_state.get("talk_error"):
        st.error(blocks.plain(st.session_state["talk_error"]), icon=":material/error:")
