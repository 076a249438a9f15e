"""Where is the answer, layer by layer? The logit as a sum over positions, at every row of the residual stream.

1. One run of the model gives patterns, gates and norm scales (`frozen.py`); with them fixed the logit (or the difference of
   two) is a linear function of the residual stream at *every* row: embeddings, after each attention, after each MLP.
2. Forward again through the linear maps, and backward once from the logit, give its slope at every row r and position p:

       by_cell[r, p] = <x[r, p], d logit / d x[r, p]>         bias[r] = what later biases add along the frozen paths

   x is the residual that the model itself computed, so that each row's sum tests both: sum_p by_cell[r, p] + bias[r] is the
   logit. At the bottom it is the attribution by source token, on top all of it is at the position whose logit it is.
3. From one row to the next the sum stays, and what a position holds changes by three things alone: heads move a part of it
   from the position that they read to the one that they write at, and biases add to it. An MLP moves nothing.

       moves[l, h, q, k] = A[h, q, k] <W_O^h W_V^h norm(x[k]), d logit / d x[q]>      q != k

Where the MLP reads what attention read (parallel blocks), the stream between the two is no cut through the network: there
are rows after whole layers only.

Source: the frozen-linear view of Elhage et al. (2021), taken at every row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses import attribution, logit_lens
from infoflow.analyses import contrast as contrasts
from infoflow.analyses.cost import FLOAT, Estimate, refuse_here
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer, check_k, check_position
from infoflow.analyses.result import OfPrompt, Prediction, of_tokens
from infoflow.text.amounts import before_cap
from infoflow.text.rows import rows_of

if TYPE_CHECKING:
    import infoflow.models.model

KEPT = 16
"""so many moves into and out of each position are kept by name; all others in their sums"""


@dataclass(frozen=True)
class Moves:
    """The largest moves into (or out of) each position at each layer's attention, by size. In logits."""

    logit: Float[np.ndarray, "layer position move"]
    """0 where there are no more"""
    head: Int[np.ndarray, "layer position move"]
    other: Int[np.ndarray, "layer position move"]
    """the position that it comes from (goes to)"""


@dataclass(frozen=True, kw_only=True)
class Location(OfPrompt):
    """A logit (or the difference of two) as a sum over positions, at every row of the residual stream. In logits."""

    target: int
    target_name: str
    against: int | None
    against_name: str | None
    position: int
    """whose logit it is"""
    rows: tuple[str, ...]
    """embed, L0.mid, L0.post, ...; no mid where a layer's MLP reads what its attention read"""
    by_cell: Float[np.ndarray, "row position"]
    """what each residual holds of it; with `bias` and `put_in` each row sums to `total`"""
    bias: Float[np.ndarray, " row"]
    """what the weights' biases add after that row"""
    put_in: Float[np.ndarray, " row"]
    """what interventions put in after that row; zero where none does"""
    put_in_at: Float[np.ndarray, "step position"]
    """what they put into each position from a row to the next"""
    added: Float[np.ndarray, "step position"]
    """what biases add to each position from a row to the next"""
    arrived: Float[np.ndarray, "layer head position"]
    """what each head brings to each position from all others"""
    left: Float[np.ndarray, "layer head position"]
    """what each head takes from each position to all others"""
    arrivals: Moves
    departures: Moves
    by_mlp: Float[np.ndarray, "layer position"]
    """how much of what a position holds after a layer is written there by its MLP; it moves nothing"""
    specific: Float[np.ndarray, "row position"] | None
    """what each residual says beyond the contrast's there, along the same paths; None without a contrast"""
    contrast: str | tuple[str, ...] | tuple[int, ...] | None
    """what it is held against"""
    contrast_total: float | None
    """the logit (or difference) that the model itself gives on the contrast, in the mean over its prompts"""
    contrasts: tuple[str, ...]
    """prompts of as many tokens, different in one word, that this one can be held against"""
    total: float
    """the logit, or the difference: the model's own, and before its soft cap where it has one"""
    model_total: float
    """the same of the logits that the model's probabilities are of, after a soft cap"""
    softcap: float
    """the family's soft cap; 0 where it has none"""
    centred: bool
    """whether the mean logit of the vocabulary is taken off"""
    top: tuple[Prediction, ...]
    """the likeliest next tokens"""
    max_error: float
    """the largest of `row_error`, and of |logit, scaled and capped - the model's own| over the vocabulary in the same unit"""
    provenance: Provenance

    @property
    def row_error(self) -> Float[np.ndarray, " row"]:
        """|sum of the row - total|, relative to the larger of |total| and 1."""
        off = np.abs(self.by_cell.sum(1, dtype=np.float64) + self.bias + self.put_in - self.total) / max(1.0, abs(self.total))
        return off.astype(np.float32)

    @property
    def hindsight(self) -> Float[np.ndarray, "row position"] | None:
        """What the contrast's residual would have said here too: `by_cell` less `specific`."""
        return None if self.specific is None else self.by_cell - self.specific

    @property
    def seen(self) -> Float[np.ndarray, " row"] | None:
        """Of what swapping a whole row for the contrast's does to the logit, the share that frozen paths see; NaN where it does
        nothing."""
        if self.specific is None or self.contrast_total is None:
            return None
        effect = self.total - self.contrast_total
        share = self.specific.sum(1, dtype=np.float64) / effect if effect else np.full(len(self.rows), np.nan)
        return share.astype(np.float32)

    @property
    def mids(self) -> bool:
        """Whether there are rows between attention and MLP."""
        return len(self.rows) > len(self.by_mlp) + 1

    @property
    def note(self) -> str:
        """What is to be said of a family that caps its logits; '' of any other."""
        return before_cap(self.total, self.model_total) if self.softcap else ""

    @property
    def path(self) -> Int[np.ndarray, " row"]:
        """The position that holds most, row by row."""
        return self.by_cell.argmax(1)

    def layer_of(self, row: int) -> int:
        """The layer that wrote a row; -1 for the embeddings."""
        return (row + 1) // 2 - 1 if self.mids else row - 1

    def row_after(self, layer: int) -> int:
        """The first row after a layer's attention."""
        return 2 * layer + 1 if self.mids else layer + 1

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: row (its name), layer (-1 for the embeddings), position, token, logit, with a contrast specific and
        hindsight; what is no token's (the bias, and what interventions put in) together at position -1."""
        n = len(self.labels)
        row = np.repeat(np.arange(len(self.rows)), n + 1)
        frame = pd.DataFrame({
            "row": np.array(self.rows, dtype=object)[row], "layer": [self.layer_of(r) for r in row.tolist()],
            "position": np.tile([*range(n), -1], len(self.rows)),
            "token": np.tile(np.array([*self.position_labels, "bias"], dtype=object), len(self.rows)),
            "logit": np.concatenate([self.by_cell, (self.bias + self.put_in)[:, None]], 1).ravel(),
        })  # fmt: skip
        if self.specific is not None:
            frame["specific"] = np.pad(self.specific, ((0, 0), (0, 1))).ravel()
            frame["hindsight"] = frame["logit"] - frame["specific"]
        return frame

    def moves_frame(self) -> pd.DataFrame:
        """One row per move that is kept: layer, head, source and dest (positions), from and to (tokens), logit; the largest
        first."""
        layer, dest, at = np.nonzero(self.arrivals.logit)
        source = self.arrivals.other[layer, dest, at]
        names = np.array(self.position_labels, dtype=object)
        frame = pd.DataFrame({
            "layer": layer, "head": self.arrivals.head[layer, dest, at], "source": source, "dest": dest,
            "from": names[source], "to": names[dest], "logit": self.arrivals.logit[layer, dest, at],
        })  # fmt: skip
        return frame.sort_values("logit", key=np.abs, ascending=False, ignore_index=True, kind="stable")

    def moved_at(self, layer: int, position: int) -> pd.DataFrame:
        """What changed a cell at a layer's attention: kind (in, out, other in, other out, bias, intervention), head and other
        position (-1 where there is no one), token, logit. Sums to the change of the cell over that attention (over the layer,
        where there is no row after attention)."""
        names = np.array([*self.position_labels, ""], dtype=object)
        parts = []
        sums = (("in", 1, self.arrivals, self.arrived), ("out", -1, self.departures, self.left))
        for kind, sign, moves, sum_of in sums:
            value = moves.logit[layer, position]
            some = value != 0
            rest = float(sum_of[layer, :, position].sum() - value.sum())
            head, other = moves.head[layer, position][some], moves.other[layer, position][some]
            parts.append(pd.DataFrame({"kind": kind, "head": head, "position": other, "logit": sign * value[some]}))
            parts.append(pd.DataFrame({"kind": [f"other {kind}"], "head": -1, "position": -1, "logit": [sign * rest]}))
        step = self.row_after(layer) - 1
        parts.append(pd.DataFrame({"kind": ["bias"], "head": -1, "position": -1, "logit": [float(self.added[step, position])]}))
        put = float(self.put_in_at[step, position])
        if put:
            parts.append(pd.DataFrame({"kind": ["intervention"], "head": -1, "position": -1, "logit": [put]}))
        frame = pd.concat(parts, ignore_index=True)
        frame.insert(3, "token", names[frame["position"].to_numpy()])
        return frame.sort_values("logit", key=np.abs, ascending=False, ignore_index=True, kind="stable")


@dataclass(frozen=True, kw_only=True)
class LocationRequest(Request[Location]):
    """`locate` as a value."""

    analysis: ClassVar[str] = "location"
    function: ClassVar[str] = "locate"

    prompt: str | tuple[int, ...]
    target: int | str | None = None
    """the likeliest next token where none is given"""
    against: int | str | None = None
    position: int = -1
    centred: bool = False
    top_k: int = 8
    contrast: str | tuple[str, ...] | tuple[int, ...] | None = None
    """what it is held against: another prompt of as many tokens, several, one as token ids, or "bank\""""

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Location:
        """Where the answer is."""
        return _located(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=n, bytes=needed_bytes(model, n, self.contrast is not None))

    def exactly(self, model: "infoflow.models.model.Model") -> "LocationRequest":
        """Typed targets may leave out their leading space."""
        target, against = (None if t is None else model.token_id_near(t) for t in (self.target, self.against))
        return replace(self, model=model.spec, target=target, against=against)


def needed_bytes(model: "infoflow.models.model.Model", n_tokens: int, contrasted: bool = False) -> int:
    """Memory of `locate` beyond the weights: what `attribute` takes, and the rows of each layer with their slopes,
    L r T (5 d_model + 2 H d_head) numbers with r = 1 or, with biases, 2; then one head's moves at a time, 4 T^2.
    A contrast's residuals are held twice, 2 (2 L + 1) T d_model."""
    s = model.sizes()
    rows = 1 + s.biased
    slopes = s.layers * rows * n_tokens * (5 * s.d_model + 2 * s.heads * s.d_head) + 4 * n_tokens**2
    kept = s.layers * n_tokens * (2 * s.heads + 2 * 3 * KEPT)
    held = 2 * (2 * s.layers + 1) * n_tokens * s.d_model if contrasted else 0
    return attribution.needed_bytes(model, n_tokens) + FLOAT * (slopes + kept + held)


def locate(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    target: int | str | None = None,
    against: int | str | None = None,
    position: int = -1,
    interventions: Sequence[Any] = (),
    centred: bool = False,
    top_k: int = 8,
    contrast: str | Sequence[str] | Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Location:
    """Which positions hold the logit of `target` at `position` (or its lead over `against`), at every row of the stream.

    by_cell[r, p] = <x[r, p], d logit / d x[r, p]> with patterns, gates and norm scales frozen; each row sums, with its bias, to
    the logit. Without a target it is the likeliest next token.
    `arrivals`, `departures` and their sums say which heads moved it. `centred` takes the mean logit off.
    `contrast`: another prompt of as many tokens, several, or "bank" (neutral texts that ship), for `specific`, `hindsight` and
    `seen` (contrast.py). `on_progress(done, total)` is called after each layer, forward and then backward; raising in it
    stops the run.

    Raises:
        BadPrompt: empty prompt, a target that is no single token, a position outside the prompt, a contrast of another length.
        TooLarge: a prompt whose backward pass does not fit in memory.
    """
    request = LocationRequest(
        model=model.spec, prompt=as_prompt(prompt), target=target, against=against, position=position,
        interventions=as_interventions(interventions), centred=centred, top_k=top_k,
        contrast=contrasts.as_contrast(contrast),
    )  # fmt: skip
    return _located(request, model, on_progress)


def _located(
    request: LocationRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Location:
    from infoflow.traced.location import locate_block

    tokens = model.encode(request.prompt)
    n, position = len(tokens), request.position
    check_position(position, n)
    check_k(request.top_k, "top_k")
    ids = [-1 if request.target is None else model.token_id(request.target)]
    ids += [] if request.against is None else [model.token_id(request.against)]
    needed = needed_bytes(model, n, request.contrast is not None)
    refuse_here(model, needed, f"Locating an answer over {n} tokens needs", "Shorten the prompt")
    plan = changed_plan(model, request.interventions, tokens)
    other = None
    if request.contrast is not None:
        if ids[0] < 0:  # the contrast is asked of the same target, so that it has to be known
            ids[0] = (
                logit_lens.logit_lens(model, [t.id for t in tokens], 1, positions=[position], interventions=request.interventions)
                .token_ids[-1, 0, 0]
                .item()
            )
        target_here = contrasts.Target(position % n, ids, request.centred)
        other = contrasts.held_against(model, request.contrast, tokens, target_here, True, request.interventions)
    states = None if other is None else other.states
    arguments = (n, position % n, ids, request.centred, KEPT, request.top_k, states, on_progress)
    raw = model.run([t.id for t in tokens], locate_block, plan, *arguments)
    by_cell, added = raw["by_cell"].numpy(), raw["added"].numpy()
    put_in_at = raw["put_in"].numpy()
    bias, put_in = _still_to_come(added) + raw["end"], _still_to_come(put_in_at)
    off = np.abs(by_cell.sum(1, dtype=np.float64) + bias + put_in - raw["total"]).max()
    target, against = raw["ids"][0], ids[1] if len(ids) > 1 else None
    return Location(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        target=target,
        target_name=model.name_of(target),
        against=against,
        against_name=None if against is None else model.name_of(against),
        position=position % n,
        rows=rows_of(model.n_layers, not plan.parallel),
        by_cell=by_cell,
        specific=None if other is None else raw["specific"].numpy(),
        contrast=request.contrast,
        contrast_total=None if other is None else other.total,
        contrasts=contrasts.propose(model, request.prompt, raw["next"].tolist(), by_cell[0].tolist()),
        bias=bias.astype(np.float32),
        put_in=put_in.astype(np.float32),
        put_in_at=put_in_at,
        added=added,
        arrived=raw["arrived"].numpy(),
        left=raw["left"].numpy(),
        arrivals=Moves(*(raw[f"arrivals_{name}"].numpy() for name in ("logit", "head", "other"))),
        departures=Moves(*(raw[f"departures_{name}"].numpy() for name in ("logit", "head", "other"))),
        by_mlp=raw["by_mlp"].numpy(),
        total=raw["total"],
        model_total=raw["model_total"],
        softcap=plan.softcap,
        centred=request.centred,
        max_error=float(np.max([off, raw["off"]])) / max(1.0, abs(raw["total"])),  # NaN stays one
        top=tuple(Prediction(model.name_of(t), t, probability, logit) for t, probability, logit in raw["top"]),
        provenance=Provenance.of(
            model, replace(request, target=target, against=against), raw["dtype"], ids=tuple(t.id for t in tokens)
        ),
    )


def _still_to_come(steps: Float[np.ndarray, "step position"]) -> Float[np.ndarray, " row"]:
    """From what is added at each step, what is added after each row."""
    return np.append(steps.sum(1, dtype=np.float64)[::-1].cumsum()[::-1], 0.0)
