"""What may be changed in a run, as frozen values: a field of every request, and so part of every key, address and file.

A *site* is where in a layer something is changed: `embed` and `resid_pre`, `resid_mid`, `resid_post` (the residual before the
first layer, before a layer, after its attention, after its MLP), `attn` and `mlp` (what they add to the residual), `z` (what a
head has gathered, before the output projection). Layers, positions and heads are a number, several, or None for all; a negative
position counts from the prompt's end, and a text is every token of that word.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Discriminator

from infoflow.errors import BadPrompt

SITES = ("embed", "resid_pre", "resid_mid", "resid_post", "attn", "mlp", "z")

Numbers = int | Sequence[int] | None
Places = int | str | Sequence[int | str] | None


@dataclass(frozen=True)
class Intervention:
    """One change to a run. Its fields say what is changed, where and how."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Zero(Intervention):
    """What is at a site is nothing there: x = 0."""

    site: str
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    """of `z` alone"""
    kind: Literal["zero"] = field(default="zero", kw_only=True)


@dataclass(frozen=True)
class Scale(Intervention):
    """What is at a site is so many times as large: factor * x."""

    site: str
    factor: float
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    """of `z` alone"""
    kind: Literal["scale"] = field(default="scale", kw_only=True)


@dataclass(frozen=True)
class Block(Intervention):
    """Attention from some positions (destination, which reads) to others (source) is cut before the softmax: its rows still sum
    to 1."""

    source: Places
    destination: Places = None
    layers: Numbers = None
    heads: Numbers = None
    kind: Literal["block"] = field(default="block", kw_only=True)


AnyIntervention = Annotated[Zero | Scale | Block, Discriminator("kind")]


def _check(given: Intervention) -> None:
    """That the fields make sense by themselves; numbers that come as ranges or lists become tuples."""
    for name in ("layers", "positions", "head", "source", "destination", "heads"):
        if hasattr(given, name):
            object.__setattr__(given, name, _several(getattr(given, name), name, name in ("positions", "source", "destination")))
    site = getattr(given, "site", None)
    if hasattr(given, "site") and site not in SITES:
        raise BadPrompt(f"There is no site '{site}'. There are: {', '.join(SITES)}.")
    if getattr(given, "head", None) is not None and site != "z":
        raise BadPrompt(f"A head has a part of its own at z alone; at {site} all heads are summed.")
    if site == "embed" and getattr(given, "layers", None) not in (None, 0, (0,)):
        raise BadPrompt("The embeddings are before the first layer; leave layers out, or take resid_pre.")
    if isinstance(given, Scale):
        wrong = isinstance(given.factor, bool) or not isinstance(given.factor, int | float) or not math.isfinite(given.factor)
        if wrong:
            raise BadPrompt(f"A factor is a finite number; this is {given.factor!r}.")
        object.__setattr__(given, "factor", float(given.factor))


def _several(value: Any, name: str, words: bool) -> Any:
    """A number (or word), a tuple of them, or None."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            raise BadPrompt(f"No {name} are given; leave {name} out for all of them.")
        return tuple(_one(item, name, words) for item in value)
    return None if value is None else _one(value, name, words)


def _one(value: Any, name: str, words: bool) -> int | str:
    if isinstance(value, str) and words:
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise BadPrompt(f"{name} are whole numbers{' or words' * words}, one, several or None for all; this is {value!r}.")
    return int(value.__index__())


def stacked(stack: Sequence[Intervention], new: Intervention) -> tuple[Intervention, ...]:
    """A stack with one more; a second one at the same site and place takes the first one's place."""
    if any(_place(one) == _place(new) for one in stack):
        return tuple(new if _place(one) == _place(new) else one for one in stack)
    return (*stack, new)


def _place(of: Intervention) -> tuple[Any, ...]:
    names = ("source", "destination", "layers", "heads") if isinstance(of, Block) else ("site", "layers", "positions", "head")
    return (isinstance(of, Block), *(getattr(of, name) for name in names))


def described(one: Intervention, labels: Sequence[str] = ()) -> str:
    """What it will do, in a sentence. `labels`: of the prompt's tokens, which are named then beside their positions."""
    assert isinstance(one, Zero | Scale | Block)
    where = "" if one.layers is None else f"In {_named('layer', one.layers)} "
    if isinstance(one, Block):
        heads = "" if one.heads is None else f"{_named('head', one.heads)} of "
        who = "every token" if one.destination is None else _places(one.destination, labels)
        said = f"{heads}{who} can't see {'any token' if one.source is None else _places(one.source, labels)}"
    else:
        what = {
            "embed": "the embedding", "resid_pre": "the residual before the layer", "resid_mid": "the residual after attention",
            "resid_post": "the residual after the MLP", "attn": "what attention adds", "mlp": "what the MLP adds",
            "z": "what every head has gathered" if one.head is None else f"what {_named('head', one.head)} has gathered",
        }[one.site]  # fmt: skip
        does = "is taken away" if isinstance(one, Zero) else f"is multiplied by {one.factor:g}"
        said = f"{what}{'' if one.positions is None else f' at {_places(one.positions, labels)}'} {does}"
    text = f"{where}{said}."
    return text[0].upper() + text[1:]


def _named(what: str, numbers: int | Sequence[int]) -> str:
    some = (numbers,) if isinstance(numbers, int) else numbers
    if len(some) == 1:
        return f"{what} {some[0]}"
    first, last = some[0], some[-1]
    if list(some) == list(range(first, last + 1)):
        return f"{what}s {first} to {last}"
    return f"{what}s {', '.join(map(str, some))}"


def _places(places: int | str | Sequence[int | str], labels: Sequence[str]) -> str:
    some = (places,) if isinstance(places, int | str) else places
    return ", ".join(f"“{p}”" if isinstance(p, str) else _position(p, labels) for p in some)


def _position(p: int, labels: Sequence[str]) -> str:
    if labels and -len(labels) <= p < len(labels):
        return f"“{labels[p]}” (position {p % len(labels)})"
    return "the last token" if p == -1 else f"position {p}"
