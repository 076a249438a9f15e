"""Does a source's contribution keep its direction through the layers, or is it worked over into something else?

The split of `flow.py` at one position: C[row, s] of every source after each layer's attention and MLP. Of each source the inner
products of all rows with each other are kept: their cosines tell whether what it contributes points the same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses import flow_cost
from infoflow.analyses.cost import Estimate
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer, check_position
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.text.rows import rows_of
from infoflow.text.tokens import BIAS, Labels, named, sources_of

if TYPE_CHECKING:
    import infoflow.models.model


@dataclass(frozen=True, kw_only=True)
class Stability(OfPrompt):
    """How each source's contribution at one position points, row by row."""

    position: int
    source_labels: tuple[str, ...]
    """of the sources that reach the position; after those of tokens what interventions put in, then 'bias'"""
    source_of: Int[np.ndarray, " position"]
    """the source that each token belongs to; those of later tokens do not reach the position"""
    rows: tuple[str, ...]
    """embed, L0.mid (after attention), L0.post (after the MLP), ..."""
    dots: Float[np.ndarray, "source row row"]
    """<C[row], C[row']> of a source's contributions"""
    error: Float[np.ndarray, " row"]
    """|sum_s C[row, s] - x| / |x|"""
    provenance: Provenance

    @property
    def max_error(self) -> float:
        return float(self.error.max())

    @property
    def norms(self) -> Float[np.ndarray, "source row"]:
        """|C[row, s]|."""
        return np.asarray(np.sqrt(np.maximum(np.diagonal(self.dots, axis1=1, axis2=2), 0.0)), dtype=np.float32)

    @property
    def cosine(self) -> Float[np.ndarray, "source row row"]:
        """cos(C[row, s], C[row', s]); 0 where a source is not there yet."""
        lengths = self.norms[:, :, None] * self.norms[:, None, :]
        return np.asarray(np.divide(self.dots, lengths, out=np.zeros_like(self.dots), where=lengths > 0), dtype=np.float32)

    def to_frame(self) -> pd.DataFrame:
        """One row per source and two rows of the stream, the first not after the second: source, row, other_row, cosine, norm
        (of the first), other_norm."""
        source, first, second = np.nonzero(np.broadcast_to(np.triu(np.ones(self.dots.shape[1:], dtype=bool)), self.dots.shape))
        names, rows = np.array(self.source_labels, dtype=object), np.array(self.rows, dtype=object)
        return pd.DataFrame({
            "source": names[source], "row": rows[first], "other_row": rows[second], "cosine": self.cosine[source, first, second],
            "norm": self.norms[source, first], "other_norm": self.norms[source, second],
        })  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StabilityRequest(Request[Stability]):
    """`stability` as a value."""

    analysis: ClassVar[str] = "stability"
    function: ClassVar[str] = "stability"

    prompt: str | tuple[int, ...]
    position: int = -1
    sources: str | tuple[str, ...] = "tokens"

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Stability:
        """The directions."""
        return _followed(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory and time of the split."""
        tokens = model.encode(self.prompt)
        return flow_cost.estimate(model, len(tokens), len(sources_of(tokens, self.sources)[0]))

    def exactly(self, model: "infoflow.models.model.Model") -> "StabilityRequest":
        """Its position counted from the first token."""
        n = len(model.encode(self.prompt))
        check_position(self.position, n)
        return replace(self, model=model.spec, position=self.position % n)


def stability(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    position: int = -1,
    sources: Labels = "tokens",
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Stability:
    """The cosines between each source's contributions at a position after different layers: cos(C[row, s], C[row', s]).

    `sources` is what `decompose` takes. `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: an empty prompt, a position that is not there, unequal or unknown grouping.
        TooLarge: more sources than INFOFLOW_MAX_TOKENS, or more memory than there is; with both numbers.
    """
    request = StabilityRequest(
        model=model.spec, prompt=as_prompt(prompt), position=position, interventions=as_interventions(interventions),
        sources=sources if isinstance(sources, str) else tuple(sources),
    )  # fmt: skip
    return _followed(request, model, on_progress)


def _followed(
    asked: StabilityRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Stability:
    from infoflow.traced.stability import followed

    request = asked.exactly(model)
    tokens = model.encode(request.prompt)
    names, source_of = sources_of(tokens, request.sources)
    flow_cost.refuse(model, len(tokens), len(names))
    plan = changed_plan(model, request.interventions, tokens)
    ids = tuple(t.id for t in tokens)
    raw = model.run(ids, followed, plan, source_of, request.position, on_progress)
    more = [*plan.given, *([BIAS] if plan.biased else [])]
    reach = max(source_of[: request.position + 1]) + 1
    return Stability(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        position=request.position,
        source_labels=(*names[:reach], *more),
        source_of=np.array(source_of),
        rows=rows_of(model.n_layers),
        dots=np.ascontiguousarray(np.roll(raw["dots"].numpy(), -len(more), axis=0)),
        error=raw["off"].numpy(),
        provenance=Provenance.of(model, request, raw["dtype"], sources=named(request.sources), ids=ids),
    )
