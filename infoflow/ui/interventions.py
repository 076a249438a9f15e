"""The controls and pieces of the Interventions page: what is changed, and which view of before and after is shown."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeVar

import streamlit as st

from infoflow.analyses.attention import Attention
from infoflow.analyses.generation import Generation
from infoflow.analyses.request import Request
from infoflow.charts import signed
from infoflow.errors import BadPrompt
from infoflow.interventions import Block, Intervention, Scale, Zero, described
from infoflow.tables import interventions as tables
from infoflow.text.ranges import numbers
from infoflow.ui import blocks, changes
from infoflow.ui.controls import choice, picked_head

R = TypeVar("R", bound=Request[Any])

INTRO = """Attribution is a claim; an intervention tests it. Change the run, at a place and in a way that you choose, and see
what becomes of the answer. What is changed here stays in force on every page until it is switched off."""
USE = """**Add** describes a change and says in a sentence what it will do; **Stack** lists them, in order, with a switch and a
button to remove each. Green rose, magenta fell."""
HOW = """The model is run twice: as it is, and with the changes made on the way, so that all that comes after follows.
Blocked attention is cut before the softmax: the row still sums to 1. The code that makes the changes:"""
KIND = """**block**: some tokens can't see others. **zero**: what is at a site is taken away. **scale**: it is multiplied."""
SITE = """Where in a layer: what attention or the MLP adds, the residual before, between or after them, what heads have gathered
(before the output projection), or the embedding."""
LAYERS = """A number, a range such as 3-5, several (0, 2, 7); nothing for all layers."""
HEADS = """A number, a range, several; nothing for all heads."""
PLACES = """Tokens of the prompt; nothing for all."""
VIEW = """**next token**: probabilities before and after. **lens**: the same tokens layer by layer. **attention**: which heads
look elsewhere."""
READ = 200
"""so many of the likeliest tokens are read of each run"""
COLUMNS: dict[str, Any] = {
    **{name: st.column_config.NumberColumn(name, format="percent") for name in ("before", "after", "change")},
    "rank_before": "rank before", "rank_after": "rank after",
}  # fmt: skip
SITES = {
    "attn": "attention's output", "mlp": "MLP's output", "z": "heads (z)", "resid_pre": "residual before the layer",
    "resid_mid": "residual after attention", "resid_post": "residual after the MLP", "embed": "embedding",
}  # fmt: skip


class View(StrEnum):
    """What is compared."""

    NEXT = "next token"
    LENS = "lens"
    ATTENTION = "attention"


class Kind(StrEnum):
    """What is done."""

    BLOCK = "block"
    ZERO = "zero"
    SCALE = "scale"


def view() -> View:
    """Which comparison is shown."""
    return View(choice("Compare", list(View), View.NEXT, "change_view", VIEW))


def adding(labels: Sequence[str], scope: str) -> None:
    """Where a change is described and added. `labels`: of the prompt's tokens."""
    with st.popover("Add", icon=":material/add:"):
        kind = choice("Change", list(Kind), Kind.BLOCK, "change_kind", KIND)
        try:
            made = _described(Kind(kind), labels, scope)
            st.markdown(blocks.plain(described(made, labels)))
        except BadPrompt as error:
            made = None
            st.warning(blocks.plain(str(error)))
        st.button("Add this change", type="primary", key="change_add", disabled=made is None, on_click=changes.add, args=(made,))


def _described(kind: Kind, labels: Sequence[str], scope: str) -> Intervention:
    def text(title: str, key: str, help_text: str) -> tuple[int, ...] | None:
        typed = st.text_input(title, key=key, placeholder="all", help=help_text, persist_state="session", max_chars=200)
        return numbers(typed, title.lower().removesuffix("s"))

    def places(title: str, key: str) -> tuple[int, ...] | None:
        some = st.multiselect(
            title, range(len(labels)), format_func=lambda p: labels[p], key=f"{key}_{scope}", placeholder="all", help=PLACES,
            persist_state="session",
        )  # fmt: skip
        return tuple(int(p) for p in some) or None

    if kind == Kind.BLOCK:
        source, destination = places("These tokens", "change_source"), places("are not seen by", "change_destination")
        layers, heads = text("Layers", "change_layers", LAYERS), text("Heads", "change_heads", HEADS)
        if source is None:
            raise BadPrompt("Choose which tokens shall not be seen.")
        return Block(source, destination, layers, heads)
    site = st.selectbox("Site", list(SITES), format_func=SITES.__getitem__, key="change_site", help=SITE, persist_state="session")
    at, layers = places("At tokens", "change_places"), None if site == "embed" else text("Layers", "change_layers", LAYERS)
    heads = text("Heads", "change_heads", HEADS) if site == "z" else None
    if kind == Kind.ZERO:
        return Zero(str(site), layers, at, heads)
    factor = st.number_input("Factor", value=0.5, step=0.1, key="change_factor", persist_state="session")
    return Scale(str(site), float(factor if factor is not None else 1.0), layers, at, heads)


def listed(labels: Sequence[str] = ()) -> None:
    """The stack: what each does, its switch, and a button to remove it."""
    entries = changes.stack()
    with st.popover(f"Stack ({len(entries)})", icon=":material/layers:", disabled=not entries):
        for number, entry in enumerate(entries):
            with st.container(horizontal=True, vertical_alignment="center"):
                text = blocks.plain(described(entry.change, labels))
                st.markdown(text if entry.on else f"~~{text}~~", width="stretch")
                title = "Switch off" if entry.on else "Switch on"
                st.button(title, key=f"change_switch_{number}", on_click=changes.switch, args=(number,))
                remove = f"change_remove_{number}"
                st.button("Remove", key=remove, icon=":material/delete:", on_click=changes.remove, args=(number,))


def changed(request: R, interventions: tuple[Any, ...]) -> R:
    """The same of the changed run."""
    return replace(request, interventions=interventions)


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


def nothing_yet(before: Generation) -> None:
    """What to try where nothing is changed: hide what the answer rests on most."""
    st.info("Nothing is changed yet: **Add** a change, or try one of these.", icon=":material/science:")
    heaviest, last = tables.weightiest(before), before.n_prompt - 1
    answer = blocks.plain(before.names[int(before.token_ids[0, 0])].strip())
    with st.container(horizontal=True):
        if heaviest is not None:
            name = blocks.plain(tables.label(before, heaviest))
            text = f"“{name}”, which adds most to “{answer}”, can't be seen by the last token"
            st.button(text, key="change_try_block", on_click=changes.add, args=(Block(heaviest, last),), wrap=True)
        st.button(
            "All MLPs of the last position are silent",
            key="change_try_mlp",
            on_click=changes.add,
            args=(Zero("mlp", None, last),),
            wrap=True,
        )
