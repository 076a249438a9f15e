"""Two prompts token by token: which place of the one is which of the other, and where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from infoflow.errors import BadPrompt
from infoflow.text.tokens import Token, label

MOST = 40
"""tokens of a prompt that a refusal shows"""


class Align(StrEnum):
    """How prompts of unlike length are laid beside each other."""

    NONE = "none"
    START = "start"
    END = "end"


@dataclass(frozen=True)
class Alignment:
    """Of one prompt beside another."""

    shift: int
    """place in the other prompt, less that in this one"""
    differs: tuple[bool, ...]
    """of each place of this one: another token stands there in the other, or none"""

    @property
    def first(self) -> int:
        """The first place that differs; the number of places where none does."""
        return next((p for p, apart in enumerate(self.differs) if apart), len(self.differs))


def aligned(tokens: Sequence[Token], other: Sequence[Token], align: Align = Align.NONE) -> Alignment:
    """Places of `tokens` beside those of `other`.

    Raises:
        BadPrompt: unlike lengths and no end to align them at; the same tokens in both.
    """
    if len(tokens) != len(other) and align == Align.NONE:
        raise BadPrompt(
            f"Each token of one prompt needs its counterpart in the other, and these have {len(tokens)} and {len(other)}: "
            f"{shown(tokens)} and {shown(other)}. Change a word for one of as many tokens, or align the prompts at one end."
        )
    shift = len(other) - len(tokens) if align == Align.END else 0
    there = [other[p + shift].id if 0 <= p + shift < len(other) else None for p in range(len(tokens))]
    differs = tuple(token.id != instead for token, instead in zip(tokens, there, strict=True))
    if not any(differs) and len(tokens) == len(other):
        raise BadPrompt("The two prompts are the same tokens: there is nothing to take from one into the other. Change a word.")
    return Alignment(shift, differs)


@dataclass(frozen=True)
class Pairs:
    """Which place of one text is which of another."""

    places: tuple[tuple[int, int], ...]
    """here and there, in order; what is in neither has no counterpart"""
    differs: tuple[bool, ...]
    """of each pair: they are other tokens"""


def paired(ids: Sequence[int], other: Sequence[int], align: Align = Align.NONE) -> Pairs:
    """Texts of any two lengths, by their tokens' ids: of one length place by place, else aligned at an end, or, where none is
    chosen, at both: what they begin with alike, and what they end with alike. Then the last of both, where the next token is
    predicted, are counterparts whatever they are."""
    if align == Align.END:
        shift = len(other) - len(ids)
        places = [(p, p + shift) for p in range(len(ids)) if p + shift >= 0]
    elif align == Align.START or len(ids) == len(other):
        places = [(p, p) for p in range(min(len(ids), len(other)))]
    else:
        shortest = min(len(ids), len(other))
        head = next((p for p in range(shortest - 1) if ids[p] != other[p]), max(shortest - 1, 0))
        tail = next((p for p in range(1, shortest - head) if ids[-1 - p] != other[-1 - p]), shortest - head)
        places = [(p, p) for p in range(head)] + [(len(ids) - p, len(other) - p) for p in range(tail, 0, -1)]
    return Pairs(tuple(places), tuple(ids[p] != other[q] for p, q in places))


def shown(tokens: Sequence[Token]) -> str:
    """Tokens in a sentence, apart from each other."""
    names = [label(token) for token in tokens[:MOST]]
    return " · ".join(names) + (" …" if len(tokens) > MOST else "")
