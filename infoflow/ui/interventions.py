"""The controls and pieces of the Interventions page: what is changed, and which view of before and after is shown."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from infoflow.analyses.attention import Attention
from infoflow.analyses.generation import Generation
from infoflow.interventions import Block, Intervention, Zero, described
from infoflow.studies.sides import Names
from infoflow.tables import interventions as tables
from infoflow.ui import blocks, changes
from infoflow.ui.change_form import STACK, edit
from infoflow.ui.compare import Look, View
from infoflow.ui.controls import choice

INTRO = """Attribution is a claim; an intervention tests it. Change the run, at a place and in a way that you choose, and see
what becomes of the answer. What is changed here stays in force on every page until it is switched off."""
USE = """**Add** describes a change and says in a sentence what it will do; **Stack** lists them, in order, with a switch and a
button to edit or remove each. Green rose, magenta fell."""
HOW = """The model is run twice: as it is, and with the changes made on the way, so that all that comes after follows.
Blocked attention is cut before the softmax: the row still sums to 1. The code that makes the changes:"""
VIEW = """**next token**: probabilities before and after. **lens**: the same tokens layer by layer. **attention**: which heads
look elsewhere. **flow**: what a residual is made of. **answer**: where the answer is."""
FOLLOW = """Tokens whose probability before and after is told, and drawn in the lens, however small it is."""
READ = 200
"""so many of the likeliest tokens are read of each run"""
COLUMNS: dict[str, Any] = {
    **{name: st.column_config.NumberColumn(name, format="percent") for name in ("before", "after", "after − before")},
    "rank_a": "rank before", "rank_b": "rank after",
}  # fmt: skip


LOOK = Look("change", ": what is changed does not reach it")
NAMES = Names("before", "after", "after − before", "With the change", ("before", "after"))
"""what the two runs are called here"""


def view() -> View:
    """Which comparison is shown."""
    return View(choice("Compare", [View.NEXT, View.LENS, View.ATTENTION, View.FLOW, View.ANSWER], View.NEXT, "change_view", VIEW))


def follow() -> tuple[str, ...]:
    """Tokens whose probability is told whatever it is."""
    chosen = st.multiselect(
        "Follow", [], key="change_follow", accept_new_options=True, placeholder="type a token", help=FOLLOW, width=170,
        bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    return tuple(str(one) for one in chosen)


def listed(labels: Sequence[str] = (), scope: str = "") -> None:
    """The stack: what each does, its switch, and buttons to edit and to remove it."""
    entries = changes.stack()
    with st.popover(f"Stack ({len(entries)})", icon=":material/layers:", disabled=not entries, key=STACK, on_change="rerun"):
        for number, entry in enumerate(entries):
            with st.container(horizontal=True, vertical_alignment="center"):
                text = blocks.plain(described(entry.change, labels))
                st.markdown(text if entry.on else f"~~{text}~~", width="stretch")
                title = "Switch off" if entry.on else "Switch on"
                st.button(title, key=f"change_switch_{number}", on_click=changes.switch, args=(number,))
                if scope:
                    arguments = (number, entry.change, labels, scope)
                    st.button("Edit", key=f"change_edit_{number}", icon=":material/edit:", on_click=edit, args=arguments)
                remove = f"change_remove_{number}"
                st.button("Remove", key=remove, icon=":material/delete:", on_click=changes.remove, args=(number,))


def position(labels: Sequence[str], scope: str) -> int:
    """Whose residual is looked at."""
    last = len(labels) - 1
    chosen = st.selectbox(
        "Position", range(last + 1), index=last, format_func=labels.__getitem__, key=f"change_position_{scope}",
        persist_state="session", width=220,
    )  # fmt: skip
    return int(chosen)


def nothing_yet(
    before: Generation, attention_of: Callable[[], Attention] | None, outcome: Callable[[Intervention], str] | None
) -> None:
    """What to try where nothing is changed, each with what becomes of the answer: hide what it rests on most, silence the head
    that writes most of it, and all MLPs. None where nothing is to be run for that."""
    st.info("Nothing is changed yet: **Add** a change, or try one of these.", icon=":material/science:")
    heaviest, last = tables.weightiest(before), before.n_prompt - 1
    answer = blocks.plain(before.names[int(before.token_ids[0, 0])].strip())
    tries: list[tuple[str, str, Intervention]] = []
    if heaviest is not None:
        name = blocks.plain(tables.label(before, heaviest))
        text = f"“{name}”, which adds most to “{answer}”, can't be seen by the last token"
        tries.append(("change_try_block", text, Block(heaviest, last)))
    if attention_of is not None:
        layer, head = tables.writes_most(attention_of())
        text = f"Head {layer}.{head}, which writes most of “{answer}” itself, is silent at the last position"
        tries.append(("change_try_head", text, Zero("z", layer, last, head)))
    tries.append(("change_try_mlp", "All MLPs of the last position are silent", Zero("mlp", None, last)))
    for key, text, change in tries:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(text, key=key, on_click=changes.add, args=(change,), wrap=True)
            if outcome is not None:
                st.caption(blocks.plain(outcome(change)), width="stretch")
