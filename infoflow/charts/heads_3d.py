"""Every head of a model as a column on a floor of layers by heads: what is drawn, as plain values. The drawing is the page's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from infoflow.charts.palette import ink, signs

Head = tuple[int, int]
"""layer and head, both from 0"""


@dataclass(frozen=True)
class Labels:
    """The words of a picture."""

    height: str
    """what a column's height is: `norm of what the head writes`"""
    colour: str
    """what its colour is: `contribution to the logit of “Paris”`"""
    towards: str = "towards"
    """what a positive value of that means, and a negative one"""
    away: str = "away"
    edge: str = "path from a head to a later one"
    forms: tuple[str, str] = (".2f", "+.2f")
    """how heights and colours are written"""


@dataclass(frozen=True)
class Edge:
    """A path from one head to one of a later layer."""

    sender: Head
    receiver: Head
    value: float
    """with a sign: its colour, and its size the line's width"""


def scene(
    values: Float[np.ndarray, "layer head"],
    colour: Float[np.ndarray, "layer head"],
    labels: Labels,
    edges: Sequence[Edge] = (),
    selected: Head | None = None,
) -> dict[str, Any]:
    """All that is drawn, as JSON has it: head h of layer l is number l * n_heads + h of each list.

    Heights are value / largest value; colours, for either theme, go from grey at zero to full green or magenta at the largest
    size of `colour`.
    ValueError where shapes differ, a value is not a number or below zero, or an edge does not lead to a later layer.
    """
    _check(values, colour, edges, selected)
    layers, heads = values.shape
    tallest, strongest = float(values.max(initial=0.0)), float(np.abs(colour).max(initial=0.0))
    widest = max((abs(edge.value) for edge in edges), default=0.0)
    form, signed = labels.forms
    return {
        "layers": layers,
        "heads": heads,
        "height": [round(float(v), 4) for v in (values / (tallest or 1.0)).ravel()],
        "said": [
            [_said(v, form), _said(c, signed)] for v, c in zip(values.ravel().tolist(), colour.ravel().tolist(), strict=True)
        ],
        "ticks": [[round(at / tallest, 4), f"{at:.12g}"] for at in ticks(tallest)] if tallest > 0 else [[0.0, "0"]],
        "edges": [
            {
                "from": edge.sender[0] * heads + edge.sender[1],
                "to": edge.receiver[0] * heads + edge.receiver[1],
                "size": round(abs(edge.value) / (widest or 1.0), 4),
                "raises": edge.value >= 0,
            }
            for edge in sorted(edges, key=lambda edge: abs(edge.value))
        ],
        "selected": None if selected is None else selected[0] * heads + selected[1],
        "words": {
            "height": labels.height,
            "colour": labels.colour,
            "away": f"{_said(-strongest, signed)} {labels.away}",
            "towards": f"{_said(strongest, signed)} {labels.towards}",
            "edge": labels.edge if edges else "",
            "about": described(values, colour, labels, edges),
        },
        "light": _look(colour / (strongest or 1.0), dark=False),
        "dark": _look(colour / (strongest or 1.0), dark=True),
    }


def _look(share: np.ndarray, dark: bool) -> dict[str, Any]:
    """What depends on the theme. `share`: of full colour, with a sign."""
    page, (up, down) = ink(dark), signs(dark)
    ramp = (down, page.sink if dark else page.line, up)  # a grey that is seen on the page, and beside both colours
    inks = {"text": page.text, "muted": page.muted, "line": page.line, "paper": page.paper, "floor": page.empty}
    return {"fill": _mixed(share.ravel(), ramp), "ramp": list(ramp), "ink": inks}


def described(
    values: Float[np.ndarray, "layer head"], colour: Float[np.ndarray, "layer head"], labels: Labels, edges: Sequence[Edge] = ()
) -> str:
    """What the picture shows, in words for who can't see it."""
    layers, heads = values.shape
    form, signed = labels.forms
    said = [f"Heads in three dimensions: {layers} layers of {heads} heads. Height: {labels.height}. Colour: {labels.colour}."]
    if values.size and values.max() > 0:
        said.append(f"Tallest: {_most(values, values, form)}.")
    if colour.size and colour.max() > 0:
        said.append(f"Most {labels.towards}: {_most(colour, colour, signed)}.")
    if colour.size and colour.min() < 0:
        said.append(f"Most {labels.away}: {_most(-colour, colour, signed)}.")
    if edges:
        best = max(edges, key=lambda edge: abs(edge.value))
        way = f"head {named(best.sender)} to {named(best.receiver)}"
        said.append(f"{len(edges)} {'lines' if len(edges) > 1 else 'line'}: {labels.edge}; the strongest leads from {way}.")
    return " ".join(said)


def named(head: Head) -> str:
    """`5.1` is head 1 of layer 5."""
    return f"{head[0]}.{head[1]}"


def ticks(largest: float, most: int = 4) -> list[float]:
    """Round numbers from 0 to at most `largest`, in steps of 1, 2 or 5 times a power of ten: no more than `most` beside 0."""
    power = 10.0 ** math.floor(math.log10(largest / most))
    step = next(s for s in (power, 2 * power, 5 * power, 10 * power) if largest / s < most + 1)
    return [i * step for i in range(math.floor(largest / step + 1e-9) + 1)]


def _check(values: np.ndarray, colour: np.ndarray, edges: Sequence[Edge], selected: Head | None) -> None:
    layers, heads = values.shape
    if colour.shape != values.shape:
        raise ValueError(f"heights are of {values.shape} heads, colours of {colour.shape}")
    if not values.size:
        raise ValueError("there are no heads")
    if not (np.isfinite(values).all() and np.isfinite(colour).all()):
        raise ValueError("a height or colour is not a finite number")
    if values.min() < 0:
        raise ValueError(f"a height is below zero: {values.min()}")
    for layer, head in [*(end for edge in edges for end in (edge.sender, edge.receiver)), *([selected] if selected else [])]:
        if not (0 <= layer < layers and 0 <= head < heads):
            raise ValueError(f"there is no head {layer}.{head} among {layers} layers of {heads}")
    for edge in edges:
        if edge.sender[0] >= edge.receiver[0] or not math.isfinite(edge.value):
            raise ValueError(f"no path leads from head {named(edge.sender)} to {named(edge.receiver)} with {edge.value}")


def _most(order: np.ndarray, shown: np.ndarray, form: str, most: int = 3) -> str:
    """The heads of the largest positive `order`, with what is `shown` of them."""
    best = [i for i in np.argsort(-order, axis=None, kind="stable")[:most] if order.flat[i] > 0]
    heads = order.shape[1]
    return ", ".join(f"head {named((int(i) // heads, int(i) % heads))} {_said(float(shown.flat[i]), form)}" for i in best)


def _said(value: float, form: str) -> str:
    """A number as it is printed: with a true minus, and none before zero."""
    sign, rest = ("+", form[1:]) if form.startswith("+") else ("", form)
    return f"{value:{sign}z{rest}}".replace("-", "\u2212")


def _mixed(share: np.ndarray, ends: tuple[str, str, str]) -> list[str]:
    """Colours on the way from the middle of `ends` to its first (at -1) or last (at 1), as #rrggbb."""
    low, middle, high = (np.array([int(end[i : i + 2], 16) for i in (1, 3, 5)], float) for end in ends)
    t = np.clip(share, -1, 1)[:, None]
    mixed = middle + (np.where(t > 0, high, low) - middle) * np.abs(t)
    return ["#" + "".join(f"{round(c):02x}" for c in row) for row in mixed.tolist()]
