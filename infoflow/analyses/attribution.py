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
import torch
from jaxtyping import Float

from infoflow import budget
from infoflow.errors import BadPrompt
from infoflow.frozen import (
    attention_writes,
    capture,
    final_norm,
    mix,
    mlp_writes,
    normed,
    pairs_of,
    unembed,
    values_of,
)  # fmt: skip
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
    )


def attribute_block(
    nn: Any, tracer: Any, arch: Any, n: int, position: int, ids: list[int], centred: bool, folded: bool, report: Any
) -> dict[str, Any]:
    """The whole of it, inside a trace. One row per position for the tokens together, and one for the biases."""
    layers = nn.get(arch.layers)
    pairs = pairs_of([0] * n, arch.biased, arch.device)
    here = slice(pairs["start"][position], pairs["start"][position] + pairs["size"][position])
    every = slice(None)
    embeddings = rows = torch.empty(0)
    heads, writes = [], []
    for index in range(len(layers)):
        seen = capture(layers, index, arch, pairs)
        with torch.enable_grad():  # 2.
            if index == 0:
                embeddings = seen["pre"].detach().clone().requires_grad_()
                rows = embeddings.new_zeros(len(pairs["pos"]), embeddings.shape[-1]).index_add(0, pairs["own"], embeddings)
            z = mix(values_of(rows, seen, arch, every, pairs), seen["pattern"], arch, every, pairs)
            before = rows
            rows = rows + attention_writes(z, seen, arch, every, pairs)
            written = mlp_writes(before if arch.parallel else rows, seen, arch, every, pairs)
            rows = rows + written
        heads.append(({"output": seen["output"], "add": seen["add"]}, z[here].detach()))
        writes.append(written[here].detach().sum(0))
        if report is not None:
            report(index + 1, len(layers))
    norm = final_norm(nn, arch, pairs)
    head = nn.get(arch.unembed)
    dtype, logits = head.input.dtype, head.output[0, position].float()
    mean = 1 / len(logits) if centred and len(ids) == 1 else 0.0  # a difference of two is free of it anyway
    weight = torch.zeros_like(logits) - mean  # of each logit in what is attributed
    weight[ids[0]] += 1
    if len(ids) > 1:
        weight[ids[1]] -= 1
    with torch.enable_grad():
        end = rows[here]
        logit = (unembed(head, normed(end, norm, here, pairs), dtype, here, pairs) @ weight).sum()
        gradient, direction = torch.autograd.grad(logit, [embeddings, end])
        if not folded:
            (direction,) = torch.autograd.grad((unembed(head, end, dtype, here, pairs) @ weight).sum(), end)
    logit, end, direction = logit.detach(), end.detach(), direction[-1]
    by_source = (gradient * embeddings.detach()).sum(-1)
    direct = [_heads_direct(arch, seen, z, here, pairs, direction) for seen, z in heads]  # 3.
    nothing = torch.zeros_like(end)  # what of the logit is there without any residual: biases of final norm and unembedding
    at_end = float((unembed(head, normed(nothing, norm, here, pairs), dtype, here, pairs) @ weight).sum()) if folded else 0.0
    of_biases = sum(bias for _, bias in direct) + at_end
    return {
        "by_source": by_source.cpu(),
        "bias": float(logit - by_source.sum()) if arch.biased else 0.0,
        "by_head": torch.stack([share for share, _ in direct]).cpu(),
        "by_mlp": torch.stack([write @ direction for write in writes]).cpu(),
        "embedding": float(embeddings[position].detach() @ direction),
        "direct_bias": of_biases,
        "total": float(logits @ weight),
        "direct_total": float(logits @ weight) if folded else float(end.sum(0) @ direction),
    }


def _heads_direct(
    arch: Any, seen: dict, z: torch.Tensor, here: slice, pairs: dict, direction: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """<W_O^h z, direction> of each head of a layer at one position, and what the output's and post-norm's biases add."""
    with torch.enable_grad():
        z = z.clone().requires_grad_()
        write = (attention_writes(z, seen, arch, here, pairs) @ direction).sum()
        (slope,) = torch.autograd.grad(write, z)
    share = (slope * z.detach()).view(len(z), arch.n_heads, arch.d_head).sum((0, 2))
    biases = float((attention_writes(torch.zeros_like(z.detach()), seen, arch, here, pairs) @ direction).sum())
    return share, biases
