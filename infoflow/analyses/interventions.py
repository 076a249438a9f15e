"""Interventions as a run is given them: which layers, positions and heads of this model and prompt are meant, checked."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

from infoflow.errors import BadPrompt
from infoflow.interventions import Block, Intervention, Scale, Zero
from infoflow.text.tokens import Token, groups_of

if TYPE_CHECKING:
    import infoflow.models.model


def changed_plan(
    model: "infoflow.models.model.Model",
    interventions: Sequence[Intervention],
    tokens: Sequence[Token],
    n_prompt: int | None = None,
) -> SimpleNamespace:
    """The model's plan with the changes of a run in it. Positions and words are those of the first `n_prompt` tokens (of all
    where none are given); None, for all, reaches what is written after them too.

    Raises:
        BadPrompt: a layer, head or position that is not there, a word that the prompt has not, a site that a family has not.
    """
    plan = model.plan()
    said = tokens[: n_prompt or len(tokens)]
    for one in interventions:
        if isinstance(one, Block):
            _block(plan, one, said, len(tokens))
        elif isinstance(one, Zero | Scale):
            _scale(plan, one, said, len(tokens))
        else:
            raise BadPrompt("An intervention is one of Zero, Scale and Block.")
    return plan


def _scale(plan: SimpleNamespace, one: Zero | Scale, said: Sequence[Token], n: int) -> None:
    import torch

    site, layers = one.site, one.layers
    if site == "embed":
        site, layers = "resid_pre", 0
    if site == "resid_mid" and plan.parallel:
        raise BadPrompt(
            "In this model the MLP reads what attention reads, side by side: there is no residual between the two. Choose "
            "another site."
        )
    width = plan.n_heads if site == "z" else 1
    factor = torch.ones(n, width)
    heads = _numbers(one.head, plan.n_heads, "head") if site == "z" else [0]
    times = 0.0 if isinstance(one, Zero) else one.factor
    for p in _positions(one.positions, said, n):
        factor[p, heads] = times
    factor = factor.repeat_interleave(plan.d_head, 1) if site == "z" else factor
    for layer in _numbers(layers, plan.n_layers, "layer"):
        here = plan.edits.setdefault(layer, {})
        here[site] = factor if site not in here else here[site] * factor


def _block(plan: SimpleNamespace, one: Block, said: Sequence[Token], n: int) -> None:
    import torch

    reads, read = _positions(one.destination, said, n), _positions(one.source, said, n)
    cut = torch.zeros(n, n, dtype=torch.bool)
    cut[torch.tensor(reads)[:, None], torch.tensor(read)] = True
    cut = cut.tril()
    if not cut.any():
        raise BadPrompt("Nothing is blocked: a token sees only itself and what stands before it, and no source is there.")
    heads = _numbers(one.heads, plan.n_heads, "head")
    whole = torch.zeros(plan.n_heads, n, n, dtype=torch.bool)
    whole[heads] = cut
    for layer in _numbers(one.layers, plan.n_layers, "layer"):
        here = plan.edits.setdefault(layer, {})
        here["block"] = whole if "block" not in here else here["block"] | whole


def _numbers(given: int | Sequence[int] | None, n: int, what: str) -> list[int]:
    some = list(range(n)) if given is None else [given] if isinstance(given, int) else list(given)
    for number in some:
        if not 0 <= number < n:
            raise BadPrompt(f"There is no {what} {number}; the model has {n} (0 to {n - 1}).")
    return some


def _positions(given: int | str | Sequence[int | str] | None, said: Sequence[Token], n: int) -> list[int]:
    if given is None:
        return list(range(n))
    words = groups_of("words", said)
    found: list[int] = []
    for place in [given] if isinstance(given, int | str) else given:
        if isinstance(place, str):
            found.extend(_word(place, words))
        elif -len(said) <= place < len(said):
            found.append(place % len(said))
        else:
            last = len(said) - 1
            raise BadPrompt(f"There is no position {place}; the prompt has {len(said)} tokens (0 to {last}, or -1 for the last).")
    return list(dict.fromkeys(found))


def _word(word: str, words: Sequence[str]) -> list[int]:
    """Every token of a word, wherever it stands; of one of its places, where it is called as pictures call it (the·2)."""
    wanted = word.strip()
    exact = [p for p, name in enumerate(words) if name == wanted] if "·" in wanted else []
    found = exact or [p for p, name in enumerate(words) if name.split("·")[0] == wanted]
    if not found:
        raise BadPrompt(f"The prompt has no word “{wanted}”. It has: {', '.join(dict.fromkeys(words))}.")
    return found
