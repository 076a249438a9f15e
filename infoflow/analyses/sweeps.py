"""Two runs of which the one is run again with parts of the other: what all sweeps of patched runs begin with.

1. The prompts are laid beside each other, or the one is corrupted; target and what it is held against are settled.
2. A subclass says which runs there are (`runs`).
3. They are made (`swept`), over several draws where noise corrupts, and what was not run is as nothing patched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from infoflow.analyses.cost import Estimate, most_runs, refuse_long
from infoflow.analyses.interventions import positions_of
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Request, as_prompt
from infoflow.analyses.reruns import BASE, OF_HEADS, SOURCE, Part, Reruns, Run
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt, TooLarge
from infoflow.interventions import AnyIntervention, AtSite, Block, Intervention, Noise
from infoflow.metrics.effects import HARDLY, METRICS, Outcomes, filled, mean_of, measured
from infoflow.settings import or_set, settings
from infoflow.text import contrasts
from infoflow.text.alignment import Align, Alignment, aligned
from infoflow.text.tokens import Token

if TYPE_CHECKING:
    import infoflow.models.model

R = TypeVar("R", covariant=True)
Places = int | str | tuple[int | str, ...] | None
SITES = ("z", "q", "k", "v", "pattern", "attn", "mlp", "resid_pre", "resid_mid", "resid_post")
MOST_DRAWS = 32
"""of a noise; each is a sweep of its own"""


class Direction(StrEnum):
    """Which run is run again."""

    DENOISING = "denoising"
    NOISING = "noising"


@dataclass(frozen=True, kw_only=True)
class SweepRequest(Request[R]):
    """What every sweep depends on."""

    prompt: str | tuple[int, ...]
    """clean"""
    corrupted: str | tuple[int, ...] | AnyIntervention | None = None
    target: int | str | None = None
    against: int | str | None = None
    site: str = "z"
    positions: Places = None
    layers: tuple[int, ...] | None = None
    averaged: Places = None
    """of the run that parts are taken from: the mean over them is put in"""
    frozen: Places = None
    direction: Direction = Direction.DENOISING
    position: int = -1
    align: Align = Align.NONE
    draws: int = 1

    def arguments(self) -> dict[str, Any]:
        """The prompt as `clean`."""
        given = super().arguments()
        return {"clean": given.pop("prompt"), **given}

    def exactly(self, model: "infoflow.models.model.Model") -> "SweepRequest[R]":
        """Typed targets may leave out their leading space."""
        ids = [None if token is None else model.token_id_near(token) for token in (self.target, self.against)]
        return replace(self, model=model.spec, target=ids[0], against=ids[1])


@dataclass(frozen=True, kw_only=True)
class OfSweep(OfPrompt):
    """What the runs of a sweep say. Its tokens are those of the prompt that was run again."""

    site: str
    direction: str
    target: int
    target_label: str
    against: int | None
    against_label: str
    position: int
    """that was read"""
    n_layers: int
    """of the model"""
    runs: Outcomes
    clean: Outcomes
    corrupted: Outcomes
    provenance: Provenance

    def effect(self, metric: str = "logit_diff") -> np.ndarray:
        """One of `METRICS` for each patched run, of the shape of `runs`.

        Raises:
            BadPrompt: an unknown metric.
        """
        return measured(self.runs, known_metric(metric), self.clean, self.corrupted)

    def change(self, metric: str = "logit_diff") -> np.ndarray:
        """The same, less what it is in the run that nothing is patched in."""
        return self.effect(metric) - float(measured(self.unpatched, metric, self.clean, self.corrupted))

    @property
    def unpatched(self) -> Outcomes:
        """The run that was run again, with nothing patched."""
        return self.corrupted if self.direction == Direction.DENOISING else self.clean

    @property
    def hardly(self) -> bool:
        """Whether the two runs are so alike that a share of the way between them means little."""
        return abs(float(self.clean.lead) - float(self.corrupted.lead)) < HARDLY


def known_metric(metric: str) -> str:
    """A metric that there is.

    Raises:
        BadPrompt: another word.
    """
    if metric not in METRICS:
        raise BadPrompt(f"There is no metric '{metric}'. There are: {', '.join(METRICS)}.")
    return metric


def in_bounds(cost: Estimate, runs: int) -> bool:
    """Whether a sweep of so many runs is one that may be made."""
    return most_runs(runs) is None and (cost.seconds is None or cost.seconds <= 60 * settings().max_minutes)


def corruption(given: Any) -> Any:
    """What a clean prompt is held against, as a request keeps it."""
    return given if given is None or isinstance(given, AtSite | Block) else as_prompt(given)


def as_places(given: Any) -> Any:
    """Positions as a request keeps them."""
    return tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else given


class Sweep:
    """The two runs of a request, and what is patched in one of them."""

    runs: Sequence[Run | None]
    """what there is to run; None where nothing can change"""

    def __init__(self, request: SweepRequest[Any], model: "infoflow.models.model.Model", seed: int = 0) -> None:
        self.request, self.model = request, model
        if request.site not in SITES:
            raise BadPrompt(f"There is no site '{request.site}' to patch. There are: {', '.join(SITES)}.")
        clean, other, changes = self.pair = self._pair(seed)
        denoising = request.direction == Direction.DENOISING
        self.tokens, self.other = (other, clean) if denoising else (clean, other)
        self.notes = model.notes(request.prompt, clean)
        if isinstance(request.corrupted, str | tuple):
            self.notes = tuple(dict.fromkeys((*self.notes, *model.notes(request.corrupted, other))))
        self.alignment = self._aligned(changes)
        self.mean = None if request.averaged is None else tuple(positions_of(request.averaged, self.other))
        if self.mean is not None and request.site == "pattern":
            raise BadPrompt("A pattern is of the positions that a position reads: its mean over others fits none. Patch z or v.")
        everywhere = bool(request.interventions) or self.alignment.shift != 0 or self.mean is not None
        first = 0 if everywhere else self.alignment.first
        self.reruns = Reruns(
            model, self.tokens, [t.id for t in self.other], [], request.position, self.alignment.shift,
            first, request.interventions, changes, BASE if denoising else SOURCE,
        )  # fmt: skip
        plan = model.plan()
        self.layers = tuple(range(plan.n_layers) if request.layers is None else request.layers)
        for layer in self.layers:
            if not 0 <= layer < plan.n_layers:
                raise BadPrompt(f"There is no layer {layer}; the model has {plan.n_layers} (0 to {plan.n_layers - 1}).")
        self.n_heads = plan.n_heads if request.site in ("z", "q", "pattern") else plan.n_kv_heads
        self.where = tuple(positions_of(request.positions, self.tokens))
        self.held = () if request.frozen is None else tuple(positions_of(request.frozen, self.tokens))
        self.reach = [first <= p <= self.reruns.position for p in self.where]

    def _pair(self, seed: int) -> tuple[Sequence[Token], Sequence[Token], list[Any]]:
        clean = self.model.encode(self.request.prompt)
        self.proposed = _proposals(self.model, self.request.prompt)
        given = self.request.corrupted
        if given is None:
            noise = Noise("embed", positions=tuple(range(min(1, len(clean) - 1), len(clean))))
            given = self.proposed[0] if self.proposed else noise
        self.corrupted = given
        if not isinstance(given, Intervention):
            other = self.model.encode(given)
            refuse_long(len(other), "The other prompt")
            return clean, other, []
        if isinstance(given, Block):
            raise BadPrompt("A blocked attention corrupts no state. Use noise, a mean, or another prompt.")
        return clean, clean, [replace(given, seed=given.seed + seed) if isinstance(given, Noise) else given]

    def _aligned(self, changes: Sequence[Any]) -> Alignment:
        if not changes:
            return aligned(self.tokens, self.other, self.request.align)
        hit = positions_of(changes[0].positions, self.tokens)
        return Alignment(0, tuple(p in hit for p in range(len(self.tokens))))

    def ask(self) -> list[str]:
        """Settle the target and what it is held against, as asked or the likeliest of the clean and of the corrupted run; their
        names."""
        request = self.request
        clean, other, changes = self.pair
        asked = [None if token is None else self.model.token_id(token) for token in (request.target, request.against)]
        if asked[0] is None or asked[1] is None:
            likeliest = self._likeliest(clean, other, changes)
            target = likeliest[0] if asked[0] is None else asked[0]
            rival = likeliest[1] if request.target is None and likeliest[1] != target else None
            asked = [target, rival if asked[1] is None else asked[1]]
        if asked[0] == asked[1]:
            raise BadPrompt("The target and the token that it is held against are the same. Choose two different tokens.")
        self.reruns.ids = [int(token) for token in asked if token is not None]
        return [self.model.name_of(token) for token in self.reruns.ids]

    def _likeliest(self, clean: Sequence[Token], other: Sequence[Token], changes: list[Any]) -> list[int]:
        from infoflow.analyses.interventions import changed_plan
        from infoflow.traced.reruns import likeliest

        found: list[int] = []
        for tokens, more in ((clean, []), (other, changes)):
            if self.request.target is not None and found:
                break
            at = self.reruns.position + (self.alignment.shift if len(tokens) != len(self.tokens) else 0)
            plan = changed_plan(self.model, [*self.request.interventions, *more], tokens)
            found.append(self.model.run([t.id for t in tokens], likeliest, plan, at))
        return found if len(found) == 2 else [found[0], found[0]]

    @property
    def passes(self) -> float:
        """The work of all runs, in whole runs of the prompt: each goes through the layers from its own on, without the prefix."""
        layers = sum(self.model.n_layers - run[0][0].layer for run in self.runs if run is not None)
        share = 1.0 - self.reruns.prefix / len(self.tokens)
        draws = self.request.draws if isinstance(self.corrupted, Noise) else 1
        return draws * share * layers / self.model.n_layers

    @property
    def made(self) -> int:
        """How many runs are made."""
        return sum(map(len, (run for run in self.runs if run is not None)))

    def refuse(self, smaller: Callable[[], Sequence[str]]) -> None:
        """Say no to more work than is allowed; `smaller`: what would do, in words.

        Raises:
            TooLarge: with the work in runs, tokens and whole runs, what is allowed, and what would do.
        """
        cost, allowed = self.estimate(), settings().max_minutes
        if in_bounds(cost, self.made):
            return
        fits = "; ".join(smaller())
        most = most_runs(self.made)
        if most is not None:
            raise TooLarge(
                f"{self.made:,} patched runs are asked for; this app makes at most {most:,} for one question. "
                f"{f'Smaller: {fits}.' if fits else 'Choose fewer layers or positions.'}"
            )
        assert cost.seconds is not None  # in bounds, else
        raise TooLarge(
            f"{cost.n_sources:,} patched runs of {cost.n_tokens} tokens do the work of about {self.passes:,.0f} whole runs of "
            f"the prompt: {-(-cost.seconds // 60):,.0f} minutes or more at this machine's speed; {allowed} are allowed. "
            f"{f'Smaller: {fits}' if fits else 'Shorten the prompt'}{or_set('MAX_MINUTES')}."
        )

    def estimate(self) -> Estimate:
        """Memory, and time from the speed of the machine's own products."""
        runs = [run for run in self.runs if run is not None]
        rows = sum(map(len, runs))
        needed = self.reruns.row_bytes() * (2 + min(rows, self.reruns.at_once()))
        model, sizes = self.model, self.model.sizes()
        once = len(self.tokens) * sizes.passing_parameters
        seconds = None if model.hosted else self.passes * once / model.speed()
        return Estimate(n_tokens=len(self.tokens), n_sources=rows, bytes=needed, seconds=seconds)

    def outcomes(self, on_progress: Callable[[int, int], None] | None = None) -> tuple[Outcomes, Outcomes]:
        """Of every run, and of the two that stand beside them."""
        live = np.array([run is not None for run in self.runs])
        found, beside = self.reruns.outcomes([run for run in self.runs if run is not None], on_progress=on_progress)
        return filled(found, live, beside.at(BASE)), beside

    def row(self, parts: Sequence[tuple[int, int | None]], at: int | None) -> tuple[Part, ...]:
        """A run in which (layer, head; None for all) are patched, at one position or all that are: earlier layers first."""
        site = self.request.site
        where = (at,) if at is not None else None if len(self.where) == len(self.tokens) else self.where
        taken = tuple(
            Part(layer, site, None if head is None else (head,), where, SOURCE, self.mean)
            for layer, head in sorted(parts, key=_layer)
        )
        if self.request.frozen is None:
            return taken
        patched = self.where if at is None else (at,)
        held = tuple(p for p in self.held if p not in patched)
        if not held:
            if at is None:
                raise BadPrompt("What is patched is not held, and all frozen positions are patched here: choose other positions.")
            return taken
        first = taken[0].layer + (site not in ("resid_pre", *OF_HEADS))
        later = [Part(i, name, None, held, BASE) for i in range(first, self.model.n_layers) for name in ("attn", "mlp")]
        return (*taken, *later)


@dataclass(frozen=True)
class Swept:
    """What came of all runs, with what a result says of where it is from."""

    sweep: Sweep
    settled: SweepRequest[Any]
    """the request with what was left open"""
    names: tuple[str, ...]
    """of the target and of what it is held against"""
    runs: Outcomes
    clean: Outcomes
    corrupted: Outcomes

    def fields(self) -> dict[str, Any]:
        """Fields that results of sweeps share."""
        sweep, request, model = self.sweep, self.settled, self.sweep.model
        return {
            **of_tokens(sweep.tokens, sweep.notes),
            "site": request.site,
            "direction": str(request.direction),
            "target": request.target,
            "target_label": self.names[0],
            "against": request.against,
            "against_label": self.names[1] if len(self.names) > 1 else "",
            "position": sweep.reruns.position,
            "n_layers": model.n_layers,
            "clean": self.clean,
            "corrupted": self.corrupted,
            "provenance": Provenance.of(model, request, model.dtype, ids=tuple(t.id for t in sweep.tokens)),
        }


def swept(
    kind: Callable[..., Sweep],
    request: SweepRequest[Any],
    model: "infoflow.models.model.Model",
    on_progress: Callable[[int, int], None] | None = None,
) -> Swept:
    """All runs of a request, by what kind of sweep it asks for; the mean over draws of a noise.

    Raises:
        BadPrompt: no such number of draws, and what the sweep itself raises.
        TooLarge: more work than is allowed.
    """
    if not 1 <= request.draws <= MOST_DRAWS:
        raise BadPrompt(f"{request.draws} draws are none; choose 1 to {MOST_DRAWS}.")
    sweep = kind(request, model)
    sweep.refuse(lambda: [what for what, _, _ in request.smaller(model)])
    draws = request.draws if isinstance(sweep.corrupted, Noise) else 1
    names, ids = sweep.ask(), sweep.reruns.ids
    settled = replace(request, corrupted=sweep.corrupted, target=ids[0], against=ids[1] if len(ids) > 1 else None)
    several, pairs = [], []
    for seed in range(draws):
        one = sweep if seed == 0 else kind(settled, model, seed)
        one.reruns.ids = ids
        runs, beside = one.outcomes(None if on_progress is None else partial(_told, on_progress, seed, draws))
        several.append(runs)
        pairs.append(beside)
    beside = mean_of(pairs)
    here, there = beside.at(BASE), beside.at(SOURCE)
    clean, corrupted = (there, here) if request.direction == Direction.DENOISING else (here, there)
    return Swept(sweep, settled, tuple(names), mean_of(several), clean, corrupted)


def _layer(part: tuple[int, int | None]) -> int:
    return part[0]


def _proposals(model: "infoflow.models.model.Model", prompt: str | tuple[int, ...]) -> tuple[str, ...]:
    """Other prompts of as many tokens, each different in one word."""
    if not isinstance(prompt, str):
        return ()
    return contrasts.proposals(prompt, lambda text: len(model.encode(text)))


def _told(on_progress: Callable[[int, int], None], draw: int, draws: int, done: int, total: int) -> None:
    on_progress(draw * total + done, draws * total)
