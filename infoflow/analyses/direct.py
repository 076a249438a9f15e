"""What does each head and MLP write of a logit itself? Direct logit attribution alone, for who does not ask where it came from.

    head(l, h) = <W_O^h z[l, h, p], direction>       MLP(l) = <what it adds at p, direction>       embedding = <x_0[p], direction>

`direction` is the unembedding's row of the target (less that of what it is held against), through the final norm as it was on
this run ("folded") or as it is ("without norm"). Together with the biases they sum to the logit. One forward pass of the model,
of which one position is read: `attribute` gives the same numbers and the split by source, for a second pass and a backward one.

Source: Elhage et al. (2021), "A mathematical framework for transformer circuits"; Nostalgebraist (2020).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses import logit_lens
from infoflow.analyses.attribution import AttributionRequest, Direct, direct_table
from infoflow.analyses.cost import FLOAT, Estimate, refuse_here
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer, check_position
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import chosen

if TYPE_CHECKING:
    import infoflow.models.model


@dataclass(frozen=True, kw_only=True)
class DirectAttribution(OfPrompt):
    """A logit (or the difference of two) at one position, by what wrote it. In logits."""

    target: int
    against: int | None
    position: int
    by_head: Float[np.ndarray, "layer head"]
    by_mlp: Float[np.ndarray, " layer"]
    embedding: float
    direct_bias: float
    """of the biases of attention's output, of norms after a branch, of the final norm and unembedding"""
    direct_put_in: float
    """of what interventions put into the residual, or in the place of what attention writes; 0 where none does"""
    direct_total: float
    """what all of them sum to: `total` where the norm is folded in, else <x, W_U[t]> times the family's scale"""
    total: float
    """the logit, or the difference: the model's own, and before its soft cap where it has one"""
    model_total: float
    """the same of the logits that the model's probabilities are of, after a soft cap"""
    direct: str
    centred: bool
    max_error: float
    """as of an `Attribution`"""
    provenance: Provenance

    def to_frame(self) -> pd.DataFrame:
        """One row per writer: kind (embedding, head, MLP, bias, intervention), layer, head, logit; -1 where there is none."""
        return direct_table(self)

    def direct_frame(self) -> pd.DataFrame:
        """The same, as an `Attribution` calls it."""
        return self.to_frame()


@dataclass(frozen=True, kw_only=True)
class DirectRequest(Request[DirectAttribution]):
    """`direct` as a value."""

    analysis: ClassVar[str] = "direct"
    function: ClassVar[str] = "direct"

    prompt: str | tuple[int, ...]
    target: int | str
    against: int | str | None = None
    position: int = -1
    centred: bool = False
    direct: Direct = Direct.FOLDED

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> DirectAttribution:
        """What wrote it."""
        return _direct(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory: what a plain run takes whose one position is read; in half precision each layer's output map in float32 too."""
        n, s = len(model.encode(self.prompt)), model.sizes()
        maps = FLOAT * s.layers * s.heads * s.d_head * s.d_model if s.half else 0
        return Estimate(n_tokens=n, n_sources=1, bytes=logit_lens.needed_bytes(model, n, False, 1) + maps)

    def exactly(self, model: "infoflow.models.model.Model") -> "DirectRequest":
        """Typed targets may leave out their leading space."""
        against = None if self.against is None else model.token_id_near(self.against)
        return replace(self, model=model.spec, target=model.token_id_near(self.target), against=against)


def direct(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    target: int | str,
    against: int | str | None = None,
    position: int = -1,
    interventions: Sequence[Any] = (),
    centred: bool = False,
    direct: str = Direct.FOLDED,
    on_progress: Callable[[int, int], None] | None = None,
) -> DirectAttribution:
    """What each head, each MLP, the embedding and the biases write themselves of the logit of `target` at `position`, or of its
    lead over `against`: the direct contributions of `attribute`, in one forward pass. A changed run takes what `attribute` takes.

    `centred` takes the mean logit off, `direct` says whether the contributions go through the final norm ("folded") or not
    ("without norm", the published form). `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: empty prompt, a target that is no single token, a position outside the prompt, an unknown form.
        TooLarge: a prompt that does not fit in memory.
    """
    request = DirectRequest(
        model=model.spec, prompt=as_prompt(prompt), target=target, against=against, position=position,
        interventions=as_interventions(interventions), centred=centred, direct=chosen(Direct, direct, "direct attribution"),
    )  # fmt: skip
    return _direct(request, model, on_progress)


def _direct(
    request: DirectRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> DirectAttribution:
    from infoflow.traced.direct import direct_block

    tokens = model.encode(request.prompt)
    n, position = len(tokens), request.position
    check_position(position, n)
    ids = [model.token_id(t) for t in (request.target, request.against) if t is not None]
    found: dict[str, Any]
    if request.interventions:  # what is put in is a source of its own, which the whole split knows
        whole = AttributionRequest(**{**request.arguments(), "model": request.model})
        split = whole.run(model, None if on_progress is None else lambda _, share: on_progress(int(share * 100), 100))
        found = {name: getattr(split, name) for name in _SHARED}
        dtype, error = split.provenance.dtype, split.max_error
    else:
        refuse_here(model, request.estimate(model).bytes, f"Reading {n} tokens needs", "Shorten the prompt")
        arguments = (position % n, ids, request.centred, request.direct == Direct.FOLDED, on_progress)
        raw = model.run([t.id for t in tokens], direct_block, model.plan(), *arguments)
        found = {name: raw[name].numpy() if name in ("by_head", "by_mlp") else raw.get(name, 0.0) for name in _SHARED}
        summed = float(found["by_head"].sum() + found["by_mlp"].sum()) + found["embedding"] + found["direct_bias"]
        dtype = raw["dtype"]
        error = float(np.max([abs(summed - raw["direct_total"]), raw["off"]])) / max(1.0, abs(raw["total"]))
    against = ids[1] if len(ids) > 1 else None
    made = Provenance.of(model, replace(request, target=ids[0], against=against), dtype, ids=tuple(t.id for t in tokens))
    about: dict[str, Any] = of_tokens(tokens, model.notes(request.prompt, tokens))
    return DirectAttribution(
        **about, **found, target=ids[0], against=against, position=position % n, direct=request.direct, centred=request.centred,
        max_error=error, provenance=made,
    )  # fmt: skip


_SHARED = ("by_head", "by_mlp", "embedding", "direct_bias", "direct_put_in", "direct_total", "total", "model_total")
"""with an `Attribution`"""
