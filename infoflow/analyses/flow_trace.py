"""What runs inside the trace to split the residual stream by source. The steps are numbered as in `flow.py`.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.frozen import attention_writes, capture, final_norm, heads_of, linear, mlp_writes, normed, pairs_of


def split(nn, tracer, arch, source_of, wanted, top_k, report):
    """The whole run: Gram matrices and errors of every layer, stage and position, and the logits of the last one."""
    layers = nn.get(arch.layers)
    n_layers = len(layers)
    pairs = pairs_of(source_of, arch.biased, arch.device)
    grams, errors, row_error = [], [], 0.0
    rows = embedding_norm = None
    for index in range(n_layers):
        layer = layers[index]
        seen = capture(layer, arch, pairs)
        if rows is None:  # 1. start
            x = seen["pre"]
            rows = x.new_zeros(len(pairs["pos"]), x.shape[-1])
            rows[pairs["own"]] = x
            embedding_norm = x.norm(dim=-1)
        before = rows.clone() if arch.parallel else rows
        every = slice(None)
        rows += attention_writes(layer, arch, heads_of(layer, arch, rows, seen, pairs), seen, every, pairs)  # 2.
        measured = [_measure(rows, seen["mid"], pairs)]  # 4.
        for first in range(0, len(rows), 1024):  # 3. the hidden width is several times d_model: never for all rows at once
            part = slice(first, first + 1024)
            rows[part] += mlp_writes(layer, arch, before[part], seen, part, pairs)
        measured.append(_measure(rows, seen["post"], pairs))  # 4.
        grams += [gram for gram, _ in measured]
        errors += [error for _, error in measured]
        row_error = max(row_error, float((seen["pattern"].sum(-1) - 1).abs().max()))
        if report is not None:
            report(index + 1, n_layers)
    last = slice(pairs["start"][-1], len(rows))  # 5. end
    norm = final_norm(nn, arch, pairs)
    unembed = nn.get(arch.unembed)
    logits = unembed.output[0, -1].float()
    parts = linear(unembed, normed(rows[last], norm, last, pairs), last, pairs)
    out = _final(parts, logits, tracer.result.logits[0, -1].float(), wanted, top_k)
    n, size = len(source_of), parts.shape[0]
    return {
        **out,
        "gram": torch.stack(grams).reshape(n_layers, 2, n, size, size).cpu(),
        "error": torch.stack(errors).reshape(n_layers, 2, n).cpu(),
        "embedding_norm": embedding_norm.cpu(),
        "row_error": row_error,
    }


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
