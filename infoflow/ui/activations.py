"""The controls of the Activations page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st

from infoflow.analyses.activations import Activations, ActivationsRequest
from infoflow.analyses.stability import Stability, StabilityRequest
from infoflow.errors import BadPrompt
from infoflow.metrics.vectors import Norm
from infoflow.pictures import activations as pictures
from infoflow.tables import activations as tables
from infoflow.tables.activations import Show
from infoflow.ui import asking, controls, results
from infoflow.ui.controls import choice
from infoflow.ui.paper import Draw

INTRO = """The residual stream itself, layer by layer: how long it is, what attention and the MLP add, and which way it points."""
USE = """Lengths are on a logarithmic scale: the first position is often hundreds of times as long as the others. A cosine of 1
means the same direction, 0 nothing in common, −1 the opposite."""
HOW = """The states are read from the model's own run; what attention and the MLP added are differences of them, so that
before + attention + MLP = after. The code that reads them:"""
SHOW = """**norms**: how long the residual is, and what was added. **turn by layer**: the cosine between the residual before and
after each layer. **two positions**: between two tokens of this prompt. **two runs**: between this run and another prompt's.
**a direction**: with the way from one text's last position to another's."""
NORM = """L2: √Σx². L1: Σ|x|. L∞: the largest |x|. L0: how many entries are above 1 % of the largest."""
POSITION = """Which token's residual is looked at."""
OTHER_POSITION = """The token whose residual it is held against."""
OTHER = """The same position of another prompt's run; without interventions where it is empty."""
FROM, TO = """Where the direction starts: the last position of this text.""", """Where it ends: the last position of this text."""
NEEDS = {
    Show.RUNS: "Type another prompt, to hold this run against.",
    Show.DIRECTION: "Type the two texts that the direction goes between.",
}
STABLE = """cos(C[layer, s], C[last, s]) of each source's contribution C to the chosen position, from the layer on in which it
arrives. Near 1: what the token brought stays as it is. Low: later layers have worked it over."""
MEAN = "mean of all but the first"
TURNS_SHOWN = 8


@dataclass(frozen=True)
class View:
    """What is looked at: nothing in here runs the model."""

    show: str
    norm: str
    position: int | None
    """None: the mean of all but the first"""
    other: int
    prompt: str
    ways: tuple[str, str]

    def at(self, n: int) -> int:
        """The position, the last one where the mean was chosen."""
        return n - 1 if self.position is None else self.position


def view(found: Activations) -> View:
    """The row of controls above the picture."""
    names, last = found.position_labels, len(found.tokens) - 1
    other, prompt, ways, norm = 0, "", ("", ""), str(Norm.L2)
    with controls.row():
        show = choice("Show", list(Show), Show.NORMS, "act_show", SHOW)
        position = _position("Position", names, "act_position", POSITION, last, mean=show == Show.NORMS)
        if show == Show.NORMS:
            with controls.more({"act_norm": Norm.L2}):
                norm = choice("Norm", list(Norm), Norm.L2, "act_norm", NORM)
        elif show == Show.POSITIONS:
            other = _position("and", names, "act_other", OTHER_POSITION, 0) or 0
        elif show == Show.RUNS:
            prompt = _text("Another prompt", "act_prompt", OTHER)
        elif show == Show.DIRECTION:
            ways = _text("From", "act_from", FROM), _text("To", "act_to", TO)
    return View(show, norm, position, other, prompt, ways)


def _position(label: str, names: Sequence[str], key: str, about: str, first: int, mean: bool = False) -> int | None:
    options = [*(f"{place}: {name}" for place, name in enumerate(names)), *([MEAN] if mean else [])]
    if st.session_state.get(key, options[first]) not in options:
        st.session_state[key] = options[first]
    chosen = st.selectbox(label, options, first, key=key, help=about, bind="query-params", width=170)
    return None if chosen == MEAN else options.index(chosen)


def _text(label: str, key: str, about: str) -> str:
    return st.text_input(label, key=key, help=about, bind="query-params", width=220, label_visibility="visible")


def drawing(asked: ActivationsRequest, key: str, found: Activations, now: View) -> Draw | None:
    """What draws what is asked; None where something must be typed first.

    Raises:
        InfoflowError: what another run raises.
    """
    n = len(found.tokens)
    where = f"position {now.at(n)} ({found.position_labels[now.at(n)]})"
    if now.show == Show.NORMS:
        return partial(pictures.norms, found, now.position, now.norm)
    if now.show == Show.TURNS:
        shown = sorted({now.at(n), *range(max(0, n - TURNS_SHOWN + 1), n)})
        return partial(pictures.angles, found, tables.turns(found, shown), "cos(before, after) of each layer.")
    if now.show == Show.POSITIONS:
        name = f"with {now.other} ({found.position_labels[now.other]})"
        lines = tables.cosines(found, found.between(now.at(n), now.other), name)
        return partial(pictures.angles, found, lines, f"The residual at {where}, {name}.")
    if now.show == Show.RUNS:
        return _two_runs(asked, key, found, now, where)
    if not all(text.strip() for text in now.ways):
        st.info(NEEDS[Show.DIRECTION])
        return None
    start, end = (
        results.of(_another(asked, text), key, f"act_{side}") for side, text in zip(("from", "to"), now.ways, strict=True)
    )
    name = f"{now.ways[0]} → {now.ways[1]}"
    lines = tables.cosines(found, found.along(end.stream[:, -1] - start.stream[:, -1], now.at(n)), name)
    note = f"The residual at {where}, with the way between the last positions of two texts."
    return partial(pictures.angles, found, lines, note)


def _two_runs(asked: ActivationsRequest, key: str, found: Activations, now: View, where: str) -> Draw | None:
    n = len(found.tokens)
    if not now.prompt.strip() and not asked.interventions:
        st.info(NEEDS[Show.RUNS])
        return None
    other = _another(asked, now.prompt) if now.prompt.strip() else ActivationsRequest(model=asked.model, prompt=asked.prompt)
    beside = results.of(other, key, "act_beside")
    its = now.at(n) - n if now.at(n) == n - 1 else now.at(n)  # the last is the last of both
    if its >= len(beside.tokens):
        raise BadPrompt(f"The other prompt has {len(beside.tokens)} tokens, and no position {its}. Choose an earlier one.")
    name = f"“{now.prompt}”" if now.prompt.strip() else "without interventions"
    lines = tables.cosines(found, found.beside(beside, now.at(n), its), name)
    note = f"The residual at {where}, with that of {name} at its position {its % len(beside.tokens)}."
    return partial(pictures.angles, found, lines, note)


def _another(asked: ActivationsRequest, prompt: str) -> ActivationsRequest:
    """Another prompt as it is, on the same model."""
    return ActivationsRequest(model=asked.model, prompt=prompt)


def stability(asked: asking.Asked, position: int) -> Stability:
    """The directions of contributions to a position.

    Raises:
        InfoflowError: what the run raises.
    """
    request = StabilityRequest(
        model=asked.model, prompt=asked.prompt, position=position, sources="words", interventions=asked.interventions
    )
    return results.of(request, asked.key, "act_stability")


def largest_norm(found: Activations) -> str:
    """What the map of lengths shows, in words."""
    longest = np.unravel_index(int(tables.map_of(found)["value"].to_numpy().argmax()), found.turns.shape)
    return f"The longest residual is after layer {longest[0]} at {found.position_labels[int(longest[1])]}."
