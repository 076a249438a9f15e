"""What does a head or an MLP write, and what reads it? Its contribution to a logit, by what takes it on first.

1. One run of the model gives patterns, gates and norm scales (`frozen.py`); with them fixed the logit (or the difference of two)
   is a linear function of the residual stream, and one backward pass gives its slope at every z, MLP and row above the writer.
2. The writer adds w[p] to every position p: of a head W_O^h z[p], all that its z is made of together. What it contributes along
   all paths is

       total = sum_p <w[p], d logit / d mid[l, p]>        (of an MLP: where it writes)

3. w stays in the stream unchanged, and each later head and MLP reads it there. By the first that takes it on:

       through head g of layer k   sum_p sum_i A[k, g, i, p] <W_V^g norm(w[p]), d logit / d z[k, g, i]>
       through MLP k               sum_p <MLP_k(w[p]), d logit / d what MLP k writes at p>
       direct                      <w[position], d logit / d x[last, position]>

   which sum to the total: a path leaves the writer directly, or there is one part on it that comes first. Of a head the total is
   also a sum over what it reads: moves[i, p] = A[l, h, i, p] <W_V^h norm(x[p]), d logit / d z[l, h, i]>, with what biases of
   its values bring.
4. What it writes, in words: w[position] through the frozen final norm and the unembedding, for every token of the vocabulary,
   over the mean of all tokens (adding the same to all changes no probability).

Everything that `location.py` says of hindsight holds: the paths are those of the finished run.

Source: the path expansion of Elhage et al. (2021), by its first step; promoted tokens as in Geva et al. (2022) and
Dar et al. (2023), here with the final norm's gain and scale.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses import location
from infoflow.analyses.circuits import MLP, named
from infoflow.analyses.cost import FLOAT, Estimate, refuse_here
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer, check_position
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt

if TYPE_CHECKING:
    import infoflow.models.model

TOKENS = 6
"""promoted tokens that are kept, and as many suppressed"""


@dataclass(frozen=True, kw_only=True)
class Readers(OfPrompt):
    """What a head or an MLP contributes to a logit (or to the difference of two), by what reads it first. In logits, of a family
    with a soft cap before it."""

    layer: int
    head: int
    """-1: the layer's MLP"""
    target: int
    target_name: str
    against: int | None
    against_name: str | None
    position: int
    """whose logit it is"""
    direct: float
    """what no other part takes on; of a head that of `attribute`'s by_head, of an MLP that of its by_mlp"""
    by_head: Float[np.ndarray, "layer head"]
    """what goes on through each head first; 0 of those below"""
    by_mlp: Float[np.ndarray, " layer"]
    by_position: Float[np.ndarray, " position"]
    """of the total, what is written at each position"""
    moves: Float[np.ndarray, "dest src"] | None
    """of a head, what it brings from every position to every one of the total; None of an MLP, which moves nothing"""
    bias: float
    """of a head, what its values' biases bring; `moves` sum with it and `put_in` to the total"""
    put_in: float
    """of a head, what interventions put in the place of its z"""
    token_ids: Int[np.ndarray, "side moved"]
    """tokens that its write at `position` promotes most, and those that it suppresses most"""
    promoted: Float[np.ndarray, "side moved"]
    """what it adds to the logit of each directly, over the mean of all tokens"""
    names: dict[int, str]
    """text of every token that occurs"""
    total: float
    """along all paths"""
    logit_total: float
    """the logit (or difference) that it is a part of"""
    softcap: float
    """the family's soft cap; 0 where it has none"""
    max_error: float
    """the largest of |direct + what readers take on - total|, of a head |moves + bias + put_in - total|, and of |logit, scaled
    and capped - the model's own| over the vocabulary; relative to the largest of |total|, |logit_total| and 1"""
    provenance: Provenance

    @property
    def name(self) -> str:
        """How the writer is called."""
        return named((self.layer, self.head)) if self.head == MLP else f"head {named((self.layer, self.head))}"

    def to_frame(self) -> pd.DataFrame:
        """One row per reader: kind (direct, head, MLP), layer, head, name, logit; -1 where there is none. They sum to `total`."""
        rows: list[tuple[str, int, int, str, float]] = [("direct", -1, -1, "directly", self.direct)]
        for layer in range(self.layer, len(self.by_mlp)):
            if layer > self.layer:
                rows += [
                    ("head", layer, h, named((layer, h)), float(logit)) for h, logit in enumerate(self.by_head[layer].tolist())
                ]
            if layer > self.layer or self.head != MLP:
                rows.append(("MLP", layer, MLP, named((layer, MLP)), float(self.by_mlp[layer])))
        return pd.DataFrame(rows, columns=["kind", "layer", "head", "name", "logit"])

    def written_frame(self) -> pd.DataFrame:
        """One row per promoted or suppressed token: token, token_id, logit; the most promoted first."""
        ids = [*self.token_ids[0].tolist(), *self.token_ids[1].tolist()[::-1]]
        return pd.DataFrame({
            "token": [self.names[i] for i in ids], "token_id": ids, "logit": [*self.promoted[0], *self.promoted[1][::-1]],
        }).drop_duplicates("token_id", ignore_index=True)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ReadersRequest(Request[Readers]):
    """`readers` as a value."""

    analysis: ClassVar[str] = "readers"
    function: ClassVar[str] = "readers"

    prompt: str | tuple[int, ...]
    layer: int
    head: int
    """-1: the layer's MLP"""
    target: int | str | None = None
    """the likeliest next token where none is given"""
    against: int | str | None = None
    position: int = -1

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Readers:
        """Who reads it."""
        return _read(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=n, bytes=needed_bytes(model, n))

    def exactly(self, model: "infoflow.models.model.Model") -> "ReadersRequest":
        """Typed targets may leave out their leading space."""
        target, against = (None if t is None else model.token_id_near(t) for t in (self.target, self.against))
        return replace(self, model=model.spec, target=target, against=against)


def needed_bytes(model: "infoflow.models.model.Model", n_tokens: int) -> int:
    """Memory of `readers` beyond the weights: no more than `locate`'s, and three numbers for each token of the vocabulary."""
    return location.needed_bytes(model, n_tokens) + FLOAT * 3 * model.sizes().vocabulary


def readers(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    layer: int,
    head: int,
    target: int | str | None = None,
    against: int | str | None = None,
    position: int = -1,
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Readers:
    """What one head (or, with head -1, one MLP) contributes to the logit of `target` at `position`, or to its lead over
    `against`: directly, and through each later head and MLP that takes it on first; of a head by what it brings from where to
    where; and the tokens that its write promotes and suppresses most. Without a target it is the likeliest next token.

    `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: empty prompt, a target that is no single token, a position, layer or head that is not there.
        TooLarge: a prompt whose backward pass does not fit in memory.
    """
    request = ReadersRequest(
        model=model.spec, prompt=as_prompt(prompt), layer=layer, head=head, target=target, against=against, position=position,
        interventions=as_interventions(interventions),
    )  # fmt: skip
    return _read(request, model, on_progress)


def _read(
    request: ReadersRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Readers:
    from infoflow.traced.readers import readers_block

    tokens = model.encode(request.prompt)
    n, position, layer, head = len(tokens), request.position, request.layer, request.head
    check_position(position, n)
    plan = changed_plan(model, request.interventions, tokens)
    if not 0 <= layer < plan.n_layers:
        raise BadPrompt(f"There is no layer {layer}; the model has {plan.n_layers} (0 to {plan.n_layers - 1}).")
    if not MLP <= head < plan.n_heads:
        raise BadPrompt(f"There is no head {head}; a layer has {plan.n_heads} (0 to {plan.n_heads - 1}, or -1 for its MLP).")
    ids = [-1 if request.target is None else model.token_id(request.target)]
    ids += [] if request.against is None else [model.token_id(request.against)]
    refuse_here(model, needed_bytes(model, n), f"Readers over {n} tokens need", "Shorten the prompt")
    most = min(TOKENS, model.sizes().vocabulary)
    arguments = (n, layer, head, position % n, ids, most, on_progress)
    raw = model.run([t.id for t in tokens], readers_block, plan, *arguments)
    values: dict[str, Any] = {
        name: raw[name].numpy() for name in ("by_head", "by_mlp", "by_position", "token_ids", "promoted")
    }  # fmt: skip
    moves = None if raw["moves"] is None else raw["moves"].numpy()
    total = float(values["by_position"].sum(dtype=np.float64))
    taken = raw["direct"] + float(values["by_head"].sum(dtype=np.float64) + values["by_mlp"].sum(dtype=np.float64))
    brought = total if moves is None else float(moves.sum(dtype=np.float64)) + raw["bias"] + raw["put_in"]
    off = float(np.max([abs(taken - total), abs(brought - total), raw["off"]]))  # NaN stays one
    target, against = raw["ids"][0], ids[1] if len(ids) > 1 else None
    return Readers(
        **{**of_tokens(tokens, model.notes(request.prompt, tokens)), **values},
        layer=layer,
        head=head,
        target=target,
        target_name=model.name_of(target),
        against=against,
        against_name=None if against is None else model.name_of(against),
        position=position % n,
        direct=raw["direct"],
        moves=moves,
        bias=raw["bias"],
        put_in=raw["put_in"],
        names={int(i): model.name_of(int(i)) for i in np.unique(values["token_ids"])},
        total=total,
        logit_total=raw["total"],
        softcap=plan.softcap,
        max_error=off / max(1.0, abs(total), abs(raw["total"])),
        provenance=Provenance.of(
            model, replace(request, target=target, against=against), raw["dtype"], ids=tuple(t.id for t in tokens)
        ),
    )
