"""The controls and pieces of the Interventions page: what is changed, and which view of before and after is shown."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any

import streamlit as st

from infoflow.analyses.attention import Attention
from infoflow.analyses.flow import Flow
from infoflow.analyses.generation import Generation
from infoflow.analyses.location import Location
from infoflow.analyses.logit_lens import Lens
from infoflow.charts import logit_lens as lens_charts
from infoflow.charts import signed
from infoflow.interventions import Block, Intervention, Zero, described
from infoflow.tables import interventions as tables
from infoflow.tables import logit_lens as lens_tables
from infoflow.ui import blocks, changes
from infoflow.ui.change_form import STACK, edit
from infoflow.ui.controls import choice, picked_head

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
    **{name: st.column_config.NumberColumn(name, format="percent") for name in ("before", "after", "change")},
    "rank_before": "rank before", "rank_after": "rank after",
}  # fmt: skip


class View(StrEnum):
    """What is compared."""

    NEXT = "next token"
    LENS = "lens"
    ATTENTION = "attention"
    FLOW = "flow"
    ANSWER = "answer"


def view() -> View:
    """Which comparison is shown."""
    return View(choice("Compare", list(View), View.NEXT, "change_view", VIEW))


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


def attention(before: Attention, after: Attention, dark: bool) -> None:
    """Which heads look elsewhere from the last position, and where one of them looks now."""
    table = tables.heads(before, after)
    if not table["moved"].any():
        st.info("No head looks elsewhere from the last position: what is changed comes after attention, or does not reach it.")
        return
    left, right = st.columns([1, 1.3], gap="large")
    best = table.loc[table["moved"].idxmax()]
    with left:
        named = table.assign(name=table["row"] + " " + table["column"])
        says = f"Attention moved by each head. {blocks.largest(named, 'name', 'moved', '.0%')}"
        blocks.chart(
            signed.grid(table, "column", "row", "moved", ".0%", dark=dark), key="change_heads_map", on_select="rerun", alt=says
        )
        st.caption("**How much of the last position's attention moved**, by head: half the sum of all changes of its weights.")
    picked = next(iter((st.session_state.get("change_heads_map") or {}).get("selection", {}).get("head") or []), None)
    layer, head = (int(picked["layer"]), int(picked["head"])) if picked else (int(best["layer"]), int(best["head"]))
    with right:
        bars = tables.row(before, after, layer, head)
        says = f"Head {layer}.{head}: change of its weights. {blocks.largest(bars, 'label', 'change', '+.0%')}"
        blocks.chart(signed.columns(bars, "change", "weight", dark, "+.0%"), key="change_row", alt=says)
        st.caption(f"**Head {layer}.{head}**: what the last position attends to more (green) and less (magenta) than before.")
        picked_head("change_heads_map", (layer, head))


def lens(before: Lens, after: Lens, said: str, dark: bool) -> None:
    """Tokens through the layers, before and after, and the difference."""
    lines = lens_charts.trajectories(lens_tables.contrasted(before, after), "probability", dark)
    blocks.chart(lines, key="change_lens", alt=f"Tokens through the layers. {said}")
    st.caption("Probability at the last position, row by row. Solid: before; dashed: after.")
    table = tables.lens(before, after)
    most = blocks.largest(table, "where", "change", "+.1%")
    alt = f"Change of each token's probability by row. {most}"
    blocks.chart(signed.grid(table, "row", "token", "change", "+.0%", dark=dark), key="change_lens_map", alt=alt)
    st.caption("**Change of the probability**, by row and token: after less before.")


def flow(before: Flow, after: Flow, scope: str, dark: bool) -> None:
    """What a residual is made of after, less before: by layer and source, at one position."""
    last = len(before.labels) - 1
    position = st.selectbox(
        "Position", range(last + 1), index=last, format_func=before.position_labels.__getitem__, key=f"change_position_{scope}",
        persist_state="session", width=220,
    )  # fmt: skip
    table = tables.shares(before, after, int(position))
    if table.empty or table["change"].abs().max() < tables.LEAST:
        st.info("This residual is made of the same in every layer: what is changed does not reach it.")
        return
    named = table.assign(name=table["row"] + ", " + table["source"])
    says = f"Change of each source's share by layer. {blocks.largest(named, 'name', 'change', '+.0%')}"
    blocks.chart(signed.grid(table, "source", "row", "change", "+.0%", dark=dark), key="change_flow", alt=says)
    name = blocks.plain(before.position_labels[int(position)])
    st.caption(
        f"**Share of each source in the residual of {name}**, after every layer: after less before. Shares by norm, without "
        "the first token. What an intervention puts in is a source of its own."
    )


def answer(before: Location, after: Location, dark: bool) -> None:
    """Where the answer is after, less before."""
    table = tables.cells(before, after)
    if not table["change"].any():
        st.info("No residual holds more or less of the answer than before: what is changed does not reach it.")
        return
    most = blocks.largest(table, "where", "change", "+.1f")
    lead = f"“{blocks.plain(before.target_name.strip())}”"
    says = f"Change of what each residual holds of {lead}. {most}"
    blocks.chart(signed.grid(table, "token", "row", "change", "+.1f", dark=dark), key="change_answer", alt=says)
    st.caption(
        f"**What each residual holds of the logit of {lead}**, by layer and position: after less before. With every token it is "
        f"{before.total:+.1f} before and {after.total:+.1f} after."
    )


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
