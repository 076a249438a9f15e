"""Interventions as a run is given them: which layers, positions and heads of this model and prompt are meant, checked, and what
is put in, read off the runs of other prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from infoflow.analyses.cost import refuse_long
from infoflow.errors import BadPrompt
from infoflow.interventions import (
    FIRST,
    KINDS,
    AtSite,
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
    sources_given,
)
from infoflow.text.contrasts import BANK
from infoflow.text.neutral import NEUTRAL, neutral_ids
from infoflow.text.tokens import Token, groups_of

if TYPE_CHECKING:
    import torch

    import infoflow.models.model

Seen = dict[Any, Any]
"""what was read off other prompts' runs, which is not read twice"""


def changed_plan(
    model: "infoflow.models.model.Model",
    interventions: Sequence[Intervention],
    tokens: Sequence[Token],
    n_prompt: int | None = None,
    seen: Seen | None = None,
) -> SimpleNamespace:
    """The model's plan with the changes of a run in it. Positions and words are those of the first `n_prompt` tokens (of all
    where none are given); None, for all, reaches what is written after them too. `seen` is kept by a caller that makes several.

    Raises:
        BadPrompt: a layer, head or position that is not there, a word that the prompt has not, a site that a family has not,
            another prompt that does not fit this one.
    """
    plan = model.plan()
    said, n = tokens[: n_prompt or len(tokens)], len(tokens)
    plan.given, plan.n = sources_given(interventions), n
    seen = {} if seen is None else seen
    put_in = 0
    elsewhere = [key for one in interventions if isinstance(one, AtSite) and _reads_another(one) for key in _at(plan, one)]
    for one in interventions:
        if isinstance(one, Block):
            _block(plan, one, said, n)
        elif isinstance(one, AtSite):
            _at_site(model, plan, one, said, put_in, _Others(model, elsewhere, seen))
            put_in += not isinstance(one, Zero | Scale | Reject)
        else:
            raise BadPrompt(f"An intervention is one of {KINDS}.")
    return plan


def _at(plan: SimpleNamespace, one: AtSite) -> list[tuple[int, str]]:
    """The layers and the site that are meant."""
    if one.site == "embed":
        return [(0, "resid_pre")]
    return [(layer, one.site) for layer in _numbers(one.layers, plan.n_layers, "layer")]


def _reads_another(one: AtSite) -> bool:
    """Whether it takes something from another prompt's run."""
    if isinstance(one, Steer | Reject):
        return isinstance(one.direction[0], str) and one.direction != FIRST
    return isinstance(one, Replace | Resample) or isinstance(one, Mean) and bool(one.prompts)


@dataclass(frozen=True)
class _Others:
    """What stands somewhere in other prompts' runs; each is run once for all that a stack wants of it."""

    model: "infoflow.models.model.Model"
    wanted: list[tuple[int, str]]
    seen: Seen

    def states(self, prompt: str | tuple[int, ...], keys: Sequence[tuple[int, str]]) -> "dict[tuple[int, str], torch.Tensor]":
        missing = list(dict.fromkeys(key for key in (*keys, *self.wanted) if (prompt, *key) not in self.seen))
        if any(key in missing for key in keys):
            from infoflow.traced.interventions import states_at

            ids = [t.id for t in self.model.encode(prompt)]
            refuse_long(len(ids), "A text that an intervention reads")
            found = self.model.run(ids, states_at, self.model.plan(), missing)
            self.seen.update({(prompt, *key): state for key, state in zip(missing, found, strict=True)})
        return {key: self.seen[(prompt, *key)] for key in keys}


def _at_site(
    model: "infoflow.models.model.Model", plan: SimpleNamespace, one: AtSite, said: Sequence[Token], source: int, others: _Others
) -> None:
    """One operation more at each of its layers: x -> factor x + given, or less what points along a direction."""
    import torch

    keys, n = _at(plan, one), plan.n
    site, layers = keys[0][1] if keys else one.site, [layer for layer, _ in keys]
    _refuse_site(plan, site, layers)
    width = _width(model, plan, site)
    columns = torch.ones(1, 1)
    if one.head is not None:
        columns = torch.zeros(1, plan.n_heads)
        columns[:, _numbers(one.head, plan.n_heads, "head")] = 1.0
        columns = columns.repeat_interleave(plan.d_head, 1)
    if one.neurons is not None:
        columns = torch.zeros(1, width)
        columns[:, _numbers(one.neurons, width, "neuron")] = 1.0
    at = _positions(one.positions, said, n)
    if isinstance(one, Replace | Resample):
        at = [p for p in at if p < len(said)]  # of what is written, the other text has no place
    if isinstance(one, Reject) and one.direction == FIRST:
        if one.positions is not None and 0 in at:
            raise BadPrompt("The first position is the direction itself: nothing would be left of it. Choose others.")
        at = [p for p in at if p]
    places = torch.zeros(n, 1)
    places[at] = 1.0
    places = places * columns
    states = _other_states(one, keys, said, others)
    for layer in layers:
        state = None if states is None else states[layer, site]
        plan.edits.setdefault(layer, {}).setdefault(site, []).append(
            _operation(one, places, columns, width, state, len(said), source)
        )


def _operation(
    one: AtSite, places: "torch.Tensor", columns: "torch.Tensor", width: int, state: "torch.Tensor | None", n: int, source: int
) -> dict[str, Any]:
    """What traced/interventions.py carries out; what depends on the run itself (`mean_over`, `first`) is settled there."""
    import torch

    if isinstance(one, Zero | Scale):
        return {"factor": 1.0 + places * ((one.factor if isinstance(one, Scale) else 0.0) - 1.0)}
    if isinstance(one, Noise):
        drawn = torch.randn(len(places), width, generator=torch.Generator().manual_seed(one.seed))
        return {"noise": one.factor * places * drawn, "over": n, "source": source}
    if isinstance(one, Steer | Reject):
        direction = None if one.direction == FIRST else _direction(one.direction, columns, width, state)
        if isinstance(one, Steer):
            assert direction is not None
            return {"given": places * (one.factor * direction), "source": source}
        unit = None if direction is None else direction / direction.norm().clamp_min(1e-30)
        return {"reject": unit, "places": places.amax(1, keepdim=True), "columns": columns}
    if state is None:
        return {"mean_over": n, "places": places, "source": source}
    instead = torch.zeros(len(places), state.shape[1])
    instead[: len(state)] = state[: len(places)]
    instead = state[:1].expand(len(places), -1) if isinstance(one, Mean) else instead
    return {"factor": 1.0 - places, "given": places * instead, "source": source}


def _direction(given: Any, columns: "torch.Tensor", width: int, state: "torch.Tensor | None") -> "torch.Tensor":
    """A direction [1, width], nothing outside the columns that are meant."""
    import torch

    if state is not None:
        return state[:1] * columns
    some = int(columns.sum()) if columns.shape[1] > 1 else width
    if len(given) not in (width, some):
        wanted = f"{some}" if some == width else f"{some} (or, of the whole site, {width})"
        raise BadPrompt(f"The direction has {len(given)} numbers; at this site it takes {wanted}.")
    if len(given) == width:
        return torch.tensor([given]) * columns
    whole = torch.zeros(1, width)
    whole[columns > 0] = torch.tensor(given)
    return whole


def _other_states(
    one: AtSite, keys: Sequence[tuple[int, str]], said: Sequence[Token], others: _Others
) -> "dict[tuple[int, str], torch.Tensor] | None":
    """What stands at a site in other prompts' runs, [position, width]: of a mean and of a direction one row; None where no other
    prompt is asked for."""
    if not _reads_another(one):
        return None
    encode = others.model.encode
    if isinstance(one, Replace):
        other = encode(one.prompt)
        if len(other) != len(said):
            raise BadPrompt(
                f"“{one.prompt}” has {len(other)} tokens and the prompt {len(said)}; what stands in the one's places is put into "
                "the other's, so they must have as many."
            )
        return others.states(one.prompt, keys)
    if isinstance(one, Resample):
        return others.states(tuple(neutral_ids(encode, Random(one.seed).randrange(len(NEUTRAL)), len(said))), keys)
    if isinstance(one, Mean):
        neutral = [tuple(neutral_ids(encode, number, len(said))) for number in range(len(NEUTRAL) * (one.prompts == BANK))]
        texts: list[Any] = neutral or list(one.prompts)
        runs = [others.states(text, keys) for text in texts]
        import torch

        return {key: torch.cat([run[key] for run in runs]).mean(0, keepdim=True) for key in keys}
    assert isinstance(one, Steer | Reject)
    towards, away = (others.states(str(text), keys) for text in one.direction[:2])
    return {key: towards[key][-1:] - away[key][-1:] for key in keys}


def _refuse_site(plan: SimpleNamespace, site: str, layers: Sequence[int]) -> None:
    if site == "resid_mid" and plan.parallel:
        raise BadPrompt(
            "In this model the MLP reads what attention reads, side by side: there is no residual between the two. Choose "
            "another site."
        )
    if site == "neurons" and set(layers) & set(plan.sparse):
        raise BadPrompt(
            "In this model the MLP is a mixture of experts, whose neurons are not told apart. Choose the MLP's output."
        )


def _width(model: "infoflow.models.model.Model", plan: SimpleNamespace, site: str) -> int:
    if site == "z":
        return int(plan.n_heads * plan.d_head)
    return plan.n_neurons if site == "neurons" else model.sizes().d_model


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


def positions_of(given: int | str | Sequence[int | str] | None, tokens: Sequence[Token]) -> list[int]:
    """Which positions of a prompt are meant: numbers (negative ones count from the end), words, several, or None for all.

    Raises:
        BadPrompt: one that is not there.
    """
    return _positions(given, tokens, len(tokens))


def _word(word: str, words: Sequence[str]) -> list[int]:
    """Every token of a word, wherever it stands; of one of its places, where it is called as pictures call it (the·2)."""
    wanted = word.strip()
    exact = [p for p, name in enumerate(words) if name == wanted] if "·" in wanted else []
    found = exact or [p for p, name in enumerate(words) if name.split("·")[0] == wanted]
    if not found:
        raise BadPrompt(f"The prompt has no word “{wanted}”. It has: {', '.join(dict.fromkeys(words))}.")
    return found
