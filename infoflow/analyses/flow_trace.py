"""What runs inside the trace to split the residual stream by source: here, or on a server that is sent this source.

Therefore torch, plain values and module calls only: nothing is imported inside a function, no `.weight` is read (a
server may hold none, or quantised ones), nothing of Streamlit is called, and no class of ours goes in or out. The steps
are numbered as in `flow.py`. What the model computed (inputs, outputs, patterns) is captured, never recomputed.
"""

import torch


def split(nn, tracer, arch, source_of, wanted, top_k, report):
    """The whole run: Gram matrices and errors of every layer, stage and position, and the logits of the last one."""
    layers = nn.get(arch.layers)
    n_layers = len(layers)
    grams, errors, row_error = [], [], 0.0
    rows = pairs = embedding_norm = None
    for index in range(n_layers):
        layer = layers[index]
        x = layer.input[0].float()
        if rows is None:  # 1. start
            pairs = _pairs(source_of, arch.biased, x.device)
            own = pairs["own"]
            rows = x.new_zeros(len(pairs["pos"]), x.shape[-1])
            rows[own] = x
            embedding_norm = x.norm(dim=-1)
        read = _norm_of(layer, arch.attention_norm, pairs)
        attention = layer.get(arch.attention)
        out = attention.output
        written, pattern = out[0][0].float(), out[1][0].float()
        row_error = max(row_error, float((pattern.sum(-1) - 1).abs().max()))
        add = _norm_of(layer, arch.attention_post_norm, pairs)
        before = rows.clone() if arch.parallel else rows
        _attend(attention, arch, rows, read, pattern, add, pairs)  # 2.
        if arch.parallel:  # the MLP reads what attention read; in between is what attention alone has added
            mid = x + arch.residual_multiplier * written
            read = _norm_of(layer, arch.mlp_norm, pairs) or read
        elif arch.mlp_norm:
            read = _norm_of(layer, arch.mlp_norm, pairs)
            mid = read["input"]
        else:
            mid, read = layer.get(arch.mlp).input[0].float(), None
        gram, error = _measure(rows, mid, pairs)  # 4.
        grams.append(gram)
        errors.append(error)
        gate = _gate_of(layer, arch, len(x))
        add = _norm_of(layer, arch.mlp_post_norm, pairs)
        _feed(layer, arch, rows, before, read, gate, add, pairs)  # 3.
        x = layer.output
        x = (x[0] if isinstance(x, tuple) else x)[0].float()
        gram, error = _measure(rows, x, pairs)  # 4.
        grams.append(gram)
        errors.append(error)
        if report is not None:
            report(index + 1, n_layers)
    read = _norm_of(nn, arch.final_norm, pairs)  # 5. end
    unembed = nn.get(arch.unembed)
    logits = unembed.output[0, -1].float()
    last = slice(pairs["start"][-1], len(rows))
    parts = _linear(unembed, _normed(rows[last], read, last, pairs), last, pairs)
    out = _final(parts, logits, tracer.result.logits[0, -1].float(), wanted, top_k)
    n, size = len(source_of), parts.shape[0]
    return {
        **out,
        "gram": torch.stack(grams).reshape(n_layers, 2, n, size, size).cpu(),
        "error": torch.stack(errors).reshape(n_layers, 2, n).cpu(),
        "embedding_norm": embedding_norm.cpu(),
        "row_error": row_error,
    }


def _pairs(source_of, biased, device):
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


def _linear(module, rows, part, pairs):
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


def _normed(rows, norm, part, pairs):
    """The frozen norm of some rows; always a new tensor."""
    if norm is None:
        return rows.clone()
    rows = rows - rows.mean(-1, keepdim=True) if norm["centred"] else rows
    out = (rows * norm["scale"][part]).mul_(norm["gain"])
    if pairs["biased"]:
        out += pairs["is_bias"][part] * norm["bias"]
    return out


def _attend(attention, arch, rows, read, pattern, add, pairs):
    """rows += W_O sum_k A[q, k] W_V norm(rows[k]), through the norm after it where there is one."""
    every = slice(None)
    inner = _linear(attention.get(arch.value), _normed(rows, read, every, pairs), every, pairs)
    mixed = _mix(_values(inner, arch), pattern, pairs, arch.d_head)
    written = _linear(attention.get(arch.output), mixed, every, pairs)
    rows += arch.residual_multiplier * (written if add is None else _normed(written, add, every, pairs))


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


def _feed(layer, arch, rows, before, read, gate, add, pairs):
    """rows += W_down (gate[p] * W_up norm(before)), a block of rows at a time."""
    up, down, pos = layer.get(arch.up), layer.get(arch.down), pairs["pos"]
    for first in range(0, len(pos), 1024):  # the hidden width is several times d_model: never hold it for all rows
        part = slice(first, first + 1024)
        hidden = _linear(up, _normed(before[part], read, part, pairs), part, pairs)
        hidden = hidden[:, -gate.shape[-1] :]  # a fused projection holds [gate | up]
        written = _linear(down, hidden * gate[pos[part]], part, pairs)
        rows[part] += arch.residual_multiplier * (written if add is None else _normed(written, add, part, pairs))


def _measure(rows, x, pairs):
    """Gram matrix of the sources at each position, and |sum of rows - x| / |x|. In float64: sums of squares cancel."""
    n, size = len(x), max(pairs["size"])
    gram, error = x.new_zeros(n, size, size), x.new_zeros(n)
    for p in range(n):
        k = pairs["size"][p]
        parts = rows[pairs["start"][p] : pairs["start"][p] + k].double()
        gram[p, :k, :k] = (parts @ parts.T).float()
        whole = x[p].double()
        error[p] = ((parts.sum(0) - whole).norm() / whole.norm().clamp_min(1e-30)).float()
    return gram, error


def _final(parts, logits, answer, wanted, top_k):
    """What each source adds to the logits of the targets, and whether all of them together give the model's.

    `logits` are those of the unembedding, which is linear; `answer` are the model's own, after a soft cap or a
    multiplier where it has one: its probabilities are the model's.
    """
    summed = parts.sum(0)
    probability = torch.softmax(answer, -1)
    eight = min(8, len(logits))
    order = logits.topk(min(max(top_k, 8), len(logits))).indices
    ours = summed.topk(eight).indices
    top = [int(i) for i in order[:top_k]]
    ids = list(dict.fromkeys([*wanted, *top]))
    row = {i: (i, float(probability[i]), float(logits[i])) for i in ids}
    return {
        "top": [row[i] for i in top],
        "targets": [row[i] for i in ids],
        "source_logits": parts[:, ids].cpu(),
        "logit_error": float((summed - logits).abs().max() / logits.abs().max().clamp_min(1e-30)),
        "top_agrees": bool(ours[0] == order[0]) and set(ours.tolist()) == set(order[:eight].tolist()),
    }
