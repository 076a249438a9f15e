"""What runs inside the trace to split the residual stream by source. The steps are numbered as in `flow.py`.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.frozen import add_attention, add_mlp, capped, capture, enter, final_norm, in_full, normed, pairs_of, unembed
from infoflow.traced.interventions import begun


def split(nn, tracer, plan, source_of, wanted, top_k, report):
    """The whole run: Gram matrices and errors of every layer, stage and position, and the logits of the last one."""
    layers = nn.get(plan.layers)
    n_layers = plan.n_layers
    n, given_too = len(source_of), len(plan.given)
    size = max(source_of) + 1 + given_too + plan.biased
    gram, error, row_error = torch.zeros(n_layers, 2, n, size, size), torch.zeros(n_layers, 2, n), 0.0
    pairs = rows = embedding_norm = None
    for index in range(n_layers):
        given = layers[index].input
        pairs = pairs or pairs_of(source_of, plan.biased, given.device, given_too)
        seen = capture(layers[index], given, index, plan, pairs)
        if rows is None:  # 1. start
            x = seen["pre"]
            rows, own = begun(x, seen, pairs)
            rows[pairs["own"]] = own
            embedding_norm = x.norm(dim=-1)
        else:
            enter(rows, seen, pairs)
        before = rows.clone() if plan.parallel else rows
        add_attention(rows, seen, plan, pairs)  # 2.
        _measure(rows, seen["mid"], pairs, gram[index, 0], error[index, 0])  # 4.
        add_mlp(rows, before, seen, plan, pairs)  # 3.
        _measure(rows, seen["post"], pairs, gram[index, 1], error[index, 1])  # 4.
        row_error = max(row_error, float((seen["pattern"].sum(-1) - 1).abs().max()))
        if report is not None:
            report(index + 1, n_layers)
    last = slice(pairs["start"][-1], len(rows))  # 5. end
    norm = final_norm(nn, plan, pairs)
    head = nn.get(plan.unembed)
    dtype, logits = head.input.dtype, head.output[0, -1].float()
    answer = tracer.result.logits[0, -1].float()
    with torch.autocast(rows.device.type, enabled=False):
        parts = unembed(head, normed(rows[last], norm, last, pairs), dtype, last, pairs)
        out = _final(parts * plan.logit_scale, logits * plan.logit_scale, answer, wanted, top_k, plan)
    if plan.hosted:  # symmetric, and zero for later sources: one entry in six travels
        p, s, t = packed_entries(source_of, given_too + plan.biased)
        gram = gram[:, :, p, s, t]
    return {
        **out,
        "dtype": str(dtype).removeprefix("torch."),
        "gram": gram,
        "error": error,
        "embedding_norm": embedding_norm.cpu(),
        "row_error": row_error,
    }


def packed_entries(source_of, more):
    """Positions, rows and columns of the Gram matrices' entries that are neither zero by causality nor said twice.

    `more` sources, which are last, are no token's and reach every position.
    """
    size = max(source_of) + 1 + more
    met = torch.tensor(source_of).cummax(0).values
    reached = torch.arange(size)[None] <= met[:, None]
    if more:
        reached[:, -more:] = True
    lower = torch.ones(size, size, dtype=torch.bool).tril()
    return (reached[:, :, None] & reached[:, None, :] & lower).nonzero(as_tuple=True)


def _measure(rows, x, pairs, gram, error):
    """Fill in the Gram matrix of the sources at each position, and |sum of rows - x| / |x|. In float64: squares cancel."""
    with torch.autocast(rows.device.type, enabled=False):
        _fill(rows, x, pairs, gram, error)
    more = pairs["given"] + pairs["biased"]
    if more:  # what no token says comes first among the rows, and last in the result
        gram.copy_(gram.roll((-more, -more), (-2, -1)))


def _fill(rows, x, pairs, gram, error):
    n, width = x.shape
    p = 0
    while p < n:  # small ones side by side
        last = min(n, p + max(1, (1 << 16) // (pairs["n_sources"] * width)))
        a, b = pairs["start"][p], pairs["start"][last - 1] + pairs["size"][last - 1]
        k = pairs["size"][last - 1]
        parts = in_full(rows[a:b])
        if last - p > 1:
            dense = parts.new_zeros(last - p, k, width)
            place = pairs["position"][a:b] - p, pairs["src"][a:b]
            dense[tuple(i.to(parts.device) for i in place)] = parts
            parts = dense
        parts = parts.view(last - p, k, width)
        gram[p:last, :k, :k] = (parts @ parts.transpose(1, 2)).float()
        whole = in_full(x[p:last])
        error[p:last] = ((parts.sum(1) - whole).norm(dim=-1) / whole.norm(dim=-1).clamp_min(1e-30)).float()
        p = last


ALONE = 5
"""tokens that are kept of what each source alone predicts"""


def _final(parts, logits, answer, wanted, top_k, plan):
    """What each source adds to the logits of the targets, and whether all of them together give the model's.

    `logits` are those of the unembedding times the family's scale, which is linear; `answer` are the model's own, after a soft
    cap where it has one: its probabilities are the model's.
    """
    summed = parts.sum(0)
    probability = torch.softmax(answer, -1)
    eight = min(8, len(logits))
    order = logits.topk(min(max(top_k, 8), len(logits))).indices
    ours = summed.topk(eight).indices
    top = [int(i) for i in order[:top_k]]
    ids = list(dict.fromkeys([*wanted, *top]))
    row = {i: (i, float(probability[i]), float(answer[i]), float(logits[i])) for i in ids}
    alone = (parts - parts.mean(-1, keepdim=True)).topk(min(ALONE, len(logits)))
    off = (capped(summed, plan) - answer).abs().max() / answer.abs().max().clamp_min(1e-30)
    return {
        "top": [row[i] for i in top],
        "targets": [row[i] for i in ids],
        "source_logits": parts[:, ids].cpu(),
        "alone": alone.indices.int().cpu(),
        "alone_logits": alone.values.cpu(),
        "logit_error": float(off),
        "top_agrees": bool(off.isfinite())  # what is no number would count as the largest
        and bool(ours[0] == order[0])
        and set(ours.tolist()) == set(order[:eight].tolist()),
    }
