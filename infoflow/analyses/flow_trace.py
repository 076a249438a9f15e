"""What runs inside the trace to split the residual stream by source: here, or on a server that is sent this source.

Therefore torch, plain values and module calls only: nothing is imported inside a function, no `.weight` is read (a
server may hold none, or quantised ones), nothing of Streamlit is called, and no class of ours goes in or out. The steps
are numbered as in `flow.py`.
"""

import torch


def split(nn, tracer, arch, source_of, wanted, top_k, report):
    """The whole run: Gram matrices and errors of every layer, stage and position, and the logits of the last one."""
    layers = nn.get(arch.layers)
    n_layers = len(layers)
    grams, errors = [], []
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
        norm = layer.get(arch.attention_norm)
        scale, gain = _frozen_norm(norm, x, norm.output[0])
        attention = layer.get(arch.attention)
        pattern = attention.output[1][0].float()
        value, output = attention.get(arch.value), attention.get(arch.output)
        _attend(value, output, rows, scale, gain, pattern, pairs, arch.d_head)  # 2.
        norm = layer.get(arch.mlp_norm)
        x = norm.input[0].float()
        gram, error = _measure(rows, x, pairs)  # 4.
        grams.append(gram)
        errors.append(error)
        scale, gain = _frozen_norm(norm, x, norm.output[0])
        gate = layer.get(arch.gate).output[0].float()
        _feed(layer.get(arch.up), layer.get(arch.down), rows, scale, gain, gate, pairs)  # 3.
        x = layer.output
        x = (x[0] if isinstance(x, tuple) else x)[0].float()
        gram, error = _measure(rows, x, pairs)  # 4.
        grams.append(gram)
        errors.append(error)
        if report is not None:
            report(index + 1, n_layers)
    norm = nn.get(arch.final_norm)  # 5. end
    scale, gain = _frozen_norm(norm, x, norm.output[0])
    last = rows[pairs["start"][-1] :] * scale[-1] * gain
    unembed = nn.get(arch.unembed)
    logits = unembed.output[0, -1].float()
    parts = unembed(last).float()
    out = _final(parts, logits, wanted, top_k)
    n, size = len(source_of), parts.shape[0]
    return {
        **out,
        "gram": torch.stack(grams).reshape(n_layers, 2, n, size, size).cpu(),
        "error": torch.stack(errors).reshape(n_layers, 2, n).cpu(),
        "embedding_norm": embedding_norm.cpu(),
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
    index = {"pos": pos, "src": src, "own": own, "bias": start}
    out = {name: torch.tensor(values, device=device) for name, values in index.items()}
    out["biased"] = biased
    out["start"] = start
    out["size"] = [b - a for a, b in zip(start, [*start[1:], len(pos)], strict=True)]
    return out


def _frozen_norm(norm, x, y):
    """RMSNorm as a linear map: y = scale[p] * gain * x, its gain read off a probe, its scale off what it returned."""
    gain = norm(torch.full_like(x[:1], 1e4))[0].float()
    folded = gain * x
    return (y.float() * folded).sum(-1) / (folded * folded).sum(-1).clamp_min(1e-30), gain


def _offset(module, like):
    """What an affine map adds to everything: its value at zero."""
    return module(torch.zeros_like(like[:1]))[0].float()


def _attend(value, output, rows, scale, gain, pattern, pairs, d_head):
    """rows += W_O sum_k A[q, k] W_V norm(rows[k]); the value and output biases go to the bias source."""
    inner = value((rows * scale[pairs["pos"], None]).mul_(gain)).float()
    if pairs["biased"]:  # every row has got the bias; one copy belongs to the bias source, whose rows the pattern then mixes
        bias = _offset(value, rows)
        inner -= bias
        inner[pairs["bias"]] += bias
    mixed = _mix(inner, pattern, pairs, d_head)
    rows += output(mixed).float()
    if pairs["biased"]:
        bias = _offset(output, mixed)
        rows -= bias
        rows[pairs["bias"]] += bias


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


def _feed(up, down, rows, scale, gain, gate, pairs):
    """rows += W_down (gate[p] * W_up norm(rows)), a block of rows at a time; the biases go to the bias source."""
    pos = pairs["pos"]
    up_bias, down_bias = (_offset(up, rows), _offset(down, gate)) if pairs["biased"] else (None, None)
    for first in range(0, len(pos), 1024):  # the hidden width is several times d_model: never hold it for all rows
        part = slice(first, first + 1024)
        hidden = up((rows[part] * scale[pos[part], None]).mul_(gain)).float()
        if pairs["biased"]:
            hidden -= up_bias
        rows[part] += down(hidden.mul_(gate[pos[part]])).float()
        if pairs["biased"]:
            rows[part] -= down_bias
    if pairs["biased"]:
        rows[pairs["bias"]] += down(gate * up_bias).float()  # the down bias comes with it


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


def _final(parts, logits, wanted, top_k):
    """What each source adds to the logits of the targets, and whether all of them together give the model's."""
    summed = parts.sum(0)
    probability = torch.softmax(logits, -1)
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
