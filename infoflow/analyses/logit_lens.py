"""What would the model say if it stopped here? Every residual read as a distribution over next tokens, by one of several lenses.

1. One run of the model gives the residual of every row: the embeddings, and after each layer's attention and MLP.
2. Each is brought to where the model reads its last, by a lens of one kind:
   - "logit": as it is. W_U norm_f(x), the norm's scale computed anew for each row, then scaled and capped where the family does.
   - "frozen": by the rest of the frozen network, for each state alone (frozen_lens.py); the norm has the scale of the run.
   - "jacobian", "tuned": by a fitted map of its row, W_U norm_f(M x + b) (models/lenses.py).
   The last row is the model's own output; `max_error` says how exactly.
3. Where there is a contrast, the states of another text are read in the place of these. What both of them read, the state does
   not say: a frozen lens knows the answer from its paths (hindsight), a fitted one from what it was fitted on.

What is asked for at some positions alone costs as much as they do. What a block promoted is in `promotions.py`.

Early rows are not made to be read this way: `kl` (to the final distribution) and the agreement with the final answer say
how far a row can be taken for a prediction at all.

Sources: nostalgebraist (2020), "interpreting GPT: the logit lens"; Belrose et al. (2023), "Eliciting Latent Predictions from
Transformers with the Tuned Lens"; Gurnee et al. (2026), "Verbalizable Representations Form a Global Workspace" (Jacobian lens).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from infoflow.analyses import frozen_lens
from infoflow.analyses.contrast import Contrast, as_contrast, prompts_of
from infoflow.analyses.cost import FLOAT, Estimate, refuse_here
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer, check_k
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt, UnsupportedModel
from infoflow.models import memory
from infoflow.text.rows import rows_of
from infoflow.text.tokens import Token, unique, visible

if TYPE_CHECKING:
    import torch

    import infoflow.models.lenses
    import infoflow.models.model

Kind = Literal["logit", "frozen", "jacobian", "tuned"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FITTED = ("jacobian", "tuned")
"""kinds that are maps from a file"""
Read = Literal["own", "last"]
"""where a frozen lens reads a state: at its own position, or at the last"""
ANSWERS = 4
"""of the final distribution, followed through every row"""
_BESIDE = ("added", "other_ids", "other_probs", "other_target_logits", "change", "raised_ids", "raised")
"""what is known of some lenses alone"""


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
    """largest |last row - the model's logits| relative to the largest |logit|, over the positions that were read; where states
    are read at the last position |sum over all of them - the model's logits|, over all rows"""
    names: dict[int, str]
    """text of every token that occurs in the arrays"""
    provenance: Provenance
    kind: str = "logit"
    read: str = "own"
    """where a frozen lens reads; at "last", `logits` are the parts of a sum, centred, and every answer is the last position's"""
    lens: str | None = None
    """where a fitted lens comes from"""
    added: Float[np.ndarray, "row target"] | None = None
    """what the targets' logits have, centred, from all that is not read: with `target_logits` of all positions they sum to the
    model's, before its soft cap; None where readings are no parts of a sum"""
    contrast: str | tuple[str, ...] | tuple[int, ...] | None = None
    """whose states were read in the place of these, in the mean over its prompts"""
    other_ids: Int[np.ndarray, "row position k"] | None = None
    """the likeliest of the contrast's state there"""
    other_probs: Float[np.ndarray, "row position k"] | None = None
    change: Float[np.ndarray, "row position"] | None = None
    """how far the two readings lie apart: their total variation, 0 where they are the same and 1 where they share nothing"""
    raised_ids: Int[np.ndarray, "row position k"] | None = None
    """the tokens that this state gives more probability than the contrast's, most first"""
    raised: Float[np.ndarray, "row position k"] | None = None
    """how much more"""
    other_target_logits: Float[np.ndarray, "row position target"] | None = None
    """of the contrast's state; what is left of `target_logits` beyond them is specific to this prompt (MATH.md, section 8)"""

    @property
    def hindsight(self) -> Bool[np.ndarray, "row position"] | None:
        """Where the contrast's state reads the same token: what it says is not of this state."""
        return None if self.other_ids is None else self.other_ids[..., 0] == self.token_ids[..., 0]

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

    @property
    def final(self) -> Bool[np.ndarray, "row position"]:
        """Where the likeliest token is the one that the model ends with."""
        ends = self.token_ids[-1, :, 0] if self.read == "own" else self.answers[:, 0]
        return self.token_ids[..., 0] == ends

    @cached_property
    def agrees(self) -> Float[np.ndarray, " row"]:
        """Share of positions at which a row's likeliest token is the final one."""
        return self.final.mean(1)

    def to_frame(self) -> pd.DataFrame:
        """One row per row of the stream, position and place among the likeliest.

        Columns: row, position, token (its label), place (0 is the likeliest), predicted, predicted_id, logit, prob, entropy,
        kl; of each token that was asked for "prob of ..." and "rank of ..." (1 is the likeliest), the same at every place; and
        with a contrast the reading of its state (other, other_prob, change) and what this one raises above it (raised, by).
        """
        row, column, place = np.indices(self.token_ids.shape).reshape(3, -1)
        position = np.array(self.positions)[column]
        followed: dict[str, np.ndarray] = {}
        for number, name in enumerate(unique([visible(self.names[i]) for i in self.targets])):
            followed[f"prob of {name}"] = self.target_probs[row, column, number]
            followed[f"rank of {name}"] = self.target_ranks[row, column, number] + 1
        if self.other_ids is not None and self.other_probs is not None and self.change is not None:
            followed["other"] = np.array([self.names[i] for i in self.other_ids.ravel().tolist()], dtype=object)
            followed |= {"other_prob": self.other_probs.ravel(), "change": self.change[row, column]}
        if self.raised_ids is not None and self.raised is not None:
            followed["raised"] = np.array([self.names[i] for i in self.raised_ids.ravel().tolist()], dtype=object)
            followed["by"] = self.raised.ravel()
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
    function: ClassVar[str] = "logit_lens"

    prompt: str | tuple[int, ...]
    k: int = 5
    targets: tuple[int | str, ...] = ()
    mids: bool = True
    """rows after attention too"""
    positions: tuple[int, ...] | None = None
    """which are read; None for all"""
    kind: Kind = "logit"
    read: Read = "own"
    rows: tuple[str, ...] | None = None
    """which are read, by name; None for all that the lens has, and the last one always"""
    contrast: Contrast = None
    lens: str | None = None
    """where a fitted lens comes from; None for the one that ships for the model"""
    digest: str = ""
    """of its file, where another one of that name is another lens"""

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Lens:
        """The lens."""
        return _read(self, model, by_layer(on_progress), on_progress)

    def prepare(self, model: "infoflow.models.model.Model", say: Report) -> None:
        """A fitted lens that is on a hub is fetched."""
        source = _source(self, model)
        if source is not None:
            from infoflow.models import lenses

            lenses.fetch(model, source, say)

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=n, bytes=_bytes_of(self, model, n))

    def exactly(self, model: "infoflow.models.model.Model") -> "LensRequest":
        """Typed targets may leave out their leading space; positions are counted from the first token."""
        read = None if self.positions is None else positions_of(self.positions, len(model.encode(self.prompt)))
        targets = tuple(model.token_id_near(t) for t in self.targets)
        exact = replace(self, model=model.spec, targets=targets, positions=read)
        source = _source(self, model)
        if source is None:
            return exact
        from infoflow.models import lenses

        return replace(exact, lens=source, digest=lenses.digest_of(model, source))


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


def needed_bytes(
    model: "infoflow.models.model.Model", n_tokens: int, mids: bool, n_read: int | None = None, n_rows: int | None = None
) -> int:
    """Memory of `logit_lens` beyond the weights: every row's residual at the P positions that are read, twice (1 + L or 2 L)
    P d_model numbers, the model's logits T V, theirs at those positions, and some cells' logits at a time."""
    from infoflow.traced.logit_lens import PIECE_BYTES, at_once

    s = model.sizes()
    n_read = n_tokens if n_read is None else n_read
    rows = 1 + s.layers * (1 + mids) if n_rows is None else n_rows
    together = min(rows * n_read, at_once(memory.product(model.memory_limit()), s.vocabulary))
    piece = min(PIECE_BYTES // FLOAT, together * s.vocabulary)
    few = (together // rows + 1) * s.vocabulary
    forward = 3 * s.heads * n_tokens**2  # one layer's scores, as the model itself computes them
    logits = (2 * n_tokens + 2 * n_read) * s.vocabulary
    return FLOAT * (2 * rows * n_read * s.d_model + logits + 3 * together * s.vocabulary + 3 * few + forward + 2 * piece)


def _bytes_of(request: LensRequest, model: "infoflow.models.model.Model", n_tokens: int) -> int:
    """Memory of a request: the contrast's states and readings come beside the prompt's own."""
    read, mids = positions_of(request.positions, n_tokens), _has_mids(request, model)
    every = rows_of(model.sizes().layers, mids)
    n_rows = len(every) if request.rows is None else len({*request.rows, every[-1]})
    times = 1 if request.contrast is None else 2
    base = needed_bytes(model, n_tokens, mids, len(read), n_rows) * times
    if request.kind == "frozen":
        return base + frozen_lens.needed_bytes(model, n_tokens, n_rows, read, request.read == "last", times)
    return base + (FLOAT * n_rows * model.sizes().d_model ** 2 if request.kind in FITTED else 0)


def _has_mids(request: LensRequest, model: "infoflow.models.model.Model") -> bool:
    """Whether there are rows after attention: fitted lenses have none, and where the MLP reads what attention read that row is no
    cut through the network."""
    return request.mids and (request.kind == "logit" or request.kind == "frozen" and not model.sizes().parallel)


def logit_lens(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    k: int = 5,
    targets: Sequence[int | str] = (),
    interventions: Sequence[Any] = (),
    mids: bool = True,
    positions: Sequence[int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    kind: Kind = "logit",
    read: Read = "own",
    rows: Sequence[str] | None = None,
    contrast: Any = None,
    lens: str | None = None,
    digest: str = "",
) -> Lens:
    """The distribution over next tokens that each row of the residual stream amounts to: softmax(W_U norm_f(x[row, p])), or what
    another `kind` of lens makes of x first.

    `targets` are token ids or texts whose logit, probability and rank are followed through all rows; `mids` adds the rows
    after attention. `positions` are those that are read, all of them if None; negative ones count from the end. `rows` are those
    that are read ("embed", "L3.post", ...), the last one always.
    `kind`: "logit"; "frozen", which `read`s each state through the rest of the frozen network at its "own" position or at the
    "last", where readings are parts of the model's logits; "jacobian" and "tuned", with a `lens` from a file or a hub
    ("owner/name/path/in/it.pt"), by default the one that ships for the model; with a `digest` that very file.
    `contrast`: a prompt of as many tokens (or several, or "bank" for neutral texts) whose states are read in the place of these.
    `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: an empty prompt, a target that is no single token, a `k` below 1, a position or row that is not there, a
            contrast of another length.
        InfoflowError: a lens that is not there or does not fit the model, or that can't be read where the model runs.
        TooLarge: residuals that do not fit in memory.
    """
    request = LensRequest(
        model=model.spec, prompt=as_prompt(prompt), k=k, targets=tuple(targets), mids=mids,
        positions=None if positions is None else tuple(map(int, positions)), interventions=as_interventions(interventions),
        kind=kind, read=read, rows=None if rows is None else tuple(rows), contrast=as_contrast(contrast), lens=lens,
        digest=digest,
    )  # fmt: skip
    return _read(request, model, on_progress)


def _read(
    request: LensRequest,
    model: "infoflow.models.model.Model",
    on_progress: Callable[[int, int], None] | None = None,
    say: Report | None = None,
) -> Lens:
    from infoflow.traced.logit_lens import read_off

    tokens = model.encode(request.prompt)
    ask = _asked(request, model, len(tokens))
    n, read = len(tokens), ask["positions"]
    what = f"Reading {len(read)} of {n} tokens at {len(ask['read'])} rows needs"
    instead = "Shorten the prompt, or read fewer positions" if len(read) > 1 else "Shorten the prompt"
    refuse_here(model, _bytes_of(request, model, n), what, instead + (" or rows" if len(ask["read"]) > 2 else ""))
    fitted = _fitted(request, model, ask, say)
    if request.contrast is not None:
        ask["other"] = _others(request, model, tokens, ask)
    plan = changed_plan(model, request.interventions, tokens)
    raw = model.run([t.id for t in tokens], read_off, plan, ask, on_progress)
    values = {name: value.numpy() for name, value in raw.items() if name != "dtype"}
    log_sum = values["log_sum"][..., None]
    told = [values[name] for name in ("ids", "answers", "other_ids", "raised_ids") if name in values]
    wanted = tuple(ask["wanted"])
    occurring = {int(i) for ids in told for i in np.unique(ids)} | set(wanted)
    beside: dict[str, Any] = {name: values.get(name) for name in _BESIDE}
    about: dict[str, Any] = of_tokens(tokens, model.notes(request.prompt, tokens))
    return Lens(
        **about,
        **beside,
        prompt_ids=tuple(t.id for t in tokens),
        positions=tuple(read),
        rows=tuple(ask["read"]),
        token_ids=values["ids"],
        logits=values["logits"],
        probs=np.exp(values["logits"] - log_sum),
        entropy=values["entropy"],
        kl=np.maximum(values["kl"], 0.0),  # rounding can take it below
        targets=wanted,
        target_logits=values["target_logits"],
        target_probs=np.exp(values["target_logits"] - log_sum),
        target_ranks=values["target_ranks"],
        answers=values["answers"],
        answer_probs=np.exp(values["answer_logits"] - log_sum),
        max_error=float(values["off"].max()),
        names={i: model.name_of(i) for i in occurring},
        kind=request.kind,
        read=request.read,
        lens=fitted,
        contrast=request.contrast,
        provenance=Provenance.of(model, replace(request, targets=wanted), raw["dtype"], ids=tuple(t.id for t in tokens)),
    )


def _asked(request: LensRequest, model: "infoflow.models.model.Model", n: int) -> dict[str, Any]:
    """What the trace is asked for, as `read_off` takes it."""
    if request.kind not in KINDS or request.read not in get_args(Read):
        raise BadPrompt(f"There is no lens '{request.kind}' read at '{request.read}'. Kinds: {', '.join(KINDS)}; own or last.")
    if request.read == "last" and request.kind != "frozen":
        raise BadPrompt(
            f"A {request.kind} lens reads each state where it stands. Only a frozen one reads it at the last position."
        )
    check_k(request.k)
    vocabulary, mids = model.sizes().vocabulary, _has_mids(request, model)
    every = rows_of(model.n_layers, mids)
    missing = [row for row in request.rows or () if row not in every]
    if missing:
        raise BadPrompt(f"There is no row '{missing[0]}' to be read. There are: {', '.join(every)}.")
    return {
        "kind": request.kind, "to_last": request.read == "last", "maps": {}, "other": None, "n": n, "mids": mids,
        "rows": list(every),
        "read": [row for row in every if request.rows is None or row in request.rows or row == every[-1]],
        "k": min(request.k, vocabulary), "answers": min(ANSWERS, vocabulary),
        "wanted": list(dict.fromkeys(model.token_id(t) for t in request.targets)),
        "positions": list(positions_of(request.positions, n)),
    }  # fmt: skip


def _source(request: LensRequest, model: "infoflow.models.model.Model") -> str | None:
    """Where a fitted lens comes from; None of another kind, and where none was named or ships."""
    from infoflow.models import lenses

    if request.kind not in FITTED:
        return None
    return request.lens or (lenses.bundled_lens(model) if request.kind == "jacobian" else None)


def _fitted(
    request: LensRequest, model: "infoflow.models.model.Model", ask: dict[str, Any], say: Report | None = None
) -> str | None:
    """Put a fitted lens into what is asked, and say where it comes from."""
    if request.kind not in FITTED:
        return None
    import torch

    from infoflow.models import lenses

    source = _source(request, model)
    if model.hosted:
        raise UnsupportedModel(
            f"A {request.kind} lens is a file here, and its maps are too large to send to a service. Read the frozen lens there."
        )
    if source is None:
        fit = f", or fit one: infoflow fit-lens --model {model.name}" if request.kind == "jacobian" else ""
        raise BadPrompt(f"No {request.kind} lens ships for {model.name}. Name a file, or one on a hub as owner/name/file{fit}.")
    found = lenses.load_lens(model, source, on_progress=say)
    if found.kind != request.kind:
        raise BadPrompt(f"'{source}' is a {found.kind} lens, not a {request.kind} one.")
    if request.digest and found.digest != request.digest:
        raise BadPrompt(f"'{source}' is not the lens that this was asked of: its file has changed. Ask again.")
    last = ask["rows"][-1]
    asked = ask["rows"] if request.rows is None else ask["read"]
    ask["read"] = [row for row in asked if row in found.rows or row == last]
    missing = [row for row in request.rows or () if row not in ask["read"]]
    if missing:
        raise BadPrompt(f"This lens has no map for {missing[0]}. It has: {', '.join(found.rows)}.")
    nothing = np.zeros(found.d_model, np.float32)
    ask["maps"] = {
        n: (torch.from_numpy(found.matrices[row]), torch.from_numpy(found.biases.get(row, nothing)))
        for n, row in enumerate(ask["read"])
        if row in found.matrices
    }
    return source


def _others(
    request: LensRequest, model: "infoflow.models.model.Model", tokens: Sequence[Token], ask: dict[str, Any]
) -> "torch.Tensor":
    """The contrast's states, [row, position, d_model], in the mean over its prompts; changed where the prompt's own run is."""
    from infoflow.traced.logit_lens import states_of

    assert request.contrast is not None
    prompts = prompts_of(model, request.contrast, tokens)
    chosen = [ask["rows"].index(row) for row in ask["read"]]
    whole: Any = 0
    for ids in prompts:
        plan = changed_plan(model, request.interventions, tokens)
        whole = whole + model.run(ids, states_of, plan, list(range(len(tokens))), ask["mids"], chosen)
    return whole / len(prompts)
