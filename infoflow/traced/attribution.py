"""What runs inside the trace to attribute a logit. The steps are numbered as in `attribution.py`.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.frozen import (
    attention_writes,
    capped,
    capture,
    final_norm,
    mix,
    mlp_writes,
    normed,
    pairs_of,
    unembed,
    values_of,
)


def frozen_stream(nn, plan, n, collect, report, steps):
    """The residual of every position as a linear function of the embeddings, with a graph to go backward on.

    One row per position for the tokens together, and one for the biases. `collect(seen, z, written, pairs)` is called for
    each layer; `report` hears of `steps` steps, of which the layers are the first.
    """
    layers = nn.get(plan.layers)
    pairs = None
    every = slice(None)
    embeddings = rows = torch.empty(0)
    for index in range(plan.n_layers):
        given = layers[index].input
        if index == 0:
            pairs = {**pairs_of([0] * n, plan.biased, given.device), "graph": ("value", "output", "up", "down", "unembed")}
        seen = capture(layers[index], given, index, plan, pairs)
        with torch.enable_grad():
            if index == 0:
                embeddings = seen["pre"].detach().clone().requires_grad_()
                rows = embeddings.new_zeros(len(pairs["position"]), embeddings.shape[-1]).index_add(0, pairs["own"], embeddings)
            z = mix(values_of(rows, seen, plan, every, pairs), seen["pattern"], plan, every, pairs)
            before = rows
            rows = rows + attention_writes(z, seen, plan, every, pairs)
            written = mlp_writes(before if plan.parallel else rows, seen, plan, every, pairs)
            rows = rows + written
        collect(seen, z.detach(), written.detach(), pairs)
        if report is not None:
            report(index + 1, steps)
    return embeddings, rows, pairs


def rows_at(pairs, position):
    """The rows of one position."""
    return slice(pairs["start"][position], pairs["start"][position] + pairs["size"][position])


def attribute_block(nn, tracer, plan, n, position, ids, centred, folded, report):
    """The whole of it, inside a trace."""
    heads, writes = [], []

    def collect(seen, z, written, pairs):
        here = rows_at(pairs, position)
        heads.append(({"output": seen["output"], "add": seen["add"]}, z[here]))
        writes.append(written[here].sum(0))

    embeddings, rows, pairs = frozen_stream(nn, plan, n, collect, report, plan.n_layers)  # 2.
    here = rows_at(pairs, position)
    norm = final_norm(nn, plan, pairs)
    head = nn.get(plan.unembed)
    dtype, logits = head.input.dtype, head.output[0, position].float()
    answer = tracer.result.logits[0, position].float()
    mean = 1 / len(logits) if centred and len(ids) == 1 else 0.0  # a difference of two is free of it anyway
    weight = torch.zeros_like(logits) - mean  # of each logit in what is attributed
    weight[ids[0]] += 1
    if len(ids) > 1:
        weight[ids[1]] -= 1
    own = float(answer @ weight)
    weight = plan.logit_scale * weight
    with torch.enable_grad():
        end = rows[here]
        logit = (unembed(head, normed(end, norm, here, pairs), dtype, here, pairs) @ weight).sum()
        gradient, direction = torch.autograd.grad(logit, [embeddings, end])
        if not folded:
            (direction,) = torch.autograd.grad((unembed(head, end, dtype, here, pairs) @ weight).sum(), end)
    logit, end, direction = logit.detach(), end.detach(), direction[-1]
    by_source = (gradient * embeddings.detach()).sum(-1)
    direct = [_heads_direct(plan, seen, z, here, pairs, direction) for seen, z in heads]  # 3.
    nothing = torch.zeros_like(end)  # what of the logit is there without any residual: biases of final norm and unembedding
    at_end = float((unembed(head, normed(nothing, norm, here, pairs), dtype, here, pairs) @ weight).sum()) if folded else 0.0
    of_biases = sum(bias for _, bias in direct) + at_end
    return {
        "by_source": by_source.cpu(),
        "bias": float(logit - by_source.sum()) if plan.biased else 0.0,
        "by_head": torch.stack([share for share, _ in direct]).cpu(),
        "by_mlp": torch.stack([write @ direction for write in writes]).cpu(),
        "embedding": float(embeddings[position].detach() @ direction),
        "direct_bias": of_biases,
        "dtype": str(dtype).removeprefix("torch."),
        "total": float(logits @ weight),
        "model_total": own,
        "off": float((capped(logits * plan.logit_scale, plan) - answer).abs().max()),
        "direct_total": float(logits @ weight) if folded else float(end.sum(0) @ direction),
    }


def _heads_direct(plan, seen, z, here, pairs, direction):
    """<W_O^h z, direction> of each head of a layer at one position, and what the output's and post-norm's biases add."""
    with torch.enable_grad():
        z = z.clone().requires_grad_()
        write = (attention_writes(z, seen, plan, here, pairs) @ direction).sum()
        (slope,) = torch.autograd.grad(write, z)
    share = (slope * z.detach()).view(len(z), plan.n_heads, plan.d_head).sum((0, 2))
    biases = float((attention_writes(torch.zeros_like(z.detach()), seen, plan, here, pairs) @ direction).sum())
    return share, biases
