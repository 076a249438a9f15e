"""What runs inside the trace to read residuals through the unembedding.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.frozen import capped

PRODUCT_ROWS = 256
"""residuals that go through the unembedding together at most: from so many on it no longer counts that each product reads it"""
PIECE_BYTES = 4_000_000
"""of logits at a time in what follows: what a processor's cache holds"""


def read_off(nn, tracer, plan, k, wanted, positions, mids, n_answers, report):
    """Predictions of every row of the stream at some positions: [row, position, ...].

    Rows are the embeddings, and after each layer's attention (where `mids`) and MLP the residual there.
    """
    stream, dtype = stream_at(nn, plan, positions, mids, report)
    norm, head = nn.get(plan.final_norm), nn.get(plan.unembed)
    answer = tracer.result.logits[0][positions].float()
    n_rows, vocabulary = stream.shape[1], answer.shape[-1]
    found = {}
    with torch.autocast(answer.device.type, enabled=False):
        likely = largest(answer, n_answers)[1]
        asked = torch.cat([torch.tensor(wanted, dtype=torch.int32, device=answer.device).expand(len(answer), -1), likely], 1)
        for at, rows in blocks_of(len(positions), n_rows, at_once(plan.product_bytes, vocabulary)):
            logits = own_logits(stream[at, rows], norm, head, plan)
            if rows.stop == n_rows:  # the last row is the model's own output
                off = (logits[:, -1] - answer[at]).abs().amax(-1) / answer[at].abs().amax(-1).clamp_min(1e-30)
                _put(found, "off", off[:, None], at, slice(0, 1), len(positions), 1)
            goal = answer[at].log_softmax(-1)
            chance, certain = goal.exp(), goal.clamp_min(-1e30)
            lost = (chance * certain).sum(-1)
            room = None
            for p, r in blocks_of(*logits.shape[:2], max(1, PIECE_BYTES // (4 * vocabulary))):
                piece = logits[p, r]
                room = torch.empty_like(piece) if room is None else room
                part = _measured(piece, room[: len(piece), : piece.shape[1]], chance[p], lost[p], asked[at][p], len(wanted), k)
                to = slice(at.start + p.start, at.start + p.stop), slice(rows.start + r.start, rows.start + r.stop)
                for name, value in part.items():
                    _put(found, name, value, *to, len(positions), n_rows)
    return {**{name: value.transpose(0, 1) for name, value in found.items()}, "answers": likely.cpu(), "dtype": dtype}


def _put(found, name, value, at, rows, n_positions, n_rows):
    """Bring a piece to its place."""
    if name not in found:
        found[name] = torch.zeros(n_positions, n_rows, *value.shape[2:], dtype=value.dtype)
    found[name][at, rows] = value.cpu()


def at_once(product_bytes, vocabulary):
    """Residuals that go through the unembedding together."""
    return max(1, min(PRODUCT_ROWS, product_bytes // (4 * vocabulary)))


def stream_at(nn, plan, positions, mids, report):
    """The residuals of some positions, [position, row, d_model], and how they were stored."""
    layers = nn.get(plan.layers)
    n_layers = plan.n_layers
    stream = []
    for index in range(n_layers):
        given = layers[index].input
        if index == 0:
            stream.append(given[0][positions])
        if mids:
            stream.append(_middle(layers[index], given, plan)[positions])
        after = layers[index].output
        stream.append((after[0] if isinstance(after, tuple) else after)[0][positions])
        if report is not None:
            report(index + 1, n_layers)
    return torch.stack(stream, 1), str(stream[0].dtype).removeprefix("torch.")


def _middle(layer, given, plan):
    """The residual after attention, before the MLP: what the MLP reads, or would read if it did not run beside attention."""
    if plan.parallel:
        return given[0] + plan.residual_multiplier * layer.get(plan.attention).output[0][0]
    read = layer.get(plan.mlp_norm or plan.mlp).input
    return read.reshape(-1, read.shape[-1])  # some families pass rows without a batch


def own_logits(x, norm, head, plan):
    """The model's own logits, [..., vocabulary], of residuals [..., d_model]: those of its unembedding, scaled and softly capped
    where the family does that."""
    out = head(norm(x.reshape(1, -1, x.shape[-1])))[0].float().view(*x.shape[:-1], -1)
    out = out if plan.logit_scale == 1 else out * plan.logit_scale
    return capped(out, plan)


def blocks_of(n_positions, n_rows, at_once):
    """Slices of positions and rows that are read together, so many cells or fewer: whole positions where they fit."""
    if at_once >= n_rows:
        step = at_once // n_rows
        return [(slice(p, min(p + step, n_positions)), slice(0, n_rows)) for p in range(0, n_positions, step)]
    rows = [slice(r, min(r + at_once, n_rows)) for r in range(0, n_rows, at_once)]
    return [(slice(p, p + 1), r) for p in range(n_positions) for r in rows]


def _measured(x, room, chance, lost, asked, n_wanted, k):
    """Of logits [position, row, vocabulary], which are changed, and as many numbers to work in. `chance` and `lost` are what the
    model's own distribution gives each token, and the sum of p log p over it. Probabilities follow from logits and `log_sum`.

    Few passes, each over what the cache holds and into memory that is there: an operation of many has its time from that.
    """
    top, ids = largest(x, k)
    of = x.gather(2, asked[:, None].expand(-1, x.shape[1], -1).long())
    ranks = [torch.gt(x, of[..., i : i + 1], out=room).sum(-1).int() for i in range(n_wanted)]
    shift = top[..., 0].clone()
    x.sub_(shift[..., None])  # what is summed must not be rounded like large numbers
    total = torch.exp(x, out=room).sum(-1)
    log_sum = total.log()
    entropy = log_sum - room.mul_(x).sum(-1) / total
    kl = lost[:, None] - torch.mul(x, chance[:, None], out=room).sum(-1) + log_sum
    if bool(torch.isnan(entropy).any() | torch.isnan(kl).any()):  # 0 times a logit of -inf: a token without a chance counts 0
        x.clamp_min_(-1e30)
        entropy = log_sum - torch.exp(x, out=room).mul_(x).sum(-1) / total
        kl = lost[:, None] - torch.mul(x, chance[:, None], out=room).sum(-1) + log_sum
    return {
        "ids": ids, "logits": top, "log_sum": log_sum + shift, "entropy": entropy, "kl": kl,
        "target_logits": of[..., :n_wanted], "answer_logits": of[..., n_wanted:],
        "target_ranks": torch.stack(ranks, -1) if ranks else of[..., :0].int(),
    }  # fmt: skip


def largest(x, k):
    """The k largest along the last axis, in order, and where they are. They are among every `step`-th from where the largest of
    each such row lies, for the k largest of those."""
    n = x.shape[-1]
    deep = 1 << max(0, int((n / k) ** 0.5).bit_length() - 1)
    step = n // deep
    if deep < 4 or step < k:
        top = x.topk(k)
        return top.values, top.indices.int()
    columns = x[..., : deep * step].unflatten(-1, (deep, step)).amax(-2).topk(k).indices
    places = (columns[..., None] + step * torch.arange(deep, device=x.device)).flatten(-2)
    if deep * step < n:
        places = torch.cat([places, torch.arange(deep * step, n, device=x.device).expand(*places.shape[:-1], -1)], -1)
    top = x.gather(-1, places).topk(k)
    return top.values, places.gather(-1, top.indices).int()
