"""What would the model say if it stopped here? Every residual read through the final norm and the unembedding.

1. One run of the model gives the residual of every row: the embeddings, and after each layer's attention and MLP.
2. Each is read as the model reads its last: W_U norm_f(x), the norm's scale computed anew for each row, then scaled and
   capped where the family does that. The last row is the model's own output; `max_error` says how exactly.

What is asked for at some positions alone costs as much as they do. What a block promoted is in `promotions.py`.

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
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt
from infoflow.models import memory
from infoflow.text.rows import rows_of
from infoflow.text.tokens import unique, visible

if TYPE_CHECKING:
    import infoflow.models.model

ANSWERS = 4
"""of the final distribution, followed through every row"""


@dataclass(frozen=True, kw_only=True)
class Lens(OfPrompt):
    """Predictions of every row of the residual stream. Logits are the model's own, after a scale or soft cap."""

    prompt_ids: tuple[int, ...]
    positions: tuple[int, ...]
    """of the prompt's tokens that were read; the axis `position` of all that follows"""
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
    max_error: float
    """largest |last row - the model's logits| relative to the largest |logit|, over the positions that were read"""
    names: dict[int, str]
    """text of every token that occurs in the arrays above"""
    provenance: Provenance

    @property
    def n_layers(self) -> int:
        return int(self.rows[-1][1:].split(".")[0]) + 1

    def column(self, position: int) -> int:
        """Where a position of the prompt lies in the arrays.

        Raises:
            BadPrompt: it was not read.
        """
        if position not in self.positions:
            raise BadPrompt(f"Position {position} was not read. This lens has {_listed(self.positions)}.")
        return self.positions.index(position)

    @cached_property
    def agrees(self) -> Float[np.ndarray, " row"]:
        """Share of positions at which a row's likeliest token is the final one."""
        return (self.token_ids[..., 0] == self.token_ids[-1, :, 0]).mean(1)

    def to_frame(self) -> pd.DataFrame:
        """One row per row of the stream, position and place among the likeliest.

        Columns: row, position, token (its label), place (0 is the likeliest), predicted, predicted_id, logit, prob, entropy,
        kl; and of each token that was asked for "prob of ..." and "rank of ..." (1 is the likeliest), the same at every place.
        """
        row, column, place = np.indices(self.token_ids.shape).reshape(3, -1)
        position = np.array(self.positions)[column]
        followed: dict[str, np.ndarray] = {}
        for number, name in enumerate(unique([visible(self.names[i]) for i in self.targets])):
            followed[f"prob of {name}"] = self.target_probs[row, column, number]
            followed[f"rank of {name}"] = self.target_ranks[row, column, number] + 1
        return pd.DataFrame({
            "row": np.array(self.rows, dtype=object)[row], "position": position,
            "token": np.array(self.position_labels, dtype=object)[position], "place": place,
            "predicted": [self.names[i] for i in self.token_ids.ravel().tolist()], "predicted_id": self.token_ids.ravel(),
            "logit": self.logits.ravel(), "prob": self.probs.ravel(), "entropy": self.entropy[row, column],
            "kl": self.kl[row, column], **followed,
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
    positions: tuple[int, ...] | None = None
    """which are read; None for all"""

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Lens:
        """The lens."""
        return _read(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        read = len(positions_of(self.positions, n))
        return Estimate(n_tokens=n, n_sources=n, bytes=needed_bytes(model, n, self.mids, read))

    def exactly(self, model: "infoflow.models.model.Model") -> "LensRequest":
        """Typed targets may leave out their leading space; positions are counted from the first token."""
        read = None if self.positions is None else positions_of(self.positions, len(model.encode(self.prompt)))
        return replace(self, model=model.spec, targets=tuple(model.token_id_near(t) for t in self.targets), positions=read)


def positions_of(asked: tuple[int, ...] | None, n_tokens: int) -> tuple[int, ...]:
    """The positions that are read, in order and each once; None stands for all. Negative ones count from the end, and fall away
    before the first token, so that range(-24, 0) is the last 24.

    Raises:
        BadPrompt: none is left, or one lies behind the last token.
    """
    if asked is None:
        return tuple(range(n_tokens))
    found = tuple(sorted({p + n_tokens if p < 0 else p for p in asked if p >= -n_tokens}))
    if not found or found[-1] >= n_tokens:
        what = f"There is no position {found[-1]}" if found else "No position is asked for"
        raise BadPrompt(f"{what}: the prompt has {n_tokens} tokens, 0 to {n_tokens - 1}.")
    return found


def _listed(positions: Sequence[int]) -> str:
    gaps = len(positions) != positions[-1] - positions[0] + 1
    return ", ".join(map(str, positions)) if gaps else f"{positions[0]} to {positions[-1]}"


def needed_bytes(model: "infoflow.models.model.Model", n_tokens: int, mids: bool, n_read: int | None = None) -> int:
    """Memory of `logit_lens` beyond the weights: every row's residual at the P positions that are read, twice (1 + L or 2 L)
    P d_model numbers, the model's logits T V, theirs at those positions, and some cells' logits at a time."""
    from infoflow.traced.logit_lens import PIECE_BYTES, at_once

    s = model.sizes()
    n_read = n_tokens if n_read is None else n_read
    rows = 1 + s.layers * (1 + mids)
    together = min(rows * n_read, at_once(memory.product(model.memory_limit()), s.vocabulary))
    piece = min(PIECE_BYTES // FLOAT, together * s.vocabulary)
    few = (together // rows + 1) * s.vocabulary
    forward = 3 * s.heads * n_tokens**2  # one layer's scores, as the model itself computes them
    logits = (2 * n_tokens + 2 * n_read) * s.vocabulary
    return FLOAT * (2 * rows * n_read * s.d_model + logits + 3 * together * s.vocabulary + 3 * few + forward + 2 * piece)


def logit_lens(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    k: int = 5,
    targets: Sequence[int | str] = (),
    interventions: Sequence[Any] = (),
    mids: bool = True,
    positions: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Lens:
    """The distribution over next tokens that each row of the residual stream amounts to: softmax(W_U norm_f(x[row, p])).

    `targets` are token ids or texts whose logit, probability and rank are followed through all rows; `mids` adds the rows
    after attention. `positions` are those that are read, all of them if None; negative ones count from the end.
    `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: an empty prompt, a target that is no single token, a `k` below 1, a position that is not there.
        TooLarge: residuals that do not fit in memory.
    """
    request = LensRequest(
        model=model.spec, prompt=as_prompt(prompt), k=k, targets=tuple(targets), mids=mids,
        positions=None if positions is None else tuple(map(int, positions)), interventions=as_interventions(interventions),
    )  # fmt: skip
    return _read(request, model, on_progress)


def _read(
    request: LensRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Lens:
    from infoflow.traced.logit_lens import read_off

    k, mids = request.k, request.mids
    if k < 1:
        raise BadPrompt(f"k is {k}; at least the likeliest token is needed.")
    tokens = model.encode(request.prompt)
    wanted = list(dict.fromkeys(model.token_id(t) for t in request.targets))
    vocabulary = model.sizes().vocabulary
    k, answers = min(k, vocabulary), min(ANSWERS, vocabulary)
    read = positions_of(request.positions, len(tokens))
    what = f"Reading {len(read)} of {len(tokens)} tokens at every layer needs"
    instead = "Shorten the prompt, or read fewer positions" if len(read) > 1 else "Shorten the prompt"
    refuse_here(model, needed_bytes(model, len(tokens), mids, len(read)), what, instead)
    arguments = (k, wanted, list(read), mids, answers, on_progress)
    raw = model.run([t.id for t in tokens], read_off, changed_plan(model, request.interventions, tokens), *arguments)
    values = {name: value.numpy() for name, value in raw.items() if name != "dtype"}
    log_sum = values["log_sum"][..., None]
    occurring = {int(i) for name in ("ids", "answers") for i in np.unique(values[name])} | set(wanted)
    return Lens(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        prompt_ids=tuple(t.id for t in tokens),
        positions=read,
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
        answers=values["answers"],
        answer_probs=np.exp(values["answer_logits"] - log_sum),
        max_error=float(values["off"].max()),
        names={i: model.name_of(i) for i in occurring},
        provenance=Provenance.of(model, replace(request, targets=tuple(wanted)), raw["dtype"], ids=tuple(t.id for t in tokens)),
    )
