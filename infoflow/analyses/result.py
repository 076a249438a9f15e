"""What results have in common: the tokens they are about, and, in a notebook, their picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from infoflow.text.tokens import BIAS, Token, label, unique

_drawn: list[Callable[[Any], dict[str, Any]]] = []
_said: list[Callable[[Any], str]] = []


def draw_with(draw: Callable[[Any], dict[str, Any]]) -> None:
    """Let `draw(result)` give what a notebook shows of a result, by MIME type. Pictures stand above results, so the package
    itself puts the two together."""
    _drawn[:] = [draw]


def say_with(say: Callable[[Any], str]) -> None:
    """Let `say(result)` give its sentences, which stand above results too."""
    _said[:] = [say]


class Result:
    """What an analysis gives. In a notebook, the last value of a cell is shown as its picture."""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        shown = _drawn[0](self) if _drawn else {}
        return {**shown, "text/plain": f"{type(self).__name__} of infoflow; .to_frame() is its table"}

    def summary(self) -> str:
        """What it says, in a sentence or two, every number of which is its own; where numbers are weak, that. Pages say the same
        above their pictures."""
        return _said[0](self) if _said else ""


@dataclass(frozen=True, kw_only=True)
class OfPrompt(Result):
    """A result that has a place for each token of a prompt."""

    tokens: tuple[str, ...]
    """the text of each token, with its leading space; a special token's name; they join to the prompt"""
    labels: tuple[str, ...]
    """how each position is called on the screen; not unique"""
    notes: tuple[str, ...] = ()
    """what is to be said of how the prompt became these tokens, a sentence each"""

    @cached_property
    def position_labels(self) -> tuple[str, ...]:
        """How each position is called, numbered where a label repeats; none as the weights' own source is."""
        return unique(self.labels, [BIAS])


@dataclass(frozen=True)
class Prediction:
    """One candidate for the next token."""

    token: str
    id: int
    probability: float
    logit: float
    """the model's own, of which its probability is"""
    before_cap: float | None = None
    """the same before the family's soft cap, which contributions sum to; None where there is none"""


def of_tokens(tokens: Sequence[Token], notes: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """The fields of `OfPrompt` from tokens, and from what `Model.notes` says of them."""
    texts = tuple(t.name or ("" if t.part > 1 else t.text) for t in tokens)
    return {"tokens": texts, "labels": tuple(map(label, tokens)), "notes": tuple(notes)}
