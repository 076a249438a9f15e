"""Where does each head look, and what does it fetch from there? Patterns of every head, as the model computed them.

Beside the pattern A[l, h, i, j] stand the length of the value it weighs, |v_j|, and of what that value writes into the stream,
|W_O^h v_j|: a head can look hard at a token (a sink) and fetch next to nothing. Where a norm or a multiplier stands between
attention and the stream, lengths are of what comes through it, the norm's scale fixed; that scale is of the position which looks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses.cost import FLOAT, Estimate
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer
from infoflow.analyses.result import OfPrompt, Prediction, of_tokens
from infoflow.errors import BadPrompt, chosen
from infoflow.interventions import check_seed
from infoflow.metrics import heads
from infoflow.models import memory
from infoflow.text.tokens import groups_of

if TYPE_CHECKING:
    import infoflow.models.model


class Weighting(StrEnum):
    """What a weight of the map is."""

    PATTERN = "pattern"
    VALUE = "value-weighted"
    CONTRIBUTION = "contribution"


@dataclass(frozen=True, kw_only=True)
class Attention(OfPrompt):
    """Patterns of every head on one prompt. Rows are destinations (queries), columns sources (keys)."""

    prompt_ids: tuple[int, ...]
    word_labels: tuple[str, ...]
    """the word each token belongs to, unique"""
    pattern: Float[np.ndarray, "layer head dest src"]
    """rows sum to 1, but in families with a sink in the softmax: `missing`"""
    value_norm: Float[np.ndarray, "layer head src"]
    """|v_j|, in units of the head"""
    write_norm: Float[np.ndarray, "layer head src"]
    """|W_O^h v_j|, in units of the residual stream: what position j adds to itself for a weight of 1, through a norm or a
    multiplier after attention where there is one"""
    write_scale: Float[np.ndarray, "layer dest"]
    """of the norm after attention at each position; 1 where there is none"""
    scores: heads.HeadScores
    """of this prompt"""
    next_token: Prediction
    """the model's likeliest"""
    head_logits: Float[np.ndarray, "layer head"]
    """what each head of the last position adds to that token's logit directly, <W_O^h z, direction> through the frozen final
    norm, before a soft cap: `Attribution.by_head`; what later layers make of it is not counted"""
    provenance: Provenance

    @property
    def missing(self) -> Float[np.ndarray, "layer head dest"]:
        """What each row lacks of 1: the share of a sink that is no token."""
        return 1 - self.pattern.sum(-1)

    @property
    def writes(self) -> Float[np.ndarray, "layer head dest src"]:
        """What a weight of 1 on each source writes at each destination, |W_O^h v_j| through the destination's own norm."""
        if (self.write_scale == 1).all():  # no norm: the same wherever it is written
            return np.broadcast_to(self.write_norm[:, :, None], self.pattern.shape)
        scale = self.write_scale.astype(np.float64)
        relative = np.divide(
            scale[:, :, None], scale[:, None], out=np.ones((*scale.shape, scale.shape[1])), where=scale[:, None] > 0
        )
        return (self.write_norm[:, :, None] * relative[:, None]).astype(np.float32)

    def weighted(self, weighting: str = Weighting.PATTERN) -> Float[np.ndarray, "layer head dest src"]:
        """A, or A |v_j| ("value-weighted"), or A |W_O^h v_j| as it reaches the stream ("contribution").

        Raises:
            BadPrompt: another word.
        """
        by = chosen(Weighting, weighting, "weighting")
        if by == Weighting.PATTERN:
            return self.pattern
        return self.pattern * (self.value_norm[:, :, None] if by == Weighting.VALUE else self.writes)

    def to_frame(self) -> pd.DataFrame:
        """One row per layer, head, destination and source at or before it: layer, head, dest, src, dest_token, src_token, weight,
        value_norm, write_norm (at that destination)."""
        n_layers, n_heads, n, _ = self.pattern.shape
        dest, src = np.tril_indices(n)
        layer, head = (a.ravel() for a in np.indices((n_layers, n_heads)))
        layer, head = np.repeat(layer, len(dest)), np.repeat(head, len(dest))
        dest, src = np.tile(dest, n_layers * n_heads), np.tile(src, n_layers * n_heads)
        names = np.array(self.position_labels, dtype=object)
        return pd.DataFrame({
            "layer": layer, "head": head, "dest": dest, "src": src, "dest_token": names[dest], "src_token": names[src],
            "weight": self.pattern[layer, head, dest, src], "value_norm": self.value_norm[layer, head, src],
            "write_norm": self.writes[layer, head, dest, src],
        })  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AttentionRequest(Request[Attention]):
    """`attention` as a value."""

    analysis: ClassVar[str] = "attention"
    function: ClassVar[str] = "attention"

    prompt: str | tuple[int, ...]

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Attention:
        """The patterns."""
        return _attended(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=n, bytes=needed_bytes(model, n))


@dataclass(frozen=True, kw_only=True)
class CalibrationRequest(Request[heads.HeadScores]):
    """`calibrate` as a value; its prompts are drawn."""

    analysis: ClassVar[str] = "calibration"
    function: ClassVar[str] = "calibrate"

    prompt: str = ""
    length: int = 20
    samples: int = 4
    seed: int = 0

    def arguments(self) -> dict[str, Any]:
        """No prompt, and nothing is changed."""
        return {name: value for name, value in super().arguments().items() if name not in ("prompt", "interventions")}

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> heads.HeadScores:
        """The scores."""
        return _calibrated(self, model, by_layer(on_progress, "Random tokens,"))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory of one sample."""
        n = 2 * self.length + 1
        return Estimate(n_tokens=n, n_sources=n, bytes=needed_bytes(model, n))


def needed_bytes(model: "infoflow.models.model.Model", n_tokens: int) -> int:
    """Memory of `attention` beyond the weights: the patterns of all heads, L H T^2 numbers, twice where they come packed."""
    s = model.sizes()
    kept = s.layers * s.heads * n_tokens**2
    return FLOAT * (kept * (2 if model.hosted else 1) + 5 * s.heads * n_tokens**2 + n_tokens * s.vocabulary)


def attention(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Attention:
    """The attention pattern of every head, with the lengths of values and of what they write.

    `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: an empty prompt.
        TooLarge: patterns that do not fit in memory.
        RemoteRunError: a service whose attention gives no patterns; never zeros instead.
    """
    request = AttentionRequest(model=model.spec, prompt=as_prompt(prompt), interventions=as_interventions(interventions))
    return _attended(request, model, on_progress)


def _attended(
    request: AttentionRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Attention:
    import torch

    from infoflow.traced.attention import patterns

    tokens = model.encode(request.prompt)
    n, ids = len(tokens), tuple(t.id for t in tokens)
    allowed = model.memory_limit()
    if model.connection is not None:
        allowed = min(allowed, 4 * model.connection.limit)  # half of each pattern travels, once
    memory.refuse(needed_bytes(model, n), allowed, f"The patterns of {n} tokens need", "Shorten the prompt")
    plan = changed_plan(model, request.interventions, tokens)
    raw = model.run(ids, patterns, plan, n, on_progress)
    pattern = raw["pattern"]
    if plan.hosted:
        queries, keys = torch.tril_indices(n, n)
        whole = pattern.new_zeros(*pattern.shape[:2], n, n)
        whole[:, :, queries, keys] = pattern
        pattern = whole
    return Attention(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        prompt_ids=ids,
        word_labels=groups_of("words", tokens),
        pattern=pattern.numpy(),
        value_norm=raw["value_norm"].numpy(),
        write_norm=raw["write_norm"].numpy(),
        write_scale=raw["write_scale"].numpy(),
        scores=heads.score(pattern.numpy(), ids),
        next_token=Prediction(model.name_of(raw["top"]), raw["top"], raw["top_probability"], raw["top_logit"]),
        head_logits=raw["head_logits"].numpy(),
        provenance=Provenance.of(model, request, raw["dtype"], ids=ids),
    )


def calibrate(
    model: "infoflow.models.model.Model",
    length: int = 20,
    samples: int = 4,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> heads.HeadScores:
    """Head scores on random tokens said twice, the mean over `samples` sequences of 2 x `length` tokens after the prompt's
    usual first token.

    Nothing but the repetition tells what comes next, so that a head which scores here does so by what it is and not by what
    a prompt happens to hold. Source: Olsson et al. (2022).

    Raises:
        BadPrompt: fewer than two tokens or no sample.
        TooLarge: patterns that do not fit in memory.
    """
    request = CalibrationRequest(model=model.spec, length=length, samples=samples, seed=seed)
    return _calibrated(request, model, on_progress)


def _calibrated(
    request: CalibrationRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> heads.HeadScores:
    length, samples = request.length, request.samples
    if length < 2 or samples < 1:
        raise BadPrompt("Calibration needs at least two tokens and one sample.")
    check_seed(request.seed)
    vocabulary = model.sizes().vocabulary
    draw = np.random.default_rng(request.seed)
    first = [t.id for t in model.encode("a")][:1] if len(model.encode("a")) > 1 else []
    usual = [i for i in range(vocabulary) if i not in first]
    found = []
    for sample in range(samples):
        once = draw.choice(usual, size=length, replace=len(usual) < length).tolist()
        found.append(attention(model, [*first, *once, *once]).scores)
        if on_progress is not None:
            on_progress(sample + 1, samples)
    previous, duplicate, induction = (sum(f.eligible[kind] for f in found) for kind in range(3))
    mean = np.stack([f.scores for f in found]).mean(0)
    return replace(found[0], scores=mean, eligible=(previous, duplicate, induction), basis="random tokens said twice")
