"""What would the model say if it stopped here? Every residual read through the final norm and the unembedding.

1. One run of the model gives the residual of every row: the embeddings, and after each layer's attention and MLP.
2. Each is read as the model reads its last: W_U norm_f(x), the norm's scale computed anew for each row, then scaled and
   capped where the family does that. The last row is the model's own output; `max_error` says how exactly.

Early rows are not made to be read this way: `kl` (to the final distribution) and the agreement with the final answer say
how far a row can be taken for a prediction at all.

Source: nostalgebraist (2020), "interpreting GPT: the logit lens".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses.cost import FLOAT, Estimate, refuse_here
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt
from infoflow.models import memory
from infoflow.text.rows import rows_of
from infoflow.traced.logit_lens import read_off

if TYPE_CHECKING:
    import infoflow.models.model

ANSWERS = 4
"""of the final distribution, followed through every row"""
MOVED = 3
"""tokens whose probability a block raised most, and as many that it lowered most"""


@dataclass(frozen=True, kw_only=True)
class Lens(OfPrompt):
    """Predictions of every row of the residual stream. Logits are the model's own, after a scale or soft cap."""

    prompt_ids: tuple[int, ...]
    rows: tuple[str, ...]
    """embed, L0.mid (after attention), L0.post (after the MLP), ..."""
    token_ids: Int[np.ndarray, "row position k"]
    """the likeliest, in order"""
    logits: Float[np.ndarray, "row position k"]
    probs: Float[np.ndarray, "row position k"]
    entropy: Float[np.ndarray, "row position"]
    """in nats"""
    kl: Float[np.ndarray, "row position"]
    """KL(final || row) in nats: what is lost by taking the row's distribution for the final one"""
    targets: tuple[int, ...]
    """tokens that were asked for"""
    target_logits: Float[np.ndarray, "row position target"]
    target_probs: Float[np.ndarray, "row position target"]
    target_ranks: Int[np.ndarray, "row position target"]
    """how many tokens are likelier; 0 is the likeliest"""
    answers: Int[np.ndarray, "position answer"]
    """the likeliest of the final distribution at each position"""
    answer_probs: Float[np.ndarray, "row position answer"]
    moved: Int[np.ndarray, "row position moved"]
    """what the block that leads to a row promoted most (first half) and suppressed most (second half), by probability"""
    gained: Float[np.ndarray, "row position moved"]
    rank_before: Int[np.ndarray, "row position moved"]
    rank_after: Int[np.ndarray, "row position moved"]
    max_error: float
    """largest |last row - the model's logits| relative to the largest |logit|, over all positions"""
    names: dict[int, str]
    """text of every token that occurs in the arrays above"""
    provenance: Provenance

    @property
    def n_layers(self) -> int:
        return int(self.rows[-1][1:].split(".")[0]) + 1

    @cached_property
    def agrees(self) -> Float[np.ndarray, " row"]:
        """Share of positions at which a row's likeliest token is the final one."""
        return (self.token_ids[..., 0] == self.token_ids[-1, :, 0]).mean(1)

    def to_frame(self) -> pd.DataFrame:
        """One row per row of the stream, position and place among the likeliest.

        Columns: row, position, token (its label), place (0 is the likeliest), predicted, predicted_id, logit, prob, entropy,
        kl.
        """
        row, position, place = np.indices(self.token_ids.shape).reshape(3, -1)
        return pd.DataFrame({
            "row": np.array(self.rows, dtype=object)[row], "position": position,
            "token": np.array(self.position_labels, dtype=object)[position], "place": place,
            "predicted": [self.names[i] for i in self.token_ids.ravel().tolist()], "predicted_id": self.token_ids.ravel(),
            "logit": self.logits.ravel(), "prob": self.probs.ravel(), "entropy": self.entropy[row, position],
            "kl": self.kl[row, position],
        })  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LensRequest(Request[Lens]):
    """`logit_lens` as a value."""

    analysis: ClassVar[str] = "logit_lens"

    prompt: str | tuple[int, ...]
    k: int = 5
    targets: tuple[int | str, ...] = ()
    mids: bool = True
    """rows after attention too"""

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Lens:
        """The lens."""
        return _read(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=n, bytes=needed_bytes(model, n, self.mids))

    def exactly(self, model: "infoflow.models.model.Model") -> "LensRequest":
        """Typed targets may leave out their leading space."""
        return replace(self, model=model.spec, targets=tuple(model.token_id_near(t) for t in self.targets))


def needed_bytes(model: "infoflow.models.model.Model", n_tokens: int, mids: bool) -> int:
    """Memory of `logit_lens` beyond the weights: every row's residual, (1 + L or 2 L) T d_model numbers, the model's logits
    T V, and each row's logits at some positions at a time."""
    s = model.sizes()
    rows = 1 + s.layers * (1 + mids)
    at_once = min(n_tokens, max(1, memory.chunk(model.memory_limit()) // (32 * s.vocabulary)))
    forward = 3 * s.heads * n_tokens**2  # one layer's scores, as the model itself computes them
    return FLOAT * (rows * n_tokens * s.d_model + 2 * n_tokens * s.vocabulary + 12 * at_once * s.vocabulary + forward)


def logit_lens(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    k: int = 5,
    targets: Sequence[int | str] = (),
    interventions: Sequence[Any] = (),
    mids: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> Lens:
    """The distribution over next tokens that each row of the residual stream amounts to: softmax(W_U norm_f(x[row, p])).

    `targets` are token ids or texts whose logit, probability and rank are followed through all rows; `mids` adds the rows
    after attention. `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: an empty prompt, a target that is no single token, a `k` below 1.
        TooLarge: residuals that do not fit in memory.
    """
    request = LensRequest(
        model=model.spec, prompt=as_prompt(prompt), k=k, targets=tuple(targets), mids=mids,
        interventions=as_interventions(interventions),
    )  # fmt: skip
    return _read(request, model, on_progress)


def _read(
    request: LensRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Lens:
    k, mids = request.k, request.mids
    if k < 1:
        raise BadPrompt(f"k is {k}; at least the likeliest token is needed.")
    tokens = model.encode(request.prompt)
    wanted = list(dict.fromkeys(model.token_id(t) for t in request.targets))
    vocabulary = model.sizes().vocabulary
    k, moved, answers = (min(number, vocabulary) for number in (k, MOVED, ANSWERS))
    what = f"Reading {len(tokens)} tokens at every layer needs"
    refuse_here(model, needed_bytes(model, len(tokens), mids), what, "Shorten the prompt")
    arguments = (k, wanted, mids, answers, moved, on_progress)
    raw = model.run([t.id for t in tokens], read_off, model.plan(), *arguments)
    values = {name: value.numpy() for name, value in raw.items() if name != "dtype"}
    log_sum = values["log_sum"][..., None]
    occurring = {int(i) for name in ("ids", "answers", "moved") for i in np.unique(values[name])} | set(wanted)
    return Lens(
        **of_tokens(tokens),
        prompt_ids=tuple(t.id for t in tokens),
        rows=rows_of(model.n_layers, mids),
        token_ids=values["ids"],
        logits=values["logits"],
        probs=np.exp(values["logits"] - log_sum),
        entropy=values["entropy"],
        kl=np.maximum(values["kl"], 0.0),  # rounding can take it below
        targets=tuple(wanted),
        target_logits=values["target_logits"],
        target_probs=np.exp(values["target_logits"] - log_sum),
        target_ranks=values["target_ranks"],
        answers=values["answers"][0],
        answer_probs=np.exp(values["answer_logits"] - log_sum),
        moved=values["moved"],
        gained=values["gained"],
        rank_before=values["rank_before"],
        rank_after=values["rank_after"],
        max_error=float(values["off"].max()),
        names={i: model.name_of(i) for i in occurring},
        provenance=Provenance.of(model, replace(request, targets=tuple(wanted)), raw["dtype"]),
    )
