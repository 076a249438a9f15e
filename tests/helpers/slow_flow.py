"""The decomposition in the most obvious way: loops over positions, sources and heads, in float64, weights read directly.

It shares no code with `infoflow`: the forward pass is transformers' own, watched by hooks.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass
class Watched:
    """What a plain forward pass computed, float64."""

    resid_pre: list[np.ndarray] = field(default_factory=list)
    resid_mid: list[np.ndarray] = field(default_factory=list)
    resid_post: list[np.ndarray] = field(default_factory=list)
    pattern: list[np.ndarray] = field(default_factory=list)
    gate: list[np.ndarray] = field(default_factory=list)
    logits: np.ndarray = field(default_factory=lambda: np.zeros(0))


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def watch(hf: Any, ids: list[int]) -> Watched:
    """Run the model once with hooks on it."""
    seen = Watched()
    hooks = []
    for layer in hf.model.layers:
        hooks += [
            layer.register_forward_pre_hook(lambda m, args: seen.resid_pre.append(_array(args[0][0]))),
            layer.self_attn.register_forward_hook(lambda m, args, out: seen.pattern.append(_array(out[1][0]))),
            layer.post_attention_layernorm.register_forward_pre_hook(lambda m, args: seen.resid_mid.append(_array(args[0][0]))),
            layer.mlp.act_fn.register_forward_hook(lambda m, args, out: seen.gate.append(_array(out[0]))),
            layer.register_forward_hook(
                lambda m, args, out: seen.resid_post.append(_array((out[0] if isinstance(out, tuple) else out)[0]))
            ),
        ]
    with torch.no_grad():
        seen.logits = _array(hf(torch.tensor([ids])).logits[0])
    for hook in hooks:
        hook.remove()
    return seen


def contributions(hf: Any, ids: list[int]) -> tuple[np.ndarray, Watched]:
    """C[layer, stage, position, source, d_model]; the last source is the bias."""
    seen = watch(hf, ids)
    config = hf.config
    n, d = seen.resid_pre[0].shape
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    eps = config.rms_norm_eps
    c = np.zeros((n, n + 1, d))
    for p in range(n):
        c[p, p] = seen.resid_pre[0][p]
    out = np.zeros((len(hf.model.layers), 2, n, n + 1, d))
    for index, layer in enumerate(hf.model.layers):
        attention, mlp = layer.self_attn, layer.mlp
        gain = _array(layer.input_layernorm.weight)
        w_v, w_o = _array(attention.v_proj.weight), _array(attention.o_proj.weight)
        b_v = _array(attention.v_proj.bias) if attention.v_proj.bias is not None else np.zeros(w_v.shape[0])
        b_o = _array(attention.o_proj.bias) if attention.o_proj.bias is not None else np.zeros(d)
        new = c.copy()
        for q in range(n):
            for h in range(heads):
                rows = slice((h // (heads // kv_heads)) * width, (h // (heads // kv_heads)) * width + width)
                to_stream = w_o[:, h * width : (h + 1) * width]
                for k in range(q + 1):
                    weight = seen.pattern[index][h, q, k]
                    rms = np.sqrt(np.mean(seen.resid_pre[index][k] ** 2) + eps)
                    for s in [*range(k + 1), n]:
                        value = w_v[rows] @ (gain * c[k, s] / rms)
                        if s == n:
                            value = value + b_v[rows]
                        new[q, s] += to_stream @ (weight * value)
            new[q, n] += b_o
        c = new
        out[index, 0] = c
        gain = _array(layer.post_attention_layernorm.weight)
        for p in range(n):
            rms = np.sqrt(np.mean(seen.resid_mid[index][p] ** 2) + eps)
            for s in range(n + 1):
                up = _array(mlp.up_proj.weight) @ (gain * c[p, s] / rms)
                c[p, s] = c[p, s] + _array(mlp.down_proj.weight) @ (seen.gate[index][p] * up)
        out[index, 1] = c
    return out, seen


def merge(c: np.ndarray, members: list[int]) -> np.ndarray:
    """Sources added up as vectors: members[s] is the group of source s."""
    out = np.zeros((*c.shape[:-2], max(members) + 1, c.shape[-1]))
    for s, group in enumerate(members):
        out[..., group, :] += c[..., s, :]
    return out


def shares(c: np.ndarray, metric: str, hidden: tuple[int, ...] = ()) -> np.ndarray:
    """Shares straight from the vectors; hidden sources are taken out of the sum. c: [..., source, d_model]."""
    out = np.zeros(c.shape[:-1])
    for cell in np.ndindex(*c.shape[:-2]):
        visible = [s for s in range(c.shape[-2]) if s not in hidden]
        whole = sum(c[cell][s] for s in visible)
        for s in visible:
            part = c[cell][s]
            if metric == "norm":
                out[cell][s] = np.linalg.norm(part)
            elif metric == "projection":
                out[cell][s] = part @ whole
            else:
                out[cell][s] = max(0.0, np.linalg.norm(whole) - np.linalg.norm(whole - part))
        total = out[cell].sum()
        out[cell] = out[cell] / total if total > 0 else 0.0
    return out
