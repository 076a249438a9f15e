"""What did each block promote and suppress? The change of every token's probability from one row of the lens to the next.

1. One run of the model gives the residual of every row at one position, each read as in `logit_lens.py`.
2. p[row] - p[row before], the likeliest to rise and to fall, with their ranks before and after. Row by row, and not what the
   block's write alone would say: the norm's scale is that of the whole residual, before and after.

Source: Geva et al. (2022), "Transformer feed-forward layers build predictions by promoting concepts in the vocabulary space".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses import logit_lens
from infoflow.analyses.cost import Estimate, refuse_here
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.text.rows import rows_of

if TYPE_CHECKING:
    import infoflow.models.model

MOVED = 3
"""tokens whose probability a block raised most, and as many that it lowered most"""


@dataclass(frozen=True, kw_only=True)
class Promotions(OfPrompt):
    """What the block that leads to each row moved at one position; the first row, the embedding, has none before it."""

    position: int
    rows: tuple[str, ...]
    """embed, L0.mid (after attention), L0.post (after the MLP), ..."""
    token_ids: Int[np.ndarray, "row moved"]
    """those that rose most (first half, most first) and fell most (second half)"""
    gained: Float[np.ndarray, "row moved"]
    """probability after less probability before"""
    rank_before: Int[np.ndarray, "row moved"]
    """how many tokens were likelier; 0 is the likeliest"""
    rank_after: Int[np.ndarray, "row moved"]
    names: dict[int, str]
    """text of every token that occurs"""
    provenance: Provenance

    def to_frame(self) -> pd.DataFrame:
        """One row per row of the stream and moved token: row, predicted, predicted_id, gained, rank_before, rank_after."""
        row, _ = np.indices(self.token_ids.shape).reshape(2, -1)
        return pd.DataFrame({
            "row": np.array(self.rows, dtype=object)[row], "predicted": [self.names[i] for i in self.token_ids.ravel().tolist()],
            "predicted_id": self.token_ids.ravel(), "gained": self.gained.ravel(), "rank_before": self.rank_before.ravel(),
            "rank_after": self.rank_after.ravel(),
        })[row > 0].reset_index(drop=True)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PromotionsRequest(Request[Promotions]):
    """`promotions` as a value."""

    analysis: ClassVar[str] = "promotions"
    function: ClassVar[str] = "promotions"

    prompt: str | tuple[int, ...]
    position: int = -1
    mids: bool = True
    """rows after attention too: else attention and MLP of a layer are one block"""

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Promotions:
        """What was moved."""
        return _read(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=n, bytes=logit_lens.needed_bytes(model, n, self.mids, 1))

    def exactly(self, model: "infoflow.models.model.Model") -> "PromotionsRequest":
        """Its position counted from the first token."""
        (position,) = logit_lens.positions_of((self.position,), len(model.encode(self.prompt)))
        return replace(self, model=model.spec, position=position)


def promotions(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    position: int = -1,
    mids: bool = True,
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Promotions:
    """The tokens whose probability each block raised and lowered most at a position: softmax(W_U norm_f(x[row])) less that of the
    row before. A negative position counts from the end.

    Raises:
        BadPrompt: an empty prompt, a position that is not there.
        TooLarge: residuals that do not fit in memory.
    """
    request = PromotionsRequest(
        model=model.spec, prompt=as_prompt(prompt), position=position, mids=mids, interventions=as_interventions(interventions)
    )
    return _read(request, model, on_progress)


def _read(
    asked: PromotionsRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Promotions:
    from infoflow.traced.promotions import moved_at

    tokens = model.encode(asked.prompt)
    request = asked.exactly(model)
    need = logit_lens.needed_bytes(model, len(tokens), request.mids, 1)
    refuse_here(model, need, f"Reading {len(tokens)} tokens at every layer needs", "Shorten the prompt")
    most = min(MOVED, model.sizes().vocabulary)
    plan = changed_plan(model, request.interventions, tokens)
    raw = model.run([t.id for t in tokens], moved_at, plan, request.position, request.mids, most, on_progress)
    values: dict[str, Any] = {name: value.numpy() for name, value in raw.items() if name != "dtype"}
    return Promotions(
        **{**of_tokens(tokens, model.notes(asked.prompt, tokens)), **values},
        position=request.position,
        rows=rows_of(model.n_layers, request.mids),
        names={int(i): model.name_of(int(i)) for i in np.unique(values["token_ids"])},
        provenance=Provenance.of(model, request, raw["dtype"], ids=tuple(t.id for t in tokens)),
    )
