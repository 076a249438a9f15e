"""One run of the model with patterns, gates and norm scales held fixed: what is left is linear, and acts on rows.

These functions run inside a trace, here or on a server that is sent their source. Therefore torch, plain values and
module calls only: nothing is imported inside a function, no `.weight` is read (a server may hold none, or quantised
ones), nothing of Streamlit is called, and no class of ours goes in or out. What the model computed (inputs, outputs,
patterns) is captured, never recomputed.

A *row* is the part of one position's residual that belongs to one source; `pairs` says which row is which.
"""

import torch


def pairs_of(source_of, biased, device):
    """Rows of the packed state: for each position the sources met so far, the bias first where the model has one.

    Sources are numbered by first appearance, so those of one position are always a prefix.
    """
    pos, src, own, start, met, shift = [], [], [], [], 0, int(biased)
    for p, s in enumerate(source_of):
        met = max(met, s + 1)
        start.append(len(pos))
        own.append(len(pos) + s + shift)
        pos.extend([p] * (met + shift))
        src.extend(range(met + shift))
    index = {"pos": pos, "src": src, "own": own}
    out = {name: torch.tensor(values, device=device) for name, values in index.items()}
    out["biased"] = biased
    out["is_bias"] = (out["src"] == 0).float()[:, None] if biased else None
    out["start"] = start
    out["size"] = [b - a for a, b in zip(start, [*start[1:], len(pos)], strict=True)]
    return out


def capture(layer, arch, pairs):
    """What one layer computed on this run, read in the order in which it computes it.

    `pre`, `mid`, `post`: the residual before the layer, after attention, after the MLP. `read` and `add` hold the norms
    before and after attention, `mlp_read` and `mlp_add` those around the MLP; `gate` what its hidden units are
    multiplied by.
    """
    x = layer.input[0].float()
    read = _norm_of(layer, arch.attention_norm, pairs)
    out = layer.get(arch.attention).output
    written, pattern = out[0][0].float(), out[1][0].float()
    add = _norm_of(layer, arch.attention_post_norm, pairs)
    if arch.parallel:  # the MLP reads what attention read; in between is what attention alone has added
        mid = x + arch.residual_multiplier * written
        mlp_read = _norm_of(layer, arch.mlp_norm, pairs) or read
    elif arch.mlp_norm:
        mlp_read = _norm_of(layer, arch.mlp_norm, pairs)
        mid = mlp_read["input"]
    else:
        mid, mlp_read = layer.get(arch.mlp).input[0].float(), None
    gate = _gate_of(layer, arch, len(x))
    mlp_add = _norm_of(layer, arch.mlp_post_norm, pairs)
    after = layer.output
    after = (after[0] if isinstance(after, tuple) else after)[0].float()
    return {
        "pre": x, "mid": mid, "post": after, "pattern": pattern, "gate": gate,
        "read": read, "add": add, "mlp_read": mlp_read, "mlp_add": mlp_add,
    }  # fmt: skip


def linear(module, rows, part, pairs):
    """The linear part of an affine module on every row; its bias (its value at zero) on the bias source's rows alone."""
    out = module(rows).float()
    if pairs["biased"]:
        bias = module(torch.zeros_like(rows[:1]))[0].float()
        out -= (1 - pairs["is_bias"][part]) * bias
    return out


def _norm_of(owner, path, pairs):
    """A norm as a linear map with its scale frozen: y = scale[p] * gain * (x - mean) + bias; None where there is none.

    Gain and bias are read off probes: a norm of zero is its bias; equal entries vanish in a LayerNorm and give the gain
    of an RMSNorm, alternating ones give a LayerNorm's. The scale is read off what the norm returned on this run.
    """
    if not path:
        return None
    norm = owner.get(path)
    given, y = norm.input, norm.output
    like = given.reshape(-1, given.shape[-1])[:1]
    x, y = given.reshape(-1, given.shape[-1]).float(), y.reshape(-1, y.shape[-1]).float()
    bias = norm(torch.zeros_like(like))[0].float() if pairs["biased"] else x.new_zeros(x.shape[-1])
    gain = norm(torch.full_like(like, 1e4))[0].float() - bias
    centred = bool(gain.abs().max() < 1e-3)
    if centred:
        sign = torch.ones_like(like)
        sign[:, 1::2] = -1
        gain = (norm(sign * 1e4)[0].float() - bias) * sign[0].float()
    folded = gain * (x - x.mean(-1, keepdim=True) if centred else x)
    scale = ((y - bias) * folded).sum(-1) / (folded * folded).sum(-1).clamp_min(1e-30)
    return {"input": x, "scale": scale[pairs["pos"], None], "gain": gain, "bias": bias, "centred": centred}


def normed(rows, norm, part, pairs):
    """The frozen norm of some rows; always a new tensor."""
    if norm is None:
        return rows.clone()
    rows = rows - rows.mean(-1, keepdim=True) if norm["centred"] else rows
    out = (rows * norm["scale"][part]).mul_(norm["gain"])
    if pairs["biased"]:
        out += pairs["is_bias"][part] * norm["bias"]
    return out


def heads_of(layer, arch, rows, seen, pairs):
    """z = sum_k A[q, k] W_V norm(rows[k]) of every head, side by side: what attention's output projection reads."""
    every = slice(None)
    inner = linear(layer.get(arch.attention).get(arch.value), normed(rows, seen["read"], every, pairs), every, pairs)
    return _mix(_values(inner, arch), seen["pattern"], pairs, arch.d_head)


def attention_writes(layer, arch, z, seen, part, pairs):
    """What attention adds to some rows, given z: output projection, then the norm and the multiplier where there are any."""
    written = linear(layer.get(arch.attention).get(arch.output), z, part, pairs)
    written = written if seen["add"] is None else normed(written, seen["add"], part, pairs)
    return written if arch.residual_multiplier == 1 else arch.residual_multiplier * written


def mlp_writes(layer, arch, rows, seen, part, pairs):
    """What the MLP adds to some rows: W_down (gate[p] * W_up norm(rows)), then the norm and the multiplier."""
    gate = seen["gate"]
    hidden = linear(layer.get(arch.up), normed(rows, seen["mlp_read"], part, pairs), part, pairs)
    hidden = hidden[:, -gate.shape[-1] :]  # a fused projection holds [gate | up]
    written = linear(layer.get(arch.down), hidden.mul_(gate[pairs["pos"][part]]), part, pairs)
    written = written if seen["mlp_add"] is None else normed(written, seen["mlp_add"], part, pairs)
    return written if arch.residual_multiplier == 1 else arch.residual_multiplier * written


def final_norm(nn, arch, pairs):
    """The norm before the unembedding, frozen."""
    return _norm_of(nn, arch.final_norm, pairs)


def _values(inner, arch):
    """The values among the outputs of a projection that may hold queries and keys as well."""
    width = arch.n_heads * arch.d_head
    if arch.fused == "blocks":  # [all queries | all keys | all values]
        return inner[:, width + arch.n_kv_heads * arch.d_head :]
    if arch.fused == "per head":  # head by head [query | key | value]
        return inner.view(len(inner), arch.n_heads, 3, arch.d_head)[:, :, 2].reshape(len(inner), width)
    return inner


def _mix(inner, pattern, pairs, d_head):
    """z[q, s] of each head = sum_k A[q, k] v[k, s]: one product per key/value head, packed rows in and out."""
    n_heads, n, _ = pattern.shape
    n_kv, n_src = inner.shape[-1] // d_head, max(pairs["size"])
    values = inner.new_zeros(n, n_src, n_kv, d_head)
    values[pairs["pos"], pairs["src"]] = inner.view(-1, n_kv, d_head)
    values = values.permute(2, 0, 1, 3).reshape(n_kv, n, n_src * d_head)
    z = torch.bmm(pattern.reshape(n_kv, -1, n), values)  # query heads that share a value head are its rows
    z = z.view(n_kv, n_heads // n_kv, n, n_src, d_head).permute(2, 3, 0, 1, 4)
    return z[pairs["pos"], pairs["src"]].reshape(-1, n_heads * d_head)


def _gate_of(layer, arch, n):
    """What each hidden unit is multiplied by, frozen: act(gate), or act(u) / u where there is no gate, act'(0) at u = 0."""
    if arch.gated:
        gate = layer.get(arch.gate).output
        return gate.reshape(n, gate.shape[-1]).float()
    module = layer.get(arch.up)
    u = module.output
    u = u.reshape(n, u.shape[-1]).float()
    act = layer.get(arch.gate)
    after = act.output
    near = torch.full_like(after.reshape(-1)[:1], 1e-3)
    slope = (act(near) - act(-near)).float() / (2 * near.float())
    tiny = u.abs() < 1e-6
    return torch.where(tiny, slope, after.reshape(u.shape).float() / torch.where(tiny, torch.ones_like(u), u))
