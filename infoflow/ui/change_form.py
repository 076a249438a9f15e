"""The form in which a change of the run is described, said in a sentence, and added; or edited, where it is in the stack."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import streamlit as st

from infoflow.errors import BadPrompt
from infoflow.interventions import (
    BANK,
    FIRST,
    Block,
    Intervention,
    Mean,
    Noise,
    Reject,
    Replace,
    Resample,
    Scale,
    Steer,
    Zero,
    described,
)
from infoflow.text.ranges import numbers, typed
from infoflow.ui import blocks, changes
from infoflow.ui.controls import choice

KIND = """**block**: some tokens can't see others. **zero**: what is at a site is taken away. **scale**: it is multiplied.
**mean**: its mean stands there. **replace**: what another prompt has there. **resample**: what a neutral text has there.
**steer**: it is moved along a direction. **noise**: it is moved
by Gaussian noise. **reject**: what points along a direction is taken out."""
SITE = """Where in a layer: what attention or the MLP adds, the residual before, between or after them, what heads have gathered
(before the output projection), what the MLP's hidden units hold, or the embedding."""
LAYERS = """A number, a range such as 3-5, several (0, 2, 7); nothing for all layers."""
HEADS = """A number, a range, several; nothing for all heads."""
NEURONS = """A number, a range, several; nothing for all neurons."""
PLACES = """Tokens of the prompt; nothing for all."""
OTHER = """Of as many tokens as the prompt: what stands in a place there is put into the same place here."""
DRAW = """Which of the neutral texts that ship; the same number gives the same text."""
NOISE_DRAW = """The same number draws the same noise. The factor is in standard deviations of what stands at the site."""
TOWARDS = """The direction leads to what stands at this text's last token, at the same site. Type more than a word where no mark
stands before a text: there the first token is an attention sink, whose state says little else."""
AWAY = """… from what stands at this one's last token."""
WAY = """**first token**: what the first position holds there, an attention sink in most models. **two texts**: from the one to
the other. What is left often reads as rare tokens: directions drawn at random do that too."""
OVER = """**this prompt**: all its positions. **neutral texts**: all positions of those that ship."""
SITES = {
    "attn": "attention's output", "mlp": "MLP's output", "z": "heads (z)", "neurons": "MLP's neurons",
    "resid_pre": "residual before the layer", "resid_mid": "residual after attention", "resid_post": "residual after the MLP",
    "embed": "embedding",
}  # fmt: skip
FORM, STACK, EDITED = "change_form", "change_stack", "change_edited"
THIS, NEUTRAL = "this prompt", "neutral texts"
TOKEN, TEXTS = "first token", "two texts"


class Kind(StrEnum):
    """What is done."""

    BLOCK = "block"
    ZERO = "zero"
    SCALE = "scale"
    MEAN = "mean"
    REPLACE = "replace"
    RESAMPLE = "resample"
    STEER = "steer"
    NOISE = "noise"
    REJECT = "reject"


def adding(labels: Sequence[str], scope: str) -> None:
    """Where a change is described and added, or one of the stack edited. `labels`: of the prompt's tokens."""
    with st.popover("Add", icon=":material/add:", key=FORM, on_change="rerun"):
        kind = st.selectbox("Change", list(Kind), key="change_kind", help=KIND, persist_state="session")
        try:
            made = _described(Kind(str(kind)), labels, scope)
            st.markdown(blocks.plain(described(made, labels)))
        except BadPrompt as error:
            made = None
            st.warning(blocks.plain(str(error)))
        edited = st.session_state.get(EDITED)
        title = "Add this change" if edited is None else "Put it in the place of the one that is edited"
        st.button(title, type="primary", key="change_add", disabled=made is None, on_click=_add, args=(made,))


def _add(made: Intervention) -> None:
    edited = st.session_state.pop(EDITED, None)
    st.session_state[FORM] = False
    if edited is None:
        changes.add(made)
    else:
        changes.put(edited, made)


def edit(number: int, change: Intervention, labels: Sequence[str], scope: str) -> None:
    """Open the form with one of the stack in it. Words and places from the end are the tokens that they are in this prompt."""
    held = st.session_state
    held[EDITED], held[FORM], held[STACK] = number, True, False
    held["change_kind"] = Kind(str(getattr(change, "kind", Kind.ZERO)))
    held["change_layers"] = typed(getattr(change, "layers", None))
    held["change_heads"] = typed(getattr(change, "heads", getattr(change, "head", None)))
    held["change_neurons"] = typed(getattr(change, "neurons", None))
    for field, key in (("source", "change_source"), ("destination", "change_destination"), ("positions", "change_places")):
        held[f"{key}_{scope}"] = _listed(getattr(change, field, None), labels)
    for field, key in (("site", "change_site"), ("factor", "change_factor"), ("prompt", "change_other"), ("seed", "change_draw")):
        if hasattr(change, field):
            held[key] = getattr(change, field)
    if isinstance(change, Mean):
        held["change_over"] = NEUTRAL if change.prompts == BANK else THIS
    direction = getattr(change, "direction", FIRST)
    held["change_way"] = TOKEN if direction == FIRST else TEXTS
    if direction != FIRST and isinstance(direction[0], str):
        held["change_towards"], held["change_away"] = direction[0], direction[1]


def _listed(places: Any, labels: Sequence[str]) -> list[int]:
    some = () if places is None else (places,) if isinstance(places, int | str) else places
    n, found = len(labels), []
    for place in some:
        if isinstance(place, str):
            found += [p for p, label in enumerate(labels) if place.strip() in (label, label.split("·")[0])]
        elif -n <= place < n:
            found.append(place % n)
    return list(dict.fromkeys(found))


def _text(title: str, key: str, help_text: str) -> tuple[int, ...] | None:
    said = st.text_input(title, key=key, placeholder="all", help=help_text, persist_state="session", max_chars=200)
    return numbers(said, title.lower().removesuffix("s"))


def _words(title: str, key: str, help_text: str) -> str:
    return str(st.text_input(title, key=key, help=help_text, persist_state="session", max_chars=2000))


def _described(kind: Kind, labels: Sequence[str], scope: str) -> Intervention:
    def places(title: str, key: str) -> tuple[int, ...] | None:
        some = st.multiselect(
            title, range(len(labels)), format_func=lambda p: labels[p], key=f"{key}_{scope}", placeholder="all", help=PLACES,
            persist_state="session",
        )  # fmt: skip
        return tuple(int(p) for p in some) or None

    if kind == Kind.BLOCK:
        source, destination = places("These tokens", "change_source"), places("are not seen by", "change_destination")
        layers, heads = _text("Layers", "change_layers", LAYERS), _text("Heads", "change_heads", HEADS)
        if source is None:
            raise BadPrompt("Choose which tokens shall not be seen.")
        return Block(source, destination, layers, heads)
    site = st.selectbox("Site", list(SITES), format_func=SITES.__getitem__, key="change_site", help=SITE, persist_state="session")
    at = places("At tokens", "change_places")
    where: dict[str, Any] = {
        "site": str(site),
        "layers": None if site == "embed" else _text("Layers", "change_layers", LAYERS),
        "positions": at,
        "head": _text("Heads", "change_heads", HEADS) if site == "z" else None,
        "neurons": _text("Neurons", "change_neurons", NEURONS) if site == "neurons" else None,
    }
    if kind == Kind.ZERO:
        return Zero(**where)
    if kind == Kind.SCALE:
        return Scale(factor=_factor(0.5), **where)
    return _put_in(kind, where)


def _factor(first: float) -> float:
    given = st.number_input("Factor", value=first, step=0.1, key="change_factor", persist_state="session")
    return float(given if given is not None else 1.0)


def _put_in(kind: Kind, where: dict[str, Any]) -> Intervention:
    if kind == Kind.MEAN:
        over = choice("Mean of", [THIS, NEUTRAL], THIS, "change_over", OVER)
        return Mean(prompts=BANK if over == NEUTRAL else (), **where)
    if kind == Kind.REPLACE:
        return Replace(prompt=_words("Other prompt", "change_other", OTHER), **where)
    if kind == Kind.RESAMPLE:
        return Resample(
            seed=int(st.number_input("Draw", value=0, step=1, key="change_draw", help=DRAW, persist_state="session")), **where
        )
    if kind == Kind.NOISE:
        drawn = st.number_input("Draw", value=0, step=1, key="change_draw", help=NOISE_DRAW, persist_state="session")
        return Noise(factor=_factor(3.0), seed=int(drawn), **where)
    way = TEXTS if kind == Kind.STEER else choice("Direction", [TOKEN, TEXTS], TOKEN, "change_way", WAY)
    if way == TOKEN:
        return Reject(direction=FIRST, **where)
    between = _words("Towards", "change_towards", TOWARDS), _words("Away from", "change_away", AWAY)
    if not all(text.strip() for text in between):
        raise BadPrompt("Type two texts: the one to go towards, and the one to go away from.")
    return Steer(direction=between, factor=_factor(1.0), **where) if kind == Kind.STEER else Reject(direction=between, **where)
