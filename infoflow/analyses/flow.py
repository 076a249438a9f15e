"""Which source tokens is each residual made of? The exact decomposition by source, kept as Gram matrices.

With the attention pattern, the MLP gate and the norm scales of one forward pass held fixed, the residual stream is
linear in the embeddings, so it splits into one vector per source token (MATH.md, sections 1 and 2):

1. Start: position p holds its own embedding, every other source nothing.
2. Attention: norm with the frozen scale, project to values, mix by the pattern, project out, add.
3. MLP: norm with the frozen scale, project up, multiply by the frozen gate, project down, add.
4. After each of the two: keep the inner products of the sources' vectors, and how far their sum is from the residual.
5. End: final norm with the frozen scale and unembedding of the last position's parts give each source's logits.

Only pairs (position, source) that causality allows are held, packed into rows; the vectors of one layer at a time.

Source of the frozen-pattern view: Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021); the
gate's rule is the identity rule of relevance propagation (Achtibat et al., "AttnLRP", 2024), and a choice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses import flow_cost
from infoflow.analyses.cost import Estimate, refuse_long
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, check_k
from infoflow.analyses.result import OfPrompt, Prediction, of_tokens
from infoflow.errors import BadPrompt
from infoflow.metrics import shares as metrics
from infoflow.text.rows import STAGES
from infoflow.text.tokens import BIAS, Labels, Token, check_labels, groups_of, named, not_bias, sources_of

if TYPE_CHECKING:
    import torch

    import infoflow.models.model

METHOD = 3
"""raised whenever the numbers of this file change, so that stored results are not mistaken for new ones"""


@dataclass(frozen=True)
class Said:
    """A token that a source alone would raise."""

    token: str
    id: int
    logit: float
    """over the mean of the vocabulary"""


@dataclass(frozen=True, kw_only=True)
class Flow(OfPrompt):
    """The residual stream of one prompt, split by source. Axis `stage` is (mid, post): after attention, after the MLP."""

    token_ids: tuple[int, ...]
    word_labels: tuple[str, ...]
    """the word each position belongs to, unique"""
    source_labels: tuple[str, ...]
    """unique; after those of tokens what interventions put in, then 'bias', where the model has biases"""
    source_of: Int[np.ndarray, " position"]
    """the source that each token belongs to"""
    gram: Float[np.ndarray, "layer stage position source source"]
    """G[s, s'] = <C_s, C_s'> of the contributions; zero for sources that come later"""
    embedding_norm: Float[np.ndarray, " position"]
    """|x| before the first layer, where each position is wholly its own token"""
    error: Float[np.ndarray, "layer stage position"]
    """|sum_s C_s - x| / |x| against the residual that the model itself computed"""
    top: tuple[Prediction, ...]
    """the model's own most likely next tokens"""
    targets: tuple[Prediction, ...]
    """the tokens of `source_logits`: those asked for, then those of `top`"""
    source_logits: Float[np.ndarray, "source target"]
    """contribution of each source at the last position to the logit of each target; sums to the logit, before a soft cap"""
    alone: tuple[tuple[Said, ...], ...] = ()
    """for each source the tokens that its part of the last residual raises most by itself, through the frozen final norm; () of
    a group of several sources, and of runs that were stored before this was kept. No prediction of the model's: a part alone is
    no state that it has ever been in, and paths know the answer."""
    logit_error: float
    """largest |summed contributions, capped as the model does - model's logit| over the vocabulary, over the largest |logit|"""
    top_agrees: bool
    """summed contributions put the same token first, and the same eight on top, as the model's logits"""
    pattern_row_error: float
    """how far rows of the attention pattern are from summing to 1, at worst"""
    provenance: Provenance

    @property
    def n_layers(self) -> int:
        return self.gram.shape[0]

    @property
    def max_error(self) -> float:
        """The worst reconstruction error of any layer, stage and position."""
        return float(self.error.max())

    def grouped(self, groups: Labels | None) -> "Flow":
        """The same run with sources merged (as vectors): "words", or one label per source; equal labels make a group.

        Groups keep the order of their first source. Sources that are no token's stay alone unless labels are given for them too.

        Raises:
            BadPrompt: an unknown grouping, or another number of labels than sources.
        """
        if groups is None or groups == "tokens":
            return self
        n = len(self.source_labels)
        more = self.source_labels[int(self.source_of.max()) + 1 :]
        if isinstance(groups, str):
            if groups != "words":
                raise BadPrompt(f"'{groups}' is no grouping. Use 'tokens', 'words', or a list with one label per source.")
            if n - len(more) != len(self.tokens):
                raise BadPrompt("This run's sources are groups already; run it with sources='tokens' to group by words.")
            groups = self.word_labels
        given = list(groups)
        if more and len(given) == n - len(more):
            given = [*not_bias(check_labels(given, n - len(more), "source")), *more]
        labels = check_labels(given, n, "source")
        names = tuple(dict.fromkeys(labels))
        member = np.array([names.index(name) for name in labels])
        one_hot = np.eye(len(names))[member]
        gram = np.einsum("sg,lkpst,th->lkpgh", one_hot, self.gram.astype(np.float64), one_hot, optimize=True)
        return replace(
            self,
            source_labels=names,
            source_of=member[self.source_of],
            gram=gram.astype(np.float32),
            source_logits=(one_hot.T @ self.source_logits).astype(np.float32),
            alone=self._alone_in(member, len(names)),
            provenance=replace(self.provenance, sources="groups"),
        )

    def _alone_in(self, member: np.ndarray, n_groups: int) -> tuple[tuple[Said, ...], ...]:
        """What a group says alone where it is one source."""
        if not self.alone:
            return ()
        of = [np.flatnonzero(member == group) for group in range(n_groups)]
        return tuple(self.alone[int(some[0])] if len(some) == 1 else () for some in of)

    def hidden_mask(self, hidden: Sequence[int | str]) -> np.ndarray:
        """Which sources to hide, from their numbers or labels.

        Raises:
            BadPrompt: an unknown source, or nothing left to show.
        """
        mask = np.zeros(len(self.source_labels), dtype=bool)
        for which in hidden:
            index = self.source_labels.index(which) if which in self.source_labels else which
            if isinstance(index, str) or not 0 <= int(index) < len(mask):
                raise BadPrompt(f"There is no source '{which}' to hide. The sources are: {', '.join(self.source_labels)}.")
            mask[int(index)] = True
        if mask.all():
            raise BadPrompt("Every source is hidden, so nothing is left to show. Show at least one.")
        return mask

    def shares(
        self, metric: str = "norm", stage: str = "post", groups: Labels | None = None, hidden: Sequence[int | str] = ()
    ) -> Float[np.ndarray, "layer position source"]:
        """Share of each source in each residual; sums to 1 over the sources shown.

        norm: |C_s| / sum |C_s'|; projection: <C_s, x> / |x|^2 (signed); distance: max(0, |x| - |x - C_s|), normalised.
        Hidden sources are taken out of the sum: their share is 0, and x is the rest.

        Raises:
            BadPrompt: unknown metric, stage, group or source.
        """
        flow = self.grouped(groups)
        if metric not in metrics.METRICS:
            raise BadPrompt(
                f"There is no metric '{metric}'. Use one of: {', '.join(metrics.METRICS)}; for logits see Flow.source_logits."
            )
        mask = flow.hidden_mask(hidden)
        return metrics.shares(metrics.without(flow.gram[:, _stage(stage)], mask), metric).astype(np.float32)

    def norms(self, stage: str = "post", groups: Labels | None = None) -> Float[np.ndarray, "layer position source"]:
        """|C_s|, the length of each source's contribution, in units of the residual stream."""
        return metrics.norms(self.grouped(groups).gram[:, _stage(stage)]).astype(np.float32)

    def cancellation(self, stage: str = "post", groups: Labels | None = None) -> Float[np.ndarray, "layer position"]:
        """κ = sum_s |C_s| / |x|: 1 when all parts agree; above 3, shares of norms say little about the whole."""
        return metrics.cancellation(self.grouped(groups).gram[:, _stage(stage)]).astype(np.float32)

    def residual_norm(self, stage: str = "post") -> Float[np.ndarray, "layer position"]:
        """|x|, the length of the summed contributions."""
        return metrics.total_norm(self.gram[:, _stage(stage)]).astype(np.float32)

    def hidden_share(self, hidden: Sequence[int | str], metric: str = "norm") -> Float[np.ndarray, "layer stage position"]:
        """How much of each residual the hidden sources are, by the metric with nothing hidden."""
        mask = self.hidden_mask(hidden)
        return metrics.shares(self.gram, metric)[..., mask].sum(-1).astype(np.float32)

    def logits(self, target: int, against: int | None = None) -> Float[np.ndarray, " source"]:
        """Contribution of each source to a target's logit at the last position, or to its lead over `against`.

        Raises:
            BadPrompt: a token that the run did not keep; name it in `targets`.
        """
        ids = [t.id for t in self.targets]
        for wanted in (target, against):
            if wanted is not None and wanted not in ids:
                raise BadPrompt(f"This run did not keep the logits of token {wanted}. Run again with targets=({wanted},).")
        of = self.source_logits[:, ids.index(target)]
        return of if against is None else of - self.source_logits[:, ids.index(against)]

    def to_frame(self, metric: str = "norm", groups: Labels | None = None, hidden: Sequence[int | str] = ()) -> pd.DataFrame:
        """Tidy table, one row per row of the grid, position and source that can reach it (the embedding row first).

        Columns: layer (-1 for the embedding), stage (embed, mid, post), position, token (its label), source,
        source_label, share (by `metric`), projection, norm.
        """
        flow = self.grouped(groups)
        mask = flow.hidden_mask(hidden)
        n_layers, _, n_pos, n_src = flow.gram.shape[:4]
        shown = ~mask[flow.source_of]
        blocks = [pd.DataFrame({
            "layer": -1, "stage": "embed", "position": np.arange(n_pos)[shown], "source": flow.source_of[shown],
            "share": 1.0, "projection": 1.0, "norm": flow.embedding_norm[shown],
        })]  # fmt: skip
        layer, position, source = np.meshgrid(range(n_layers), range(n_pos), range(n_src), indexing="ij")
        reachable = (flow.first_position()[source] <= position) & ~mask[source]
        for k, stage in enumerate(STAGES):
            seen = metrics.without(flow.gram[:, k], mask)
            values = {
                "share": metrics.shares(seen, metric),
                "projection": metrics.shares(seen, "projection"),
                "norm": metrics.norms(seen),
            }
            blocks.append(pd.DataFrame({
                "layer": layer[reachable], "stage": stage, "position": position[reachable], "source": source[reachable],
                **{name: value[reachable] for name, value in values.items()},
            }))  # fmt: skip
        frame = pd.concat(blocks, ignore_index=True)
        frame.insert(3, "token", np.array(self.labels, dtype=object)[frame.position])
        frame.insert(5, "source_label", np.array(flow.source_labels, dtype=object)[frame.source])
        return frame

    def first_is_one_of_many(self) -> bool:
        """Whether the first source is a single token beside others: what can be set aside as an attention sink."""
        return int((self.source_of == 0).sum()) == 1 and len(self.source_labels) > 1

    def first_position(self) -> np.ndarray:
        """The first position each source can reach; those that are no token's reach all."""
        first = np.zeros(len(self.source_labels), dtype=int)
        for position in range(len(self.tokens) - 1, -1, -1):
            first[self.source_of[position]] = position
        return first


def _stage(stage: str) -> int:
    if stage not in STAGES:
        raise BadPrompt(f"There is no stage '{stage}'. Use 'mid' (after attention) or 'post' (after the MLP).")
    return STAGES.index(stage)


@dataclass(frozen=True, kw_only=True)
class FlowRequest(Request["Flow"]):
    """`decompose` as a value."""

    analysis: ClassVar[str] = "flow"
    function: ClassVar[str] = "decompose"

    prompt: str | tuple[int, ...]
    sources: str | tuple[str, ...] = "tokens"
    """what is kept apart: a grouping by name, or one label per token"""
    targets: tuple[int | str, ...] = ()
    """tokens whose logits are split beside the likeliest"""
    top_k: int = 8

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Flow:
        """The decomposition."""
        if on_progress is None:
            return _decomposed(self, model)
        cost = self.estimate(model)
        tokens = len(model.encode(self.prompt))
        of = f"{tokens} tokens in {cost.n_sources - model.sizes().biased} sources, {cost}"
        return _decomposed(self, model, lambda done, total: on_progress(f"Layer {done} of {total} · {of}", done / total))

    def exactly(self, model: "infoflow.models.model.Model") -> "FlowRequest":
        """Typed targets may leave out their leading space."""
        return replace(self, model=model.spec, targets=tuple(map(model.token_id_near, self.targets)))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory and time."""
        tokens = model.encode(self.prompt)
        return flow_cost.estimate(model, len(tokens), len(sources_of(tokens, self.sources)[0]))

    def smaller(self, model: "infoflow.models.model.Model") -> list[tuple[str, Request["Flow"], Estimate]]:
        """The same prompt in fewer sources.

        Raises:
            TooLarge: it has more tokens than an app lets anyone ask, whatever its sources are.
        """
        tokens = model.encode(self.prompt)
        refuse_long(len(tokens))
        fitting = flow_cost.smaller_runs(model, tokens)
        return [(kind, replace(self, sources=kind), cost) for kind, cost in fitting]


def decompose(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    sources: Labels = "tokens",
    targets: Sequence[int | str] = (),
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
    top_k: int = 8,
) -> Flow:
    """Split every residual of one run into what each source contributed: x[l, p] = sum_s C[l, p, s].

    `sources` is "tokens", "words", "sentences", "32 spans" (or another number of equal spans), or one label per token:
    groups are formed before the run, and cost as many sources as there are groups. `targets` are token ids or texts
    whose logits are split too. `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: empty prompt, unequal or unknown grouping, a target that is no single token.
        TooLarge: more sources than INFOFLOW_MAX_TOKENS, or more memory than there is; with both numbers.
    """
    request = FlowRequest(
        model=model.spec, prompt=as_prompt(prompt), sources=sources if isinstance(sources, str) else tuple(sources),
        targets=tuple(targets), interventions=as_interventions(interventions), top_k=top_k,
    )  # fmt: skip
    return _decomposed(request, model, on_progress)


def _decomposed(
    request: FlowRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Flow:
    from infoflow.traced.flow import split

    check_k(request.top_k, "top_k")
    tokens = model.encode(request.prompt)
    names, source_of = sources_of(tokens, request.sources)
    flow_cost.refuse(model, len(tokens), len(names))
    wanted = [model.token_id(t) for t in request.targets]
    plan = changed_plan(model, request.interventions, tokens)
    raw = model.run([t.id for t in tokens], split, plan, source_of, wanted, request.top_k, on_progress)
    if plan.hosted:
        raw["gram"] = _unpacked(raw["gram"], source_of, len(plan.given) + plan.biased)
    more = [*plan.given, *([BIAS] if plan.biased else [])]
    return _assemble(request, model, tokens, names, np.array(source_of), more, raw)


def _unpacked(entries: "torch.Tensor", source_of: list[int], more: int) -> "torch.Tensor":
    """The Gram matrices from the entries that travelled."""
    from infoflow.traced.flow import packed_entries

    p, s, t = packed_entries(source_of, more)
    size = max(source_of) + 1 + more
    gram = entries.new_zeros(*entries.shape[:2], len(source_of), size, size)
    gram[:, :, p, s, t] = entries
    gram[:, :, p, t, s] = entries
    return gram


def _assemble(
    request: FlowRequest,
    model: "infoflow.models.model.Model",
    tokens: tuple[Token, ...],
    names: list[str],
    source_of: np.ndarray,
    more: list[str],
    raw: dict[str, Any],
) -> Flow:
    """The block's tensors as a result: sources that no token is (`more`) moved from the first to the last, ids given names."""
    gram, of_logit = raw["gram"].numpy(), raw["source_logits"].numpy()
    of_logit, names = np.roll(of_logit, -len(more), axis=0), [*names, *more]
    said = np.roll(raw["alone"].numpy(), -len(more), axis=0), np.roll(raw["alone_logits"].numpy(), -len(more), axis=0)
    alone = [
        tuple(Said(model.name_of(i), i, logit) for i, logit in zip(ids, logits, strict=True))
        for ids, logits in zip(said[0].tolist(), said[1].tolist(), strict=True)
    ]
    capped = model.plan().softcap > 0
    top = [_prediction(model, capped, *row) for row in raw["top"]]
    targets = [_prediction(model, capped, *row) for row in raw["targets"]]
    return Flow(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        token_ids=tuple(t.id for t in tokens),
        word_labels=groups_of("words", tokens),
        source_labels=tuple(names),
        source_of=source_of,
        gram=gram,
        embedding_norm=raw["embedding_norm"].numpy(),
        error=raw["error"].numpy(),
        top=tuple(top),
        targets=tuple(targets),
        source_logits=np.ascontiguousarray(of_logit),
        alone=tuple(alone),
        logit_error=raw["logit_error"],
        top_agrees=raw["top_agrees"],
        pattern_row_error=raw["row_error"],
        provenance=Provenance.of(
            model, request, raw["dtype"], sources=named(request.sources), method=METHOD, ids=tuple(t.id for t in tokens)
        ),
    )


def _prediction(
    model: "infoflow.models.model.Model", capped: bool, token_id: int, probability: float, logit: float, linear: float
) -> Prediction:
    return Prediction(model.name_of(token_id), token_id, probability, logit, linear if capped else None)
