"""What any other text would have said too: the states of other prompts in the place of a run's own.

Frozen paths are those of the finished run, and know its answer: part of what a cell holds along them would be there for any
state.
With x' the residual at the same row and position of another prompt, or its mean over several,

    specific[r, p] = <x[r, p] - x'[r, p], d logit / d x[r, p]>          hindsight[r, p] = by_cell[r, p] - specific[r, p]

what this state says beyond that one, and what that one would have said here too (MATH.md, section 8).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infoflow.analyses.interventions import changed_plan
from infoflow.errors import BadPrompt
from infoflow.interventions import Intervention
from infoflow.text.contrasts import BANK, by_candidates, proposals
from infoflow.text.neutral import NEUTRAL, neutral_ids
from infoflow.text.tokens import Token, as_id, label

if TYPE_CHECKING:
    import torch

    import infoflow.models.model

Contrast = str | tuple[str, ...] | tuple[int, ...] | None


@dataclass(frozen=True)
class Target:
    """What is read off, and where."""

    position: int
    ids: list[int]
    centred: bool


@dataclass(frozen=True)
class Other:
    """The contrast's own run, in the mean over its prompts."""

    states: "torch.Tensor"
    """[row, position, d_model]"""
    total: float
    """the target's value on it"""


def as_contrast(given: Any) -> Contrast:
    """A contrast as a request keeps it: "bank", a prompt, several, or one as token ids.

    Raises:
        BadPrompt: anything else.
    """
    if given is None or isinstance(given, str):
        return given
    if not isinstance(given, Sequence) or not given:
        raise BadPrompt("A contrast is a prompt, several prompts, token ids, or 'bank'.")
    if all(isinstance(one, str) for one in given):
        return tuple(given)
    return tuple(as_id(token, f" at place {place} of the contrast") for place, token in enumerate(given))


def prompts_of(
    model: "infoflow.models.model.Model",
    contrast: str | tuple[str, ...] | tuple[int, ...],
    tokens: Sequence[Token],
    encode: "Callable[[str], Sequence[Token]] | None" = None,
) -> list[list[int]]:
    """The contrast's prompts as token ids, each as long as the prompt. `encode`: what is made of a text, where it is not run as
    it stands.

    Raises:
        BadPrompt: none, or one of another length, with both tokenisations.
    """
    n = len(tokens)
    if not contrast:
        raise BadPrompt("The contrast is empty: give a prompt, several, token ids, or 'bank'.")
    if contrast == BANK:
        return [neutral_ids(model.encode, number, n) for number in range(len(NEUTRAL))]
    found = []
    for prompt in [contrast] if isinstance(contrast, str) or isinstance(contrast[0], int) else contrast:
        other = encode(prompt) if encode is not None and isinstance(prompt, str) else model.encode(prompt)
        if len(other) != n:
            raise BadPrompt(
                f"The contrast has {len(other)} tokens and the prompt {n}, and they are held against each other position by "
                f"position. Prompt: {_pieces(tokens)}. Contrast: {_pieces(other)}."
            )
        found.append([token.id for token in other])
    return found


def _pieces(tokens: Sequence[Token]) -> str:
    return " · ".join(label(token) for token in tokens[:40])


def held_against(
    model: "infoflow.models.model.Model",
    contrast: str | tuple[str, ...] | tuple[int, ...],
    tokens: Sequence[Token],
    target: Target,
    every: bool,
    interventions: Sequence[Intervention] = (),
) -> Other:
    """Run the contrast: its residuals at every row, or the embeddings alone, and what it says of the target; changed where the
    prompt's own run is.

    Raises:
        BadPrompt: a prompt of another length.
    """
    from infoflow.traced.contrast import contrast_block

    n = len(tokens)
    states, total = None, 0.0
    prompts = prompts_of(model, contrast, tokens)
    for ids in prompts:
        plan = changed_plan(model, interventions, tokens)
        arguments = (n, every, not plan.parallel, target.position, target.ids, target.centred)
        raw = model.run(ids, contrast_block, plan, *arguments)
        states = raw["states"] if states is None else states + raw["states"]
        total += raw["total"]
    assert states is not None  # there is a prompt
    return Other(states / len(prompts), total / len(prompts))


def propose(
    model: "infoflow.models.model.Model",
    prompt: str | tuple[int, ...],
    likely: Sequence[Sequence[int]],
    weights: Sequence[float],
    most: int = 4,
) -> tuple[str, ...]:
    """Contrasts for a prompt: the same text with one name, place, number or adjective swapped, of as many tokens; where there is
    none, with one of its weightiest words swapped for a token that is `likely` after what stands before it."""
    if not isinstance(prompt, str):
        return ()

    def n_tokens(text: str) -> int:
        return len(model.encode(text))

    found = proposals(prompt, n_tokens, most)
    if found:
        return found
    pieces = ["" if token.name else token.text for token in model.encode(prompt)]
    candidates = [(), *[[model.name_of(i) for i in ids] for ids in likely[: len(pieces) - 1]]]
    return by_candidates(prompt, pieces, candidates, weights, n_tokens, most)
