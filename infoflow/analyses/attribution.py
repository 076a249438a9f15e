"""Which tokens, heads and MLPs raise a logit? Contributions that sum to it, by one backward pass.

1. One run of the model gives patterns, gates and norm scales (`frozen.py`); with them fixed the logit is a linear function
   of the embeddings.
2. Forward again through the linear maps, from the embeddings; backward once from the logit (or the difference of two):
   the contribution of source token s is e_s . d logit / d e_s. It equals the forward decomposition of `flow.py`, but
   memory grows with layers x tokens x width, so long prompts fit.
3. Direct logit attribution: with the final norm frozen, each head, each MLP, the embedding and the biases write a vector
   into the stream whose product with the target's direction is its direct contribution; these sum to the logit as well.
   Published tools leave the final norm out (`direct="without norm"`: z W_O . W_U[t]); that form sums to x . W_U[t] instead.

A logit means little by itself, since adding a constant to all of them changes nothing: give a rival (`against`), or take
the logit over the mean of the vocabulary's (`centred=True`).

Source: the frozen-linear view of Elhage et al. (2021); direct logit attribution as in Wang et al. (2022), with the final
norm's gain and scale folded in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow import budget
from infoflow.analyses.attribution_trace import attribute_block
from infoflow.errors import BadPrompt
from infoflow.provenance import Provenance
from infoflow.tokens import label, unique

if TYPE_CHECKING:
    import infoflow.model


FORMS = ("folded", "without norm")


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """A logit (or the difference of two) at one position, split twice: by source token, and by what wrote it. In logits."""

    tokens: tuple[str, ...]
    """labels of the prompt's tokens, unique"""
    target: int
    against: int | None
    position: int
    by_source: Float[np.ndarray, " source"]
    """one per token; with `bias` they sum to `total`"""
    bias: float
    """what the weights' biases contribute along all paths"""
    by_head: Float[np.ndarray, "layer head"]
    """direct: <W_O^h z, direction>, through the frozen final norm"""
    by_mlp: Float[np.ndarray, " layer"]
    embedding: float
    """direct contribution of the position's own embedding"""
    direct_bias: float
    """direct contribution of the biases of attention's output, of norms after a branch, of the final norm and unembedding"""
    total: float
    """the logit before any soft cap, or the difference"""
    direct: str
    """"folded" or "without norm": whether by_head, by_mlp, embedding and direct_bias go through the frozen final norm"""
    direct_total: float
    """what those four sum to: `total` where the norm is folded in, else <x, W_U[t]>"""
    centred: bool
    """whether the mean logit of the vocabulary is taken off"""
    max_error: float
    """largest of |sum of each split - its total|, relative to the larger of |total| and 1"""
    provenance: Provenance

    @property
    def by_layer(self) -> Float[np.ndarray, " layer"]:
        """Direct contribution of each layer, its heads and its MLP together."""
        return self.by_head.sum(1) + self.by_mlp

    def to_frame(self) -> pd.DataFrame:
        """One row per token: position, token, logit; the bias last, at position -1."""
        positions = [*range(len(self.by_source)), -1]
        return pd.DataFrame({
            "position": positions, "token": [*self.tokens, "bias"], "logit": [*self.by_source.tolist(), self.bias],
        })  # fmt: skip

    def direct_frame(self) -> pd.DataFrame:
        """One row per writer: kind (embedding, head, MLP, bias), layer, head, logit; -1 where there is none."""
        layer, head = np.indices(self.by_head.shape).reshape(2, -1)
        return pd.concat([
            pd.DataFrame({"kind": "embedding", "layer": [-1], "head": -1, "logit": [self.embedding]}),
            pd.DataFrame({"kind": "head", "layer": layer, "head": head, "logit": self.by_head.ravel()}),
            pd.DataFrame({"kind": "MLP", "layer": range(len(self.by_mlp)), "head": -1, "logit": self.by_mlp}),
            pd.DataFrame({"kind": "bias", "layer": [-1], "head": -1, "logit": [self.direct_bias]}),
        ], ignore_index=True)  # fmt: skip


def attribute(
    model: "infoflow.model.Model",
    prompt: str | Sequence[int],
    target: int | str,
    against: int | str | None = None,
    position: int = -1,
    interventions: Sequence[Any] = (),
    centred: bool = False,
    direct: str = "folded",
    on_progress: Callable[[int, int], None] | None = None,
) -> Attribution:
    """Contribution of each source token to the logit of `target` at `position`, or to its lead over `against`.

    by_source[s] = e_s . d logit / d e_s with patterns, gates and norm scales frozen; and, apart from that, the direct
    contribution of every head, MLP, the embedding and the biases. `centred` takes the mean logit off, `direct` says whether
    the direct contributions go through the final norm ("folded") or not ("without norm", the published form).
    `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: empty prompt, a target that is no single token, a position outside the prompt, an unknown form.
        TooLarge: a prompt whose backward pass does not fit in memory.
    """
    if direct not in FORMS:
        raise BadPrompt(f"There is no direct attribution '{direct}'. Use one of: {', '.join(FORMS)}.")
    if interventions:
        raise BadPrompt("Interventions are not part of this version; run without them.")
    tokens = model.encode(prompt)
    n = len(tokens)
    if not -n <= position < n:
        raise BadPrompt(f"There is no position {position}; the prompt has {n} tokens (0 to {n - 1}, or -1 for the last).")
    ids = [model.token_id(t) for t in (target, against) if t is not None]
    budget.check_attribution(model, n)
    arguments = (n, position % n, ids, centred, direct == "folded", on_progress)
    raw = model.run([t.id for t in tokens], attribute_block, model.plan(), *arguments)
    sources = float(raw["by_source"].sum()) + raw["bias"]
    writers = float(raw["by_head"].sum() + raw["by_mlp"].sum()) + raw["embedding"] + raw["direct_bias"]
    off = max(abs(sources - raw["total"]), abs(writers - raw["direct_total"]))
    return Attribution(
        tokens=unique([label(t) for t in tokens]),
        target=ids[0],
        against=ids[1] if len(ids) > 1 else None,
        position=position % n,
        by_source=raw["by_source"].numpy(),
        bias=raw["bias"],
        by_head=raw["by_head"].numpy(),
        by_mlp=raw["by_mlp"].numpy(),
        embedding=raw["embedding"],
        direct_bias=raw["direct_bias"],
        total=raw["total"],
        direct=direct,
        direct_total=raw["direct_total"],
        centred=centred,
        max_error=off / max(1.0, abs(raw["total"])),
        provenance=Provenance.of(model, prompt, raw["dtype"]),
    )
