"""Does what a source is said to contribute go when the source is taken away? Each source is removed in a run of its own.

1. The linear prediction, from one run: with patterns, gates and norm scales frozen, what each source adds to a logit, or to the
   lead of one over another (`attribution.py`); without it the logit would be so much less.
2. The effect: the model is run again without each source, and everything that follows from that is let follow:

       effect[s] = logit - logit without s

   A source is removed by cutting all attention to its tokens from the others (`block`), or by what stands in the place of its
   embeddings: their mean over the prompt (`mean`), those of a neutral text (`swap`), or nothing (`zero`; where positions are
   added to embeddings, theirs goes too).
3. Copies of the prompt run side by side, each without another source: one product with each weight for all of them. What
   stands before the first of the sources that are removed together is the same in all, and computed once.

The two differ where patterns, gates and norms would have changed: that is what freezing leaves out. They also differ in what is
asked, for a source may be spoken for by others when it is gone.

Source: attention knockout of Geva et al., "Dissecting Recall of Factual Associations" (2023), for `block`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses import attribution
from infoflow.analyses.cost import FLOAT, Estimate
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import chosen
from infoflow.text.neutral import NEUTRAL, neutral_ids
from infoflow.text.tokens import Labels, Token, named, sources_of

if TYPE_CHECKING:
    import torch

    import infoflow.models.model


class By(StrEnum):
    """How a source is removed."""

    BLOCK = "block"
    MEAN = "mean"
    SWAP = "swap"
    ZERO = "zero"


@dataclass(frozen=True, kw_only=True)
class Causal(OfPrompt):
    """What each source contributes to a logit (or to a lead), beside what goes when it is removed. In logits."""

    target: int
    against: int | None
    position: int
    by: str
    """how sources were removed"""
    source_labels: tuple[str, ...]
    source_of: Int[np.ndarray, " position"]
    """the source that each token belongs to"""
    linear: Float[np.ndarray, " source"]
    """what each contributes along frozen paths; before a soft cap, where the family has one"""
    effect: Float[np.ndarray, " source"]
    """the logit less what it is without the source; NaN where that can't be removed in this way: by "block" the one that is read
    itself, by "swap" one that stands there in the other text too"""
    total: float
    """the model's own logit, or lead, with every source"""
    max_error: float
    """of the linear split, as in `Attribution`"""
    provenance: Provenance

    @property
    def tested(self) -> np.ndarray:
        """Which sources could be removed."""
        return np.isfinite(self.effect)

    def pearson(self, first: bool = True) -> float:
        """Correlation of contribution and effect over the sources that could be removed; NaN of fewer than three. Without the
        `first` source, which is an attention sink in most models, where it is set aside."""
        return correlation(self.linear[self._counted(first)], self.effect[self._counted(first)])

    def spearman(self, first: bool = True) -> float:
        """The same of ranks."""
        return correlation(*(pd.Series(v[self._counted(first)]).rank().to_numpy() for v in (self.linear, self.effect)))

    @property
    def agreement(self) -> str:
        """Both in a sentence; without the first source."""
        pearson, spearman = self.pearson(first=False), self.spearman(first=False)
        if not np.isfinite(pearson):
            return "There are too few sources to correlate contributions with what removing them does."
        return (
            f"Over {int(self._counted(False).sum())} sources without the first, contributions correlate with what removing them "
            f"does by {pearson:.2f}; of their ranks {spearman:.2f}."
        )

    def _counted(self, first: bool) -> np.ndarray:
        return self.tested & (first | (np.arange(len(self.effect)) > 0))

    def to_frame(self) -> pd.DataFrame:
        """One row per source: source_label, linear, effect, gap (linear - effect)."""
        return pd.DataFrame({
            "source_label": self.source_labels, "linear": self.linear, "effect": self.effect, "gap": self.linear - self.effect,
        })  # fmt: skip


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; NaN of fewer than three values, or where all are the same."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one.astype(float), other.astype(float))[0, 1])


@dataclass(frozen=True, kw_only=True)
class CausalRequest(Request[Causal]):
    """`causal` as a value."""

    analysis: ClassVar[str] = "causal"
    function: ClassVar[str] = "causal"

    prompt: str | tuple[int, ...]
    target: int | str
    against: int | str | None = None
    by: By = By.BLOCK
    position: int = -1
    sources: str | tuple[str, ...] = "tokens"

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Causal:
        """The test."""
        if on_progress is None:
            return _tested(self, model)
        return _tested(self, model, lambda done, total: on_progress(f"{done} of {total} sources removed", done / total))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        tokens = model.encode(self.prompt)
        n = len(tokens)
        needed = max(attribution.needed_bytes(model, n), _copies(model, n) * _copy_bytes(model, n))
        return Estimate(n_tokens=n, n_sources=len(sources_of(tokens, self.sources)[0]), bytes=needed)

    def exactly(self, model: "infoflow.models.model.Model") -> "CausalRequest":
        """Typed targets may leave out their leading space."""
        against = None if self.against is None else model.token_id_near(self.against)
        return replace(self, model=model.spec, target=model.token_id_near(self.target), against=against)


def causal(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    target: int | str,
    against: int | str | None = None,
    by: str = By.BLOCK,
    position: int = -1,
    sources: Labels = "tokens",
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Causal:
    """What removing each source does to the logit of `target` at `position` (or to its lead over `against`), beside what the
    source contributes to it along frozen paths.

    `by`: "block" cuts attention to it, "mean", "swap" and "zero" change its embeddings. `sources` as in `decompose`.
    `on_progress(done, total)` is called as sources are removed, in batches; raising in it stops the run.

    Raises:
        BadPrompt: as `attribute`; an unknown way to remove, or sources of another number than tokens.
        TooLarge: a prompt whose backward pass does not fit in memory.
    """
    request = CausalRequest(
        model=model.spec, prompt=as_prompt(prompt), target=target, against=against, by=chosen(By, by, "way to remove a source"),
        position=position, sources=sources if isinstance(sources, str) else tuple(sources),
        interventions=as_interventions(interventions),
    )  # fmt: skip
    return _tested(request, model, on_progress)


def _tested(
    request: CausalRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Causal:
    from infoflow.traced.causal import values_without

    tokens = model.encode(request.prompt)
    names, source_of = sources_of(tokens, request.sources)
    n = len(tokens)
    split = attribution.attribute(
        model, [t.id for t in tokens], request.target, request.against, request.position, request.interventions
    )
    ids = [split.target, *([] if split.against is None else [split.against])]
    linear = np.zeros(len(names))
    np.add.at(linear, source_of, split.by_source)
    effect = np.full(len(names), np.nan)
    groups = [[p for p, s in enumerate(source_of) if s == number] for number in range(len(names))]
    other = _neutral(model, n) if request.by == By.SWAP else []
    same = [p for p, (token, instead) in enumerate(zip(tokens, other, strict=False)) if token.id == instead]
    removable = [number for number, where in enumerate(groups) if _can_go(where, split.position, request.by, same)]
    instead = None if request.by in (By.BLOCK, By.ZERO) else _instead(model, request, tokens, other)
    seen: dict[Any, Any] = {}
    done = 0
    for some in _batches(sorted(removable, key=lambda number: groups[number][0]), _copies(model, n)):
        plan = changed_plan(model, request.interventions, tokens, seen=seen)
        plan.keep = n - split.position
        if not model.hosted and not request.interventions:  # else the changes are of the whole prompt
            before = groups[some[0]][0]
            alike = bool(before) and len(model.alike([before, n])) == 1  # else its positions would be read otherwise
            plan.prefix = before if alike and before >= n // 4 else 0  # a short one is not worth a pass of its own
        _remove(plan, request.by, instead, [groups[number] for number in some])
        values = model.run([t.id for t in tokens], values_without, plan, ids)
        effect[some] = split.model_total - values.numpy()
        done += len(some)
        if on_progress is not None:
            on_progress(done, len(removable))
    return Causal(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        target=split.target,
        against=split.against,
        position=split.position,
        by=request.by,
        source_labels=tuple(names),
        source_of=np.array(source_of),
        linear=linear,
        effect=effect,
        total=split.model_total,
        max_error=split.max_error,
        provenance=Provenance.of(
            model,
            replace(request, target=split.target, against=split.against),
            split.provenance.dtype,
            sources=named(request.sources),
            ids=tuple(t.id for t in tokens),
        ),
    )


def _can_go(where: Sequence[int], position: int, by: str, same: Sequence[int]) -> bool:
    """Whether a source is there by a position, and can be removed: attention to it can't be cut where it reads itself, and a
    token that is the `same` in the other text is not another one."""
    return min(where) <= position and not (by == By.BLOCK and position in where) and not set(where) <= set(same)


def _batches(some: Sequence[int], at_once: int) -> Iterator[list[int]]:
    """As equal as can be; two at least, unless they get small: the later ones share what stands before them."""
    n = max(-(-len(some) // at_once), min(2, len(some) // 6))
    for part in np.array_split(np.array(some, dtype=int), n) if n else ():
        yield part.tolist()


def _copies(model: "infoflow.models.model.Model", n_tokens: int) -> int:
    """Copies of a prompt that run side by side."""
    return max(1, min(MOST, model.plan().product_bytes // _copy_bytes(model, n_tokens)))


MOST = 32
"""copies side by side at most: from some hundred rows on a product is no faster for more"""


def _copy_bytes(model: "infoflow.models.model.Model", n_tokens: int) -> int:
    """What one copy takes: a layer's hidden units, patterns and residuals, and the last position's logits."""
    s = model.sizes()
    return FLOAT * (n_tokens * (4 * s.hidden + 8 * s.d_model) + 3 * s.heads * n_tokens**2 + 2 * s.vocabulary)


def _remove(plan: SimpleNamespace, by: str, instead: "torch.Tensor | None", groups: Sequence[Sequence[int]]) -> None:
    """Make a plan of as many copies as there are groups of positions, each without one of them: nobody sees it, or its embeddings
    are others (`instead`, [position, d_model]), or nothing."""
    import torch

    n = plan.n
    plan.copies, plan.n = len(groups), n - plan.prefix
    places = torch.zeros(len(groups), n, 1)
    for copy, where in enumerate(groups):
        places[copy, list(where)] = 1.0
    if by == By.BLOCK:
        of = places[..., 0] > 0
        cut = (~of[:, :, None] & of[:, None, :]).tril()[:, None]  # nobody outside sees it; it sees itself
        for layer in range(plan.n_layers):
            here = plan.edits.setdefault(layer, {})
            here["block"] = cut | here["block"] if "block" in here else cut
        return
    one = {"factor": 1.0 - places[:, plan.prefix :]}
    if instead is not None:
        one["given"] = (places * instead)[:, plan.prefix :]
    plan.edits.setdefault(0, {}).setdefault("resid_pre", []).append(one)


def _instead(
    model: "infoflow.models.model.Model", request: CausalRequest, tokens: Sequence[Token], other: list[int]
) -> "torch.Tensor":
    """What stands in the place of embeddings, [position, d_model]: their mean over the prompt, or those of another text."""
    from infoflow.traced.interventions import states_at

    mean = request.by == By.MEAN
    plan = changed_plan(model, request.interventions if mean else (), tokens)
    state: torch.Tensor = model.run([t.id for t in tokens] if mean else other, states_at, plan, [(0, "resid_pre")])[0]
    return state.mean(0, keepdim=True) if mean else state


def _neutral(model: "infoflow.models.model.Model", n: int) -> list[int]:
    """The neutral text whose tokens stand in the place of others: as long as the prompt, always the same."""
    return neutral_ids(model.encode, Random(0).randrange(len(NEUTRAL)), n)
