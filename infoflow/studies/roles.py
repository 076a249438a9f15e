"""What do an answer's heads and MLPs do, and does it need them? Each known role, the parts that play it, what is left without.

1. Direct attribution says what each head and MLP writes of the answer itself (`analyses/attribution.py`).
2. Patterns say where each head looks (`analyses/attention.py`), on this prompt alone:

       movers            at the position that is read, `LOOKS` or more of their attention is on the target token
       carriers          as much of it is on the token that the answer rests on most, where that is another one
       induction, previous-token, duplicate-token heads: by the scores of `metrics/heads.py`, `LOOKS` or more
       MLPs              all of them

3. All parts of a role are knocked out together (`analyses/circuits.py`), and the lead is read again:

       left = (lead without - L0) / (lead - L0),   L0: with every head and MLP knocked out

A role's *share* is what its parts write directly of the lead; its parts may matter through others, which the knock-out shows and
the share does not.

Source: Wang et al., "Interpretability in the Wild" (2022); Olsson et al. (2022).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from infoflow.analyses.attention import Attention, AttentionRequest
from infoflow.analyses.attribution import Attribution, AttributionRequest
from infoflow.analyses.circuits import MLP, CircuitRequest, Knockouts, Unit, named
from infoflow.analyses.cost import Estimate
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, RunPart, Study, as_interventions, as_prompt
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.metrics import heads

if TYPE_CHECKING:
    import infoflow.models.model

LOOKS = 0.3
"""of a head's attention, or of a score, from which it plays a role"""
NEEDED = 0.5
"""of the lead that is left without a role, below which the answer needs it"""
WRITES = 0.01
"""of the lead that a mover or carrier writes at least, in size"""


@dataclass(frozen=True, kw_only=True)
class Role:
    """Parts that do one thing."""

    name: str
    members: tuple[Unit, ...]
    """layer and head (-1: the MLP)"""
    share: float
    """of the lead that they write directly"""
    left: float
    """of the lead without them"""

    @property
    def needed(self) -> bool:
        """Whether less than half of the lead is left without them."""
        return bool(self.members) and self.left < NEEDED

    @property
    def names(self) -> tuple[str, ...]:
        """As they are called."""
        return tuple(named(unit) for unit in self.members)


@dataclass(frozen=True, kw_only=True)
class Roles(OfPrompt):
    """The roles that are played for an answer."""

    target_label: str
    against_label: str
    lead: float
    nothing: float
    """the lead with every head and MLP knocked out"""
    rests_on: str
    """the token that the answer rests on most"""
    roles: tuple[Role, ...]
    provenance: Provenance

    def role(self, name: str) -> Role:
        """One of them."""
        return next(role for role in self.roles if role.name == name)

    def to_frame(self) -> pd.DataFrame:
        """One row a role: role, members, size, share, left, needed."""
        return pd.DataFrame([
            {
                "role": r.name, "members": ", ".join(r.names), "size": len(r.members), "share": r.share, "left": r.left,
                "needed": r.needed,
            }
            for r in self.roles
        ])  # fmt: skip


MOVERS, CARRIERS, MLPS = "movers", "carriers", "MLPs"
SCORED = {"induction": "induction heads", "previous token": "previous-token heads", "duplicate token": "duplicate-token heads"}


@dataclass(frozen=True, kw_only=True)
class RolesRequest(Study[Roles]):
    """`roles` as a value."""

    analysis: ClassVar[str] = "roles"
    function: ClassVar[str] = "roles"

    prompt: str | tuple[int, ...]
    target: int | str
    against: int | str | None = None
    position: int = -1

    def run(
        self, model: "infoflow.models.model.Model", on_progress: Report | None = None, run_part: RunPart | None = None
    ) -> Roles:
        """The roles."""
        return _played(self, model, on_progress, run_part)

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Of its largest part."""
        return CircuitRequest(model=self.model, prompt=self.prompt, target=self.target).estimate(model)

    def exactly(self, model: "infoflow.models.model.Model") -> "RolesRequest":
        """Typed targets may leave out their leading space."""
        against = None if self.against is None else model.token_id_near(self.against)
        return replace(self, model=model.spec, target=model.token_id_near(self.target), against=against)


def roles(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    target: int | str,
    against: int | str | None = None,
    position: int = -1,
    interventions: Sequence[Any] = (),
    on_progress: Report | None = None,
) -> Roles:
    """Which heads and MLPs play a known role for the logit of `target` (or its lead over `against`), what they write of it, and
    what is left of it without them.

    Raises:
        BadPrompt: as `attribute`.
        TooLarge: as `attribute`.
    """
    request = RolesRequest(
        model=model.spec, prompt=as_prompt(prompt), target=target, against=against, position=position,
        interventions=as_interventions(interventions),
    )  # fmt: skip
    return _played(request, model, on_progress, None)


def _played(
    request: RolesRequest, model: "infoflow.models.model.Model", on_progress: Report | None, run_part: RunPart | None
) -> Roles:
    run: RunPart = run_part or (lambda part, report: part.run(model, report))
    asked = AttributionRequest(
        model=request.model, prompt=request.prompt, target=request.target, against=request.against, position=request.position,
        interventions=request.interventions,
    )  # fmt: skip
    split: Attribution = run(asked, on_progress)
    patterns = AttentionRequest(model=request.model, prompt=request.prompt, interventions=request.interventions)
    attn: Attention = run(patterns, on_progress)
    tokens = model.encode(request.prompt)
    ids = [split.target, *([] if split.against is None else [split.against])]
    knock = Knockouts(model, tokens, ids, split.position, interventions=request.interventions)
    rests, members = _members(split, attn, [t.id for t in tokens])
    sets = [list(some) for some in members.values()]
    told = None if on_progress is None else lambda done, total: on_progress("Knocking roles out", done / total)
    leads, lead = knock.leads([*sets, knock.units], report=told)
    nothing = float(leads[-1])
    whole = lead - nothing
    found = [
        Role(
            name=name,
            members=tuple(some),
            share=sum(_writes(split, unit) for unit in some) / split.direct_total if split.direct_total else 0.0,
            left=float((left - nothing) / whole) if some and whole else 1.0,
        )
        for (name, some), left in zip(members.items(), leads, strict=False)
    ]
    return Roles(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        target_label=model.name_of(split.target),
        against_label="" if split.against is None else model.name_of(split.against),
        lead=lead,
        nothing=nothing,
        rests_on=split.position_labels[rests],
        roles=tuple(found),
        provenance=Provenance.of(
            model, replace(request, target=split.target, against=split.against), model.dtype, ids=tuple(t.id for t in tokens)
        ),
    )


def _members(split: Attribution, attn: Attention, ids: Sequence[int]) -> tuple[int, dict[str, list[Unit]]]:
    """The token that the answer rests on most (the first aside), and the parts that play each role."""
    at = split.position
    n_layers, n_heads = split.by_head.shape
    targets = [p for p in range(at + 1) if ids[p] == split.target]
    sources = np.array(split.by_source[: at + 1], dtype=float)
    sources[0] = -np.inf if at else sources[0]
    rests = int(sources.argmax())
    row = attn.pattern[:, :, at]
    writes = np.abs(split.by_head) >= WRITES * abs(split.direct_total)
    found: dict[str, list[Unit]] = {
        MOVERS: _units((row[..., targets].sum(-1) >= LOOKS) & writes) if targets else [],
        CARRIERS: _units((row[..., rests] >= LOOKS) & writes) if rests not in (*targets, at) else [],
    }
    for kind, scores in zip(heads.KINDS, attn.scores.scores, strict=True):
        found[SCORED[kind]] = _units(np.nan_to_num(scores) >= LOOKS)
    found[MLPS] = [(layer, MLP) for layer in range(n_layers)]
    return rests, found


def _units(chosen: np.ndarray) -> list[Unit]:
    return [(int(layer), int(head)) for layer, head in np.argwhere(chosen)]


def _writes(split: Attribution, unit: Unit) -> float:
    layer, head = unit
    return float(split.by_mlp[layer] if head == MLP else split.by_head[layer, head])
