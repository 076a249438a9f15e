"""Pairs of heads patched together: does the one do what the other does, or do they need each other?

1. The heads are the strongest of a sweep of single ones (`patching.py`), or those that are given.
2. Each alone and each pair of them is a run of its own, all side by side (`reruns.py`); a pair joins at its earlier head's layer.
3. Of two heads a and b, each a change from the run that nothing is patched in,

       interaction(a, b) = change(a and b) - change(a) - change(b)

   0 where they act side by side. Denoising, where both bring the answer back: negative (less than the sum) if one acts through
   the other or either is enough (redundant), positive (more) if each needs the other (they cooperate). Noising, where both break
   it: positive (less than the sum) if one acts through the other or each needs the other, negative (more) if either is enough.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from infoflow.analyses.cost import Estimate
from infoflow.analyses.patching import PatchRequest
from infoflow.analyses.request import Report, as_interventions, as_prompt
from infoflow.analyses.reruns import OF_HEADS, Run
from infoflow.analyses.sweeps import Direction, OfSweep, Sweep, SweepRequest, as_places, corruption, known_metric, swept
from infoflow.errors import BadPrompt, chosen
from infoflow.metrics.effects import METRICS, Outcomes
from infoflow.text.alignment import Align

if TYPE_CHECKING:
    import infoflow.models.model

Head = tuple[int, int]
"""layer and head"""
MOST = 64
"""heads of which all pairs are run"""


@dataclass(frozen=True, kw_only=True)
class Pairs(OfSweep):
    """What each pair of some heads says when both are patched: `runs` [head, head]; on the diagonal one alone."""

    heads: tuple[Head, ...]
    """the strongest first, where they are those of a sweep"""
    swept: bool
    """whether they are: the heads of a sweep that change the lead most"""

    @property
    def names(self) -> tuple[str, ...]:
        """How the heads are called: layer.head."""
        return tuple(f"{layer}.{head}" for layer, head in self.heads)

    def interaction(self, metric: str = "logit_diff") -> np.ndarray:
        """change(pair) - change(a) - change(b), [head, head]; NaN on the diagonal."""
        change = self.change(metric)
        alone = np.diag(change)
        apart = change - alone[:, None] - alone
        np.fill_diagonal(apart, np.nan)
        return np.asarray(apart)

    def to_frame(self) -> pd.DataFrame:
        """One row a pair: layer and head of both; of every metric what each and both change, and their interaction."""
        first, second = np.triu_indices(len(self.heads), 1)
        of = np.array(self.heads).reshape(-1, 2)
        columns: dict[str, Any] = {
            "layer": of[first, 0], "head": of[first, 1], "layer_2": of[second, 0], "head_2": of[second, 1],
        }  # fmt: skip
        for metric in METRICS:
            change, apart = self.change(metric), self.interaction(metric)
            alone = np.diag(change)
            columns |= {
                f"{metric}_first": alone[first], f"{metric}_second": alone[second], f"{metric}_both": change[first, second],
                f"{metric}_interaction": apart[first, second],
            }  # fmt: skip
        return pd.DataFrame(columns)


@dataclass(frozen=True, kw_only=True)
class PairsRequest(SweepRequest[Pairs]):
    """`patch_pairs` as a value."""

    analysis: ClassVar[str] = "pairs"
    function: ClassVar[str] = "patch_pairs"

    heads: tuple[Head, ...] | None = None
    """None: the strongest of a sweep"""
    strongest: int = 10

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Pairs:
        """All pairs, after the sweep of single heads where none are given."""
        if on_progress is None:
            return _paired(self, model)
        return _paired(self, model, lambda done, total: on_progress(f"{done} of {total} patched runs", done / max(1, total)))

    def singles(self) -> PatchRequest:
        """The sweep of single heads that the strongest are taken from."""
        return PatchRequest(**{field.name: getattr(self, field.name) for field in fields(SweepRequest)})

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory, and time from the speed of the machine's own products."""
        if self.heads is not None:
            return _Paired(self, model).estimate()
        swept_first = self.singles().estimate(model)
        plan = model.plan()
        n_heads = plan.n_kv_heads if self.site in ("k", "v") else plan.n_heads
        some = tuple((i % plan.n_layers, i // plan.n_layers) for i in range(min(self.strongest, n_heads * plan.n_layers)))
        pairs = _Paired(replace(self, heads=some), model).estimate()
        seconds = None if pairs.seconds is None or swept_first.seconds is None else pairs.seconds + swept_first.seconds
        return replace(swept_first, n_sources=swept_first.n_sources + pairs.n_sources, seconds=seconds)


def patch_pairs(
    model: "infoflow.models.model.Model",
    clean: str | Sequence[int],
    corrupted: Any = None,
    site: str = "z",
    metric: str = "logit_diff",
    target: int | str | None = None,
    against: int | str | None = None,
    strongest: int = 10,
    heads: Sequence[Any] | None = None,
    positions: Any = None,
    direction: str = Direction.DENOISING,
    layers: Sequence[int] | None = None,
    averaged: Any = None,
    frozen: Any = None,
    position: int = -1,
    align: str = Align.NONE,
    draws: int = 1,
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Patch every pair of the `strongest` heads together, beside each alone: interaction = change(pair) - change(a) - change(b).

    `heads`: pairs of (layer, head), in the place of a sweep that finds those that change the lead most. All else is as in
    `patch`. Read off by `.effect(metric)`, `.change(metric)` and `.interaction(metric)`, [head, head] in the order of `.heads`.

    Raises:
        BadPrompt: fewer than two heads or too many, one that is none or not there, a site where heads are not apart, and what
            `patch` raises.
        TooLarge: a run that does not fit in memory, or takes more than INFOFLOW_MAX_MINUTES.
    """
    known_metric(metric)
    request = PairsRequest(
        model=model.spec, prompt=as_prompt(clean), corrupted=corruption(corrupted), target=target, against=against, site=site,
        heads=None if heads is None else tuple(map(_head, heads)), strongest=strongest,
        positions=as_places(positions), layers=None if layers is None else tuple(layers), averaged=as_places(averaged),
        frozen=as_places(frozen), direction=chosen(Direction, direction, "direction"), position=position,
        align=chosen(Align, align, "end"), draws=draws, interventions=as_interventions(interventions),
    )  # fmt: skip
    return _paired(request, model, on_progress)


def _head(given: Any) -> Head:
    try:
        layer, head = map(index, given)
    except (TypeError, ValueError):
        raise BadPrompt(f"A head is (layer, head), two whole numbers counted from 0, and {given!r} is not.") from None
    return layer, head


class _Paired(Sweep):
    """Each head alone, and each pair."""

    request: PairsRequest

    def __init__(self, request: PairsRequest, model: "infoflow.models.model.Model", seed: int = 0) -> None:
        super().__init__(request, model, seed)
        _refuse(request)
        heads = request.heads or ()
        for layer, head in heads:
            if not (0 <= layer < model.n_layers and 0 <= head < self.n_heads):
                raise BadPrompt(
                    f"There is no head {layer}.{head} at '{request.site}': the model has {model.n_layers} layers of "
                    f"{self.n_heads} there, counted from 0."
                )
        self.couples = [(a, b) for a in range(len(heads)) for b in range(a, len(heads))]
        live = any(self.reach)
        self.runs: list[Run | None] = [
            (self.row([heads[a], heads[b]] if a != b else [heads[a]], None),) if live else None for a, b in self.couples
        ]

    def square(self, found: Outcomes) -> Outcomes:
        """Outcomes of each couple as [head, head]."""
        n = len(self.request.heads or ())
        number = np.zeros((n, n), int)
        for k, (a, b) in enumerate(self.couples):
            number[a, b] = number[b, a] = k
        return found.at(number)


def _refuse(request: PairsRequest) -> None:
    if request.site not in OF_HEADS:
        raise BadPrompt(f"At '{request.site}' all heads are summed. Choose z, q, k, v or pattern to tell heads apart.")
    n = request.strongest if request.heads is None else len(set(request.heads))
    if not 2 <= n <= MOST:
        raise BadPrompt(f"Pairs are of 2 to {MOST} heads, and these are {n}.")
    if request.heads is not None and n < len(request.heads):
        raise BadPrompt("A head is named twice. Name each once.")


def _paired(
    request: PairsRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Pairs:
    _refuse(request)
    of_sweep = request.heads is None
    if of_sweep:
        single = request.singles().run(model, None if on_progress is None else lambda *_: on_progress(0, 1))
        best = single.strongest(request.strongest)
        asked = single.provenance.request
        assert isinstance(asked, PatchRequest)
        settled = {field.name: getattr(asked, field.name) for field in fields(SweepRequest)}
        request = replace(request, **settled, heads=tuple((single.layers[i], single.heads[h]) for i, h, _ in best))
    found = swept(_Paired, request, model, on_progress)
    assert isinstance(found.sweep, _Paired)
    return Pairs(**found.fields(), heads=request.heads or (), swept=of_sweep, runs=found.sweep.square(found.runs))
