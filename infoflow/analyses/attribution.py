"""Which tokens, heads and MLPs raise a logit? Contributions that sum to it, by one backward pass.

1. One run of the model gives patterns, gates and norm scales (`frozen.py`); with them fixed the logit is a linear function
   of the embeddings.
2. Forward again through the linear maps, from the embeddings; backward once from the logit (or the difference of two):
   the contribution of source token s is e_s . d logit / d e_s. It equals the forward decomposition of `flow.py`, but
   memory grows with layers x tokens x width, so long prompts fit.
3. Direct logit attribution: with the final norm frozen, each head, each MLP, the embedding and the biases write a vector
   into the stream whose product with the target's direction is its direct contribution; these sum to the logit as well.
   Published tools leave the final norm out (`direct="without norm"`: z W_O . W_U[t]); that form sums to x . W_U[t] instead.

A logit means little by itself, since adding a constant to all of them changes nothing: give one to hold it against
(`against`), or take the logit over the mean of the vocabulary's (`centred=True`).

Logits are those that the model's probabilities show: a scale of the family is in them. A soft cap is not linear, so that what
is split is the logit before it (`total`; `model_total` after it). There a constant added to all logits does change something,
and taking the mean off, which comes before the cap as well, is a choice.

Source: the frozen-linear view of Elhage et al. (2021); direct logit attribution as in Wang et al. (2022), with the final
norm's gain and scale folded in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses import contrast as contrasts
from infoflow.analyses.cost import FLOAT, Estimate, refuse_here
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer, check_position
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import chosen
from infoflow.text.amounts import before_cap
from infoflow.text.tokens import BIAS, PUT_IN

if TYPE_CHECKING:
    import infoflow.models.model


class Direct(StrEnum):
    """Forms of direct attribution."""

    FOLDED = "folded"
    """through the frozen final norm"""
    WITHOUT_NORM = "without norm"
    """as published tools have it"""


@dataclass(frozen=True, kw_only=True)
class Attribution(OfPrompt):
    """A logit (or the difference of two) at one position, split twice: by source token, and by what wrote it. In logits."""

    target: int
    against: int | None
    position: int
    by_source: Float[np.ndarray, " source"]
    """one per token; with `bias` and `put_in` they sum to `total`"""
    bias: float
    """what the weights' biases contribute along all paths"""
    put_in: float
    """what interventions put in contributes along all paths; 0 where none does"""
    by_head: Float[np.ndarray, "layer head"]
    """direct: <W_O^h z, direction>, through the frozen final norm"""
    by_mlp: Float[np.ndarray, " layer"]
    embedding: float
    """direct contribution of the position's own embedding"""
    direct_bias: float
    """direct contribution of the biases of attention's output, of norms after a branch, of the final norm and unembedding"""
    direct_put_in: float
    """direct contribution of what interventions put into the residual, or in the place of what attention writes"""
    total: float
    """the logit, or the difference: the model's own, and before its soft cap where it has one"""
    model_total: float
    """the same of the logits that the model's probabilities are of, after a soft cap"""
    softcap: float
    """the family's soft cap; 0 where it has none"""
    direct: str
    """"folded" or "without norm": whether by_head, by_mlp, embedding, direct_bias and direct_put_in go through the final norm"""
    direct_total: float
    """what those five sum to: `total` where the norm is folded in, else <x, W_U[t]> times the family's scale"""
    centred: bool
    """whether the mean logit of the vocabulary is taken off"""
    specific: Float[np.ndarray, " source"] | None
    """what each token says beyond what stands there in the contrast, along the same paths; None without a contrast"""
    contrast: str | tuple[str, ...] | tuple[int, ...] | None
    """what it is held against"""
    contrast_total: float | None
    """the logit (or difference) that the model itself gives on the contrast, in the mean over its prompts"""
    max_error: float
    """largest of |sum of each split - its total|, and of |logit, scaled and capped - the model's own| over the vocabulary;
    relative to the larger of |total| and 1"""
    provenance: Provenance

    @property
    def note(self) -> str:
        """What is to be said of a family that caps its logits; '' of any other."""
        if not self.softcap:
            return ""
        centred = " The mean is taken off before the cap, where that does not leave probabilities as they are." * self.centred
        return f"{before_cap(self.total, self.model_total)}{centred}"

    @property
    def of_no_token(self) -> dict[str, float]:
        """What is no token's, by name: of the weights' biases and of what interventions put in, where there is some."""
        return {name: value for name, value in ((PUT_IN, self.put_in), (BIAS, self.bias)) if value}

    @property
    def hindsight(self) -> Float[np.ndarray, " source"] | None:
        """What the contrast's token would have said here too: `by_source` less `specific`."""
        return None if self.specific is None else self.by_source - self.specific

    @property
    def by_layer(self) -> Float[np.ndarray, " layer"]:
        """Direct contribution of each layer, its heads and its MLP together."""
        return self.by_head.sum(1) + self.by_mlp

    def to_frame(self) -> pd.DataFrame:
        """One row per token: position, token, logit, with a contrast specific and hindsight; last, at position -1, what
        interventions put in, where they do, and the bias."""
        more = {**({PUT_IN: self.put_in} if self.put_in else {}), BIAS: self.bias}
        positions = [*range(len(self.by_source)), *[-1] * len(more)]
        frame = pd.DataFrame({
            "position": positions, "token": [*self.position_labels, *more], "logit": [*self.by_source.tolist(), *more.values()],
        })  # fmt: skip
        if self.specific is not None:
            frame["specific"] = [*self.specific.tolist(), *[0.0] * len(more)]
            frame["hindsight"] = frame["logit"] - frame["specific"]
        return frame

    def direct_frame(self) -> pd.DataFrame:
        """One row per writer: kind (embedding, head, MLP, bias, intervention), layer, head, logit; -1 where there is none."""
        return direct_table(self)


def direct_table(found: Any) -> pd.DataFrame:
    """Direct contributions, one row per writer: kind, layer, head, logit."""
    layer, head = np.indices(found.by_head.shape).reshape(2, -1)
    return pd.concat([
        pd.DataFrame({"kind": "embedding", "layer": [-1], "head": -1, "logit": [found.embedding]}),
        pd.DataFrame({"kind": "head", "layer": layer, "head": head, "logit": found.by_head.ravel()}),
        pd.DataFrame({"kind": "MLP", "layer": range(len(found.by_mlp)), "head": -1, "logit": found.by_mlp}),
        pd.DataFrame({"kind": "bias", "layer": [-1], "head": -1, "logit": [found.direct_bias]}),
        pd.DataFrame({"kind": "intervention", "layer": [-1], "head": -1, "logit": [found.direct_put_in]}),
    ][: 5 if found.direct_put_in else 4], ignore_index=True)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AttributionRequest(Request[Attribution]):
    """`attribute` as a value."""

    analysis: ClassVar[str] = "attribution"
    function: ClassVar[str] = "attribute"

    prompt: str | tuple[int, ...]
    target: int | str
    against: int | str | None = None
    position: int = -1
    centred: bool = False
    direct: Direct = Direct.FOLDED
    contrast: str | tuple[str, ...] | tuple[int, ...] | None = None
    """what it is held against: another prompt of as many tokens, several, one as token ids, or "bank\""""

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Attribution:
        """The attribution."""
        return _attributed(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=n, bytes=needed_bytes(model, n))

    def exactly(self, model: "infoflow.models.model.Model") -> "AttributionRequest":
        """Typed targets may leave out their leading space."""
        against = None if self.against is None else model.token_id_near(self.against)
        return replace(self, model=model.spec, target=model.token_id_near(self.target), against=against)


def needed_bytes(model: "infoflow.models.model.Model", n_tokens: int) -> int:
    """Memory of `attribute` beyond the weights: a backward pass holds the patterns and hidden units of all layers,
    L (H T^2 + T (4 d_mlp + 2 d_model)) numbers."""
    s = model.sizes()
    floats = s.layers * (s.heads * n_tokens**2 + n_tokens * (4 * s.hidden + 2 * s.d_model)) + n_tokens * s.vocabulary
    return FLOAT * (floats + (s.mapped_parameters if s.half else 0))


def attribute(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    target: int | str,
    against: int | str | None = None,
    position: int = -1,
    interventions: Sequence[Any] = (),
    centred: bool = False,
    direct: str = Direct.FOLDED,
    contrast: str | Sequence[str] | Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Attribution:
    """Contribution of each source token to the logit of `target` at `position`, or to its lead over `against`.

    by_source[s] = e_s . d logit / d e_s with patterns, gates and norm scales frozen; and, apart from that, the direct
    contribution of every head, MLP, the embedding and the biases. `centred` takes the mean logit off, `direct` says whether
    the direct contributions go through the final norm ("folded") or not ("without norm", the published form).
    `contrast`: another prompt of as many tokens, several, or "bank" (neutral texts that ship), whose tokens take the place of the
    prompt's own for `specific` and `hindsight` (contrast.py).
    `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: empty prompt, a target that is no single token, a position outside the prompt, an unknown form, a contrast of
            another length.
        TooLarge: a prompt whose backward pass does not fit in memory.
    """
    request = AttributionRequest(
        model=model.spec, prompt=as_prompt(prompt), target=target, against=against, position=position,
        interventions=as_interventions(interventions), centred=centred, direct=chosen(Direct, direct, "direct attribution"),
        contrast=contrasts.as_contrast(contrast),
    )  # fmt: skip
    return _attributed(request, model, on_progress)


def _attributed(
    request: AttributionRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Attribution:
    from infoflow.traced.attribution import attribute_block

    tokens = model.encode(request.prompt)
    n, position = len(tokens), request.position
    check_position(position, n)
    ids = [model.token_id(t) for t in (request.target, request.against) if t is not None]
    refuse_here(model, needed_bytes(model, n), f"Attribution over {n} tokens needs", "Shorten the prompt")
    target, other = contrasts.Target(position % n, ids, request.centred), None
    if request.contrast is not None:
        other = contrasts.held_against(model, request.contrast, tokens, target, False, request.interventions)
    states = None if other is None else other.states[0]
    arguments = (n, position % n, ids, request.centred, request.direct == Direct.FOLDED, states, on_progress)
    plan = changed_plan(model, request.interventions, tokens)
    raw = model.run([t.id for t in tokens], attribute_block, plan, *arguments)
    sources = float(raw["by_source"].sum()) + raw["bias"] + raw["put_in"]
    writers = sum(raw[name] for name in ("embedding", "direct_bias", "direct_put_in"))
    writers += float(raw["by_head"].sum() + raw["by_mlp"].sum())
    off = float(np.max([abs(sources - raw["total"]), abs(writers - raw["direct_total"]), raw["off"]]))  # NaN stays one
    return Attribution(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        target=ids[0],
        against=ids[1] if len(ids) > 1 else None,
        position=position % n,
        by_source=raw["by_source"].numpy(),
        specific=None if other is None else raw["specific"].numpy(),
        contrast=request.contrast,
        contrast_total=None if other is None else other.total,
        bias=raw["bias"],
        put_in=raw["put_in"],
        by_head=raw["by_head"].numpy(),
        by_mlp=raw["by_mlp"].numpy(),
        embedding=raw["embedding"],
        direct_bias=raw["direct_bias"],
        direct_put_in=raw["direct_put_in"],
        total=raw["total"],
        model_total=raw["model_total"],
        softcap=plan.softcap,
        direct=request.direct,
        direct_total=raw["direct_total"],
        centred=request.centred,
        max_error=off / max(1.0, abs(raw["total"])),
        provenance=Provenance.of(
            model,
            replace(request, target=ids[0], against=ids[1] if len(ids) > 1 else None),
            raw["dtype"],
            ids=tuple(t.id for t in tokens),
        ),
    )
