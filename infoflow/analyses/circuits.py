"""Which heads and MLPs does an answer need? Those that are left when all others are replaced by their means.

1. A head's z, or what an MLP writes, is *knocked out* by what stands there, position by position, in the mean over neutral texts
   (or given ones) of as many tokens: what it does on any text stays, what it does on this one goes (mean ablation).
2. Greedily: each part that is left is knocked out beside those that are out already, all in one sweep (`reruns.py`); the least
   harmful ones go together, as many as keep the wanted share; then the same again, until none can go.
3. Two figures, of the lead L over what it is with everything knocked out (L0):

       faithfulness = (L of the circuit alone - L0) / (L of the model - L0)
       completeness = 1 - (L of all but the circuit - L0) / (L of the model - L0)

   Both are 1 for a circuit that does all of it alone and without which nothing is left.

Source: Wang et al., "Interpretability in the Wild" (2022); Conmy et al. (2023, greedy removal).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses.cost import Estimate
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt
from infoflow.analyses.reruns import Part, Reruns, Row
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt
from infoflow.text.contrasts import BANK
from infoflow.text.neutral import NEUTRAL, neutral_ids
from infoflow.text.tokens import Token

if TYPE_CHECKING:
    import torch

    import infoflow.models.model

Unit = tuple[int, int]
"""layer and head; -1 for the layer's MLP"""
MLP = -1
CUTS = 12
"""cumulative knock-outs that are tried at once"""


@dataclass(frozen=True, kw_only=True)
class Circuit(OfPrompt):
    """The heads and MLPs that keep an answer, with how well. Leads are in logits."""

    target: int
    target_label: str
    against: int | None
    against_label: str
    position: int
    keep: float
    """the share that was asked for"""
    members: tuple[Unit, ...]
    """layer and head (-1: the MLP), in order"""
    knocked: Float[np.ndarray, "layer unit"]
    """what knocking out each part alone takes from the lead: heads, and last the MLP"""
    lead: float
    """of the model"""
    nothing: float
    """with every head and MLP knocked out"""
    alone: float
    """with all but the circuit knocked out"""
    without: float
    """with the circuit knocked out"""
    provenance: Provenance

    @property
    def faithfulness(self) -> float:
        """Share of the lead that the circuit keeps alone."""
        return self._share(self.alone)

    @property
    def completeness(self) -> float:
        """Share of the lead that goes with the circuit."""
        return 1.0 - self._share(self.without)

    def _share(self, lead: float) -> float:
        return (lead - self.nothing) / (self.lead - self.nothing)

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def names(self) -> tuple[str, ...]:
        """4.7 for a head, MLP 3 for an MLP."""
        return tuple(named(unit) for unit in self.members)

    def to_frame(self) -> pd.DataFrame:
        """One row per head and MLP: layer, head (-1: the MLP), name, in_circuit, knocked."""
        n_layers, n_units = self.knocked.shape
        units = [(layer, head if head < n_units - 1 else MLP) for layer in range(n_layers) for head in range(n_units)]
        inside = set(self.members)
        return pd.DataFrame({
            "layer": [layer for layer, _ in units], "head": [head for _, head in units], "name": [named(u) for u in units],
            "in_circuit": [u in inside for u in units], "knocked": self.knocked.ravel(),
        })  # fmt: skip


def named(unit: Unit) -> str:
    """A head or an MLP as it is called."""
    return f"MLP {unit[0]}" if unit[1] == MLP else f"{unit[0]}.{unit[1]}"


@dataclass(frozen=True, kw_only=True)
class CircuitRequest(Request[Circuit]):
    """`circuit` as a value."""

    analysis: ClassVar[str] = "circuits"
    function: ClassVar[str] = "circuit"

    prompt: str | tuple[int, ...]
    target: int | str
    against: int | str | None = None
    keep: float = 0.8
    position: int = -1
    texts: str | tuple[str, ...] = BANK

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Circuit:
        """The search."""
        return _found(self, model, on_progress or (lambda doing, fraction: None))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory of a sweep, and time of the first one twice."""
        tokens = model.encode(self.prompt)
        plan = model.plan()
        sweep = Reruns(model, tokens, [t.id for t in tokens], [])
        n_units = plan.n_layers * (plan.n_heads + 1)
        work = len(tokens) * n_units / 2 * (model.sizes().parameters - model.sizes().vocabulary * model.sizes().d_model)
        seconds = None if model.hosted else 2 * work / model.speed()
        needed = sweep.row_bytes() * (2 + min(n_units, sweep.at_once()))
        return Estimate(n_tokens=len(tokens), n_sources=n_units, bytes=needed, seconds=seconds)

    def exactly(self, model: "infoflow.models.model.Model") -> "CircuitRequest":
        """Typed targets may leave out their leading space."""
        against = None if self.against is None else model.token_id_near(self.against)
        return replace(self, model=model.spec, target=model.token_id_near(self.target), against=against)


def circuit(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    target: int | str,
    against: int | str | None = None,
    keep: float = 0.8,
    position: int = -1,
    texts: str | Sequence[str] = BANK,
    interventions: Sequence[Any] = (),
    on_progress: Report | None = None,
) -> Circuit:
    """The fewest heads and MLPs, found greedily, that keep a share of the logit of `target` (or of its lead over `against`) when
    all others are replaced by their means over `texts`: "bank" (the neutral texts that ship), or others of as many tokens.

    `on_progress(doing, fraction)` is told of each round; raising in it stops the search.

    Raises:
        BadPrompt: a token that is none, a share outside 0 to 1, texts of other lengths, an answer that needs none of the parts.
        TooLarge: a sweep that does not fit in memory.
    """
    request = CircuitRequest(
        model=model.spec, prompt=as_prompt(prompt), target=target, against=against, keep=keep, position=position,
        texts=texts if isinstance(texts, str) else tuple(texts), interventions=as_interventions(interventions),
    )  # fmt: skip
    return _found(request, model, on_progress or (lambda doing, fraction: None))


class Knockouts:
    """Runs of a prompt in which some heads and MLPs are replaced by their means."""

    def __init__(
        self,
        model: "infoflow.models.model.Model",
        tokens: Sequence[Token],
        ids: Sequence[int],
        position: int = -1,
        texts: str | Sequence[str] = BANK,
        interventions: Sequence[Any] = (),
    ) -> None:
        plan = model.plan()
        self.n_layers, self.n_heads = plan.n_layers, plan.n_heads
        means = _means(model, len(tokens), texts)
        own = [t.id for t in tokens]
        self.reruns = Reruns(model, tokens, own, ids, position, interventions=interventions, instead=means)

    @property
    def units(self) -> list[Unit]:
        """Every head and MLP."""
        return [(layer, head) for layer in range(self.n_layers) for head in (*range(self.n_heads), MLP)]

    def leads(
        self, sets: Sequence[Sequence[Unit]], always: Sequence[Unit] = (), report: Callable[[int, int], None] | None = None
    ) -> tuple[np.ndarray, float]:
        """The lead without each of some sets of parts, and with all in place but `always`, which are out in every run."""
        found, beside = self.reruns.outcomes([(_parts(some),) for some in sets], _parts(always), report)
        return found.lead, float(beside.lead[0])


def _parts(units: Sequence[Unit]) -> Row:
    """What is taken from the means, heads of one layer together."""
    heads: dict[int, list[int]] = {}
    for layer, head in units:
        if head != MLP:
            heads.setdefault(layer, []).append(head)
    of_heads = [Part(layer, "z", tuple(sorted(some))) for layer, some in heads.items()]
    of_mlps = [Part(layer, "mlp") for layer, head in units if head == MLP]
    return tuple(sorted([*of_heads, *of_mlps], key=lambda part: part.layer))


def _means(model: "infoflow.models.model.Model", n: int, texts: str | Sequence[str]) -> "dict[tuple[int, str], torch.Tensor]":
    """What stands at each z and MLP, [position, width], in the mean over texts of `n` tokens."""
    from infoflow.traced.interventions import states_at

    if texts == BANK:
        every = [tuple(neutral_ids(model.encode, number, n)) for number in range(len(NEUTRAL))]
    else:
        read = [(text, model.encode(text)) for text in ([texts] if isinstance(texts, str) else texts)]
        other = [(text, len(tokens)) for text, tokens in read if len(tokens) != n]
        if other:
            raise BadPrompt(
                f"“{other[0][0]}” has {other[0][1]} tokens and the prompt {n}: a mean position by position needs as many. Choose "
                "another text, or the neutral texts that ship."
            )
        every = [tuple(t.id for t in tokens) for _, tokens in read]
    plan = model.plan()
    wanted = [(layer, site) for layer in range(plan.n_layers) for site in ("z", "mlp")]
    total: list[torch.Tensor] = []
    for ids in every:
        states: list[torch.Tensor] = model.run(ids, states_at, model.plan(), wanted)
        total = states if not total else [a + b for a, b in zip(total, states, strict=True)]
    return {key: state / len(every) for key, state in zip(wanted, total, strict=True)}


def _found(request: CircuitRequest, model: "infoflow.models.model.Model", say: Report) -> Circuit:
    if not 0 < request.keep < 1:
        raise BadPrompt(f"The share to keep is {request.keep:g}; choose one between 0 and 1.")
    tokens = model.encode(request.prompt)
    ids = [model.token_id(request.target), *([] if request.against is None else [model.token_id(request.against)])]
    if len(set(ids)) < len(ids):
        raise BadPrompt("The target and the token that it is held against are the same. Choose two different tokens.")
    say("Means over other texts", 0.0)
    knock = Knockouts(model, tokens, ids, request.position, request.texts, request.interventions)
    units = knock.units
    (nothing,), lead = knock.leads([units])
    if not lead - nothing > 0:
        raise BadPrompt(
            f"With all heads and MLPs knocked out the lead is {nothing:+.1f}, and {lead:+.1f} with them: no part of the model "
            "speaks for this answer. Choose the other token as the target."
        )
    least = nothing + request.keep * (lead - nothing)
    members, alone_of = _searched(knock, units, least, say)
    (alone, without), _ = knock.leads([[u for u in units if u not in members], members]) if members else ((nothing, lead), lead)
    labels = [model.name_of(token) for token in ids]
    return Circuit(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        target=ids[0],
        target_label=labels[0],
        against=ids[1] if len(ids) > 1 else None,
        against_label=labels[1] if len(ids) > 1 else "",
        position=knock.reruns.position,
        keep=request.keep,
        members=tuple(sorted(members, key=lambda unit: (unit[0], unit[1] == MLP, unit[1]))),
        knocked=(lead - alone_of).reshape(knock.n_layers, knock.n_heads + 1),
        lead=lead,
        nothing=float(nothing),
        alone=float(alone),
        without=float(without),
        provenance=Provenance.of(
            model,
            replace(request, target=ids[0], against=ids[1] if len(ids) > 1 else None),
            model.dtype,
            ids=tuple(t.id for t in tokens),
        ),
    )


def _searched(knock: Knockouts, units: Sequence[Unit], least: float, say: Report) -> tuple[list[Unit], np.ndarray]:
    """What is left when nothing more can go, and the lead without each part alone."""
    out: list[Unit] = []
    left = list(units)
    first = np.zeros(0)
    number = 0
    while left:
        number += 1
        of = f"Round {number}: {len(left)} parts are left"

        def told(done: int, total: int, of: str = of) -> None:
            say(of, done / max(1, total))

        without, _ = knock.leads([[unit] for unit in left], out, told)
        first = without if number == 1 else first
        order = [left[k] for k in np.argsort(-without, kind="stable")]
        gone = _most_that_go(knock, order, out, least)
        if not gone:
            break
        out += order[:gone]
        left = [unit for unit in left if unit not in set(out)]
    return left, first


def _most_that_go(knock: Knockouts, order: Sequence[Unit], out: Sequence[Unit], least: float) -> int:
    """How many of the least harmful parts can go together: cuts at once, then those between the last that holds and the next."""
    low, high = 0, len(order) + 1
    while high - low > 1:
        cuts = sorted({int(c) for c in np.linspace(low, high, min(CUTS, high - low - 1) + 2)[1:-1]} - {low, high})
        leads, _ = knock.leads([order[:cut] for cut in cuts], out)
        holds = [cut for cut, lead in zip(cuts, leads, strict=True) if lead >= least]
        low = max(holds, default=low)
        high = min((cut for cut in cuts if cut > low), default=high)
    return low
