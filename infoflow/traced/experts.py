"""Mixtures of experts with the router's choice and weights, and each expert's gate, held fixed.

    y[p] = sum_e w[p, e] W_down^e (g[p, e] * W_up^e x[p]),   g = act(W_gate^e x)

Transformers keeps the experts of a layer in two stacked parameters, with flags that say how they are laid out (transposed,
gate and up interleaved, biases). No module call gives the up projection alone, so these are the only weights that the
decomposition reads, and a mixture of experts needs them on this machine.

Where the hidden units are clamped (GPT-OSS), the frozen factor is clamp(u) / u, as for an activation without a gate.
"""

from typing import Any

import torch

Tensor = torch.Tensor


def freeze_experts(experts: Any, given: Tensor, scores: Tensor, chosen: Tensor) -> list[dict[str, Any]]:
    """What each chosen expert computed for its positions: a list of {expert, slot, factor, constant, weight}.

    `slot[p]` is the row of position p in the other tensors, -1 where the expert was not chosen; `factor` is what its
    hidden units are multiplied by, `constant` what is added whatever the input is; both with the router's weight.
    """
    x = given.reshape(-1, given.shape[-1]).float()
    out = []
    for e in sorted(set(chosen.flatten().tolist())):
        where, which = torch.where(chosen == e)
        weight = scores[where, which].float()[:, None]
        gate_matrix, up_matrix, gate_bias, up_bias = _gate_and_up(experts, e)
        gate = x[where] @ gate_matrix + gate_bias
        up = x[where] @ up_matrix + up_bias
        # affine in u between its clamps: two probes give slope and constant
        at_zero = _apply(experts, gate, torch.zeros_like(up))
        slope = _apply(experts, gate, torch.ones_like(up)) - at_zero
        limit = getattr(experts, "limit", None)
        if limit is not None:
            safe = torch.where(up.abs() > limit, up, torch.ones_like(up))
            slope = slope * torch.where(up.abs() > limit, up.clamp(-limit, limit) / safe, torch.ones_like(up))
        slot = torch.full((len(x),), -1, dtype=torch.long, device=x.device)
        slot[where] = torch.arange(len(where), device=x.device)
        out.append({
            "module": experts, "expert": e, "slot": slot, "factor": slope * weight,
            "constant": (at_zero + slope * up_bias) * weight, "weight": weight,
        })  # fmt: skip
    return out


def experts_write(frozen: list[dict[str, Any]], rows: Tensor, position: Tensor, is_bias: Tensor) -> Tensor:
    """What the chosen experts write for some rows at positions `position`; their constants and biases on the bias rows alone."""
    out = torch.zeros_like(rows)
    for one in frozen:
        slot = one["slot"][position]
        here = (slot >= 0).nonzero()[:, 0]
        if len(here) == 0:
            continue
        slot, bias_rows = slot[here], is_bias[here]
        _, up, _, _ = _gate_and_up(one["module"], one["expert"])
        hidden = (rows[here] @ up) * one["factor"][slot]
        hidden[bias_rows] += one["constant"][slot[bias_rows]]
        down, down_bias = _down(one["module"], one["expert"])
        written = hidden @ down
        written[bias_rows] += one["weight"][slot[bias_rows]] * down_bias
        out = out.index_add(0, here, written)
    return out


def _gate_and_up(experts: Any, e: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gate and up matrices [inputs, hidden] and their biases of one expert, float32."""
    both = experts.gate_up_proj[e]
    both = (both if experts.is_transposed else both.T).float()
    bias = experts.gate_up_proj_bias[e].float() if experts.has_bias else both.new_zeros(both.shape[-1])
    if experts.is_concatenated:
        half = both.shape[-1] // 2
        return both[:, :half], both[:, half:], bias[:half], bias[half:]
    return both[:, ::2], both[:, 1::2], bias[::2], bias[1::2]


def _down(experts: Any, e: int) -> tuple[Tensor, Tensor]:
    matrix = experts.down_proj[e]
    matrix = (matrix if experts.is_transposed else matrix.T).float()
    bias = experts.down_proj_bias[e].float() if experts.has_bias else matrix.new_zeros(matrix.shape[-1])
    return matrix, bias


def _apply(experts: Any, gate: Tensor, up: Tensor) -> Tensor:
    """The module's own gating of given gate and up values."""
    both = torch.cat([gate, up], -1) if experts.is_concatenated else torch.stack([gate, up], -1).flatten(-2)
    out: Tensor = experts._apply_gate(both)
    return out
