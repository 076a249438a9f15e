"""Activation patching: which parts of a run make the difference between two prompts? Each is taken from the one into the other.

1. Two runs: the clean prompt and the corrupted one (another prompt, or the same one under an intervention, such as noise on some
   embeddings).
2. *Denoising* runs the corrupted prompt with one part from the clean run: what that brings back is enough for the answer.
   *Noising* runs the clean one with one part from the corrupted run: what that breaks is needed for it.
3. Every layer and head (of `z`, `q`, `k`, `v`, `pattern`) or position (of the residual, attention's or the MLP's output) in turn,
   all side by side (`reruns.py`).
4. What each run says, by any of `metrics/effects.METRICS`; a share of the way between the two runs is told 0 as the corrupted one
   and 1 as the clean one, whatever the direction.

5. Attribution patching (`method="gradient"`) estimates the same from one backward pass:

       d logit / d x . (x of the other run - x)

6. Path patching (`receiver`) lets a head act on one later head's queries, keys or values alone, or on the logits alone: all other
   heads keep what they do in the unpatched run, MLPs (unless `direct`) do not; what reaches the receiver so is put there in
   a run of its own.

A part at a position acts on later ones alone: what is patched after the position that is read, or before the prompts differ,
changes nothing, and is not run.

Source: Vig et al. (2020), Meng et al. (2022, noise), Nanda (2023, attribution patching), Wang et al. (2022, path patching),
Zhang & Nanda (2023, metrics).
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from infoflow.analyses.cost import Estimate
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt
from infoflow.analyses.reruns import BASE, OF_HEADS, Part, Run
from infoflow.analyses.result import of_tokens
from infoflow.analyses.sweeps import (
    Direction,
    OfSweep,
    Sweep,
    SweepRequest,
    as_places,
    corruption,
    in_bounds,
    known_metric,
    swept,
)
from infoflow.errors import BadPrompt, chosen
from infoflow.interventions import Noise
from infoflow.metrics.effects import METRICS, Outcomes
from infoflow.text.alignment import Align
from infoflow.text.ranges import as_number

if TYPE_CHECKING:
    import infoflow.models.model


class Method(StrEnum):
    """How the effect of a patch is found."""

    EXACT = "exact"
    GRADIENT = "gradient"


class Units(StrEnum):
    """What is patched in one run."""

    AUTO = "auto"
    LAYERS = "layers"
    HEADS = "heads"
    POSITIONS = "positions"
    HEADS_AND_POSITIONS = "heads and positions"


@dataclass(frozen=True, kw_only=True)
class Patching(OfSweep):
    """What each patched run says: `runs` [layer, head, position], an axis of one where several are patched together."""

    other_labels: tuple[str, ...]
    """how the tokens of the run are called that parts were taken from"""
    differs: tuple[bool, ...]
    """of each position: another token stands there in the other run, or what stands there is corrupted"""
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    """() where a run patches all of them together"""
    positions: tuple[int, ...]
    """() where a run patches several together"""
    together: tuple[int, ...]
    """the positions that one run patches, where it patches several together"""
    live: np.ndarray
    """[position] of `positions`: whether anything patched there can reach what is read; where it can't, nothing was run"""
    proposals: tuple[str, ...]
    """other prompts to corrupt this one with, each different in one word"""

    def strongest(self, n: int = 5, metric: str = "logit_diff") -> list[tuple[int, int, int]]:
        """Layer, head and position (numbers in `heads` and `positions` count; 0 where together) of the largest changes."""
        size = np.nan_to_num(np.abs(self.change(metric)))
        order = np.argsort(-size, axis=None, kind="stable")[:n]
        return [(int(a), int(b), int(c)) for a, b, c in zip(*np.unravel_index(order, size.shape), strict=True)]

    def to_frame(self) -> pd.DataFrame:
        """One row per patched run: layer, head, position, label, and every metric."""
        layer, head, at = (axis.ravel() for axis in np.indices(self.runs.logit.shape))
        frame = pd.DataFrame({"layer": np.array(self.layers)[layer]})
        if self.heads:
            frame["head"] = np.array(self.heads)[head]
        if self.positions:
            frame["position"] = np.array(self.positions)[at]
            frame["label"] = np.array(self.position_labels, dtype=object)[frame["position"]]
        return frame.assign(**{metric: self.effect(metric).ravel() for metric in METRICS})


def joined(parts: Sequence[Patching]) -> Patching:
    """Sweeps of several layers each, as one."""
    runs = {name: np.concatenate([getattr(one.runs, name) for one in parts]) for name in vars(parts[0].runs)}
    return replace(parts[0], layers=tuple(layer for one in parts for layer in one.layers), runs=Outcomes(**runs))


@dataclass(frozen=True, kw_only=True)
class PatchRequest(SweepRequest[Patching]):
    """`patch` as a value."""

    analysis: ClassVar[str] = "patching"
    function: ClassVar[str] = "patch"

    units: Units = Units.AUTO
    method: Method = Method.EXACT
    receiver: str = ""
    direct: bool = False

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Patching:
        """The sweep."""
        if on_progress is None:
            return _patched(self, model)
        return _patched(self, model, lambda done, total: on_progress(f"{done} of {total} patched runs", done / max(1, total)))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory, and time from the speed of the machine's own products."""
        return _Sweep(self, model).estimate()

    def refuse(self, model: "infoflow.models.model.Model") -> None:
        """Say no to more work than is allowed.

        Raises:
            TooLarge: with what would do.
        """
        _Sweep(self, model).refuse(lambda: [what for what, _, _ in self.smaller(model)])

    def smaller(self, model: "infoflow.models.model.Model") -> "list[tuple[str, Request[Patching], Estimate]]":
        """Parts of the sweep that are within what is allowed: the read position, those that differ, heads alone, some layers; the
        estimate."""
        sweep = _Sweep(self, model)
        read = sweep.reruns.position
        ways: dict[str, PatchRequest] = {}
        if sweep.positions:
            differ = [p for p in sweep.positions if sweep.alignment.differs[p]]
            ways["positions that differ, and the one that is read"] = replace(self, positions=tuple(sorted({*differ, read})))
            ways["the position that is read alone"] = replace(self, positions=(read,))
        if sweep.positions and sweep.heads:
            ways["heads at all positions together"] = replace(self, units=Units.HEADS)
        third = len(sweep.layers) // 3
        if third:
            some = sweep.layers[third : 2 * third]
            ways[f"layers {some[0]} to {some[-1]}"] = replace(self, layers=some)
        if not (model.hosted or self.receiver or self.frozen is not None):
            ways["the estimate from one backward pass"] = replace(self, method=Method.GRADIENT)
        fitting: list[tuple[str, Request[Patching], Estimate]] = []
        for what, request in ways.items():
            with suppress(BadPrompt):  # heads at all positions together patch those that are frozen, too
                cost = request.estimate(model)
                if cost.n_sources and in_bounds(cost, cost.n_sources if request.method == Method.EXACT else 0):
                    fitting.append((_counted(what, request, cost), request, cost))
        return fitting

    def slices(self, n_layers: int, most: int = 4) -> "list[PatchRequest]":
        """The same sweep, some layers at a time: what each brings can be shown before the next."""
        layers = tuple(range(n_layers)) if self.layers is None else self.layers
        return [replace(self, layers=layers[at : at + most]) for at in range(0, len(layers), most)]


def _counted(what: str, request: PatchRequest, cost: Estimate) -> str:
    return what if request.method == Method.GRADIENT else f"{what} ({cost.n_sources:,} runs)"


def patch(
    model: "infoflow.models.model.Model",
    clean: str | Sequence[int],
    corrupted: Any = None,
    site: str = "z",
    metric: str = "logit_diff",
    target: int | str | None = None,
    against: int | str | None = None,
    positions: Any = None,
    direction: str = Direction.DENOISING,
    units: str = Units.AUTO,
    layers: Sequence[int] | None = None,
    averaged: Any = None,
    frozen: Any = None,
    position: int = -1,
    align: str = Align.NONE,
    draws: int = 1,
    method: str = Method.EXACT,
    receiver: str = "",
    direct: bool = False,
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Patching:
    """Take every head's, or every position's, part of one run into the other, one at a time: what each changes.

    `corrupted`: another prompt of as many tokens (else `align` them at their "start" or "end"), or an intervention under which
    the clean prompt is run: `Noise("embed", 3.0, positions="France")`, `Mean("embed", positions=...)`; `draws` of a noise are
    averaged. Left out, it is the prompt with one word of its kind swapped, or with noise on all its embeddings but the first.
    `target` and `against`: the tokens whose logits are compared; left out, those that the clean and the corrupted run find
    likeliest. `site`: `z`, `q`, `k`, `v`, `pattern` (one run a head), `attn`, `mlp`, `resid_pre`, `resid_mid`, `resid_post`
    (one run a position); `units` says otherwise: "layers", "heads", "positions", "heads and positions". `positions` are patched
    (a number, a word, several; None for all), `frozen` ones keep what attention and MLP write there in the unpatched run.
    `averaged`: positions of the run that parts are taken from whose mean is put in at every patched one, not its counterpart.
    `method`: "exact", or "gradient", an estimate of logits alone from one backward pass. `receiver`: "logits", or a later head's
    queries, keys or values, as "9.6.q": heads (`z`) act along the paths to it alone, through MLPs unless `direct`.
    `metric` is checked here and read off the result by `effect(metric)`. `on_progress(done, total)` is told of patched runs;
    raising in it stops them.

    Raises:
        BadPrompt: prompts that are the same or can't be aligned, an unknown site, metric, unit, layer or position, a token that
            is none.
        TooLarge: a run that does not fit in memory; more minutes than INFOFLOW_MAX_MINUTES, with smaller sweeps that fit.
    """
    known_metric(metric)
    request = PatchRequest(
        model=model.spec, prompt=as_prompt(clean),
        corrupted=corruption(corrupted),
        target=target, against=against, site=site, units=chosen(Units, units, "unit"), positions=as_places(positions),
        layers=None if layers is None else tuple(layers), averaged=as_places(averaged), frozen=as_places(frozen),
        direction=chosen(Direction, direction, "direction"), position=position, align=chosen(Align, align, "end"), draws=draws,
        method=chosen(Method, method, "method"), receiver=receiver, direct=direct,
        interventions=as_interventions(interventions),
    )  # fmt: skip
    return _patched(request, model, on_progress)


class _Sweep(Sweep):
    """Every layer, head or position in turn."""

    request: PatchRequest

    def __init__(self, request: PatchRequest, model: "infoflow.models.model.Model", seed: int = 0) -> None:
        if request.method == Method.GRADIENT and request.frozen is not None:
            raise BadPrompt("An estimate from one backward pass holds no positions. Run it exactly, or let them go.")
        super().__init__(request, model, seed)
        of_heads = request.site in OF_HEADS
        units = request.units
        if units == Units.AUTO:
            units = Units.HEADS if of_heads else Units.POSITIONS
        if not of_heads and units in (Units.HEADS, Units.HEADS_AND_POSITIONS):
            raise BadPrompt(f"At '{request.site}' all heads are summed. Choose z, q, k, v or pattern to tell heads apart.")
        self.heads = tuple(range(self.n_heads)) if units in (Units.HEADS, Units.HEADS_AND_POSITIONS) else ()
        apart = units in (Units.POSITIONS, Units.HEADS_AND_POSITIONS)
        self.positions = self.where if apart else ()
        self.live = np.array(self.reach if apart else [any(self.reach)])
        receiver = self._receiver()
        self.runs: list[Run | None] = [
            self._run(layer, head, at, receiver) if live and (receiver is None or layer < receiver[0]) else None
            for layer in self.layers
            for head in (self.heads or (None,))
            for at, live in zip(self.positions or (None,), self.live, strict=True)
        ]

    @property
    def passes(self) -> float:
        """As of any sweep; an estimate is two runs there and, for each token, back, which takes twice as long."""
        if self.request.method == Method.EXACT:
            return super().passes
        return 10.0 * (self.request.draws if isinstance(self.request.corrupted, Noise) else 1)

    @property
    def made(self) -> int:
        """An estimate patches none."""
        return super().made if self.request.method == Method.EXACT else 0

    def outcomes(self, on_progress: Callable[[int, int], None] | None = None) -> tuple[Outcomes, Outcomes]:
        """Of every run, exactly or to first order, and of the two that stand beside them."""
        if self.request.method == Method.EXACT:
            return super().outcomes(on_progress)
        beside, moved = self.reruns.estimates(self.request.site, self.mean)
        return self._estimated(moved, beside.at(BASE)), beside

    def _receiver(self) -> tuple[int, int, str] | None:
        """Layer, head (of keys and values: that which holds them) and role of what is acted on; a layer after the last for the
        logits; None where everything is."""
        said, plan = self.request.receiver, self.model.plan()
        if not said:
            return None
        if self.request.site != "z" or self.request.method != Method.EXACT or self.request.frozen is not None:
            raise BadPrompt("Paths begin at heads' z, exactly, with no position held. Leave the other choices, or the receiver.")
        if said == "logits":
            return plan.n_layers, 0, ""
        where, _, role = said.rpartition(".")
        layer, head = (as_number(part) for part in where.partition(".")[::2])
        if role not in ("q", "k", "v") or layer is None or head is None or layer >= plan.n_layers or head >= plan.n_heads:
            raise BadPrompt(
                f"“{said}” is no receiver: it is logits, or layer, head and what is read, as 9.6.q, 9.6.k or 9.6.v; the model "
                f"has {plan.n_layers} layers of {plan.n_heads} heads."
            )
        return layer, head if role == "q" else head * plan.n_kv_heads // plan.n_heads, role

    def _run(self, layer: int, head: int | None, at: int | None, receiver: tuple[int, int, str] | None) -> Run:
        row = self.row([(layer, head)], at)
        if receiver is None:
            return (row,)
        sites = ("attn", "mlp") if self.request.direct else ("attn",)
        last = min(receiver[0], self.model.n_layers - 1)
        held = [
            Part(i, site, None, None, BASE)
            for i in range(layer, last + 1)
            for site in sites
            if (site == "mlp" or i > layer) and (i < receiver[0])
        ]
        sent = (*row, *held)
        return (sent,) if not receiver[2] else (sent, (Part(receiver[0], receiver[2], (receiver[1],), None, 2),))

    def _estimated(self, moved: np.ndarray, unpatched: Outcomes) -> Outcomes:
        """Outcomes of all runs to first order: of logits alone."""
        chosen_heads = moved if self.heads else moved.sum(2, keepdims=True)
        at = chosen_heads[:, list(self.layers)][..., list(self.where)]
        at = (at if self.positions else at.sum(-1, keepdims=True)).reshape(len(moved), -1)
        nothing = np.full(at.shape[1], np.nan)
        against = float(unpatched.against) + at[1] if len(at) > 1 else nothing
        return Outcomes(logit=float(unpatched.logit) + at[0], against=against, log_probability=nothing, rank=nothing, kl=nothing)


def _patched(
    request: PatchRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Patching:
    found = swept(_Sweep, request, model, on_progress)
    sweep = found.sweep
    assert isinstance(sweep, _Sweep)
    return Patching(
        **found.fields(),
        other_labels=of_tokens(sweep.other)["labels"],
        differs=sweep.alignment.differs,
        layers=sweep.layers,
        heads=sweep.heads,
        positions=sweep.positions,
        together=() if sweep.positions else sweep.where,
        runs=found.runs.shaped(len(sweep.layers), len(sweep.heads) or 1, len(sweep.positions) or 1),
        live=sweep.live,
        proposals=sweep.proposed,
    )
