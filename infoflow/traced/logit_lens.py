"""What runs inside the trace to read residuals through the unembedding.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.frozen import capped
from infoflow.traced.frozen_lens import pushed_on, pushed_to_last, reader_of, sources_to_last

PRODUCT_ROWS = 256
"""residuals that go through the unembedding together at most: from so many on it no longer counts that each product reads it"""
PIECE_BYTES = 4_000_000
"""of logits at a time in what follows: what a processor's cache holds"""


def read_off(nn, tracer, plan, ask, report):
    """Predictions of every row of the stream at some positions: [row, position, ...].

    Rows are the embeddings, and after each layer's attention (where `mids`) and MLP the residual there. `ask` holds which lens
    reads them (`kind`; `maps` by row, of a fitted one; whether a frozen one reads at the last position, `to_last`), `k`,
    `wanted`, `positions`, `mids`, the names of all `rows`, which of them are `read`, how many `answers` are followed, and the
    states [row, position, d_model] of an `other` prompt that are read in their place, or None.
    """
    positions, found = ask["positions"], {}
    states, others, read, own, dtype = _states(nn, plan, ask, report)
    width, n_rows = states.shape[:2]
    ends = [ask["n"] - 1] * width if ask["to_last"] else positions
    answer = tracer.result.logits[0][ends].float()
    vocabulary = answer.shape[-1]
    with torch.autocast(answer.device.type, enabled=False):
        likely = largest(answer, ask["answers"])[1]
        asked = torch.tensor(ask["wanted"], dtype=torch.int32, device=answer.device).expand(width, -1)
        asked = torch.cat([asked, likely], 1)
        for at, rows in blocks_of(width, n_rows, at_once(plan.product_bytes, vocabulary)):
            logits = read(states[at, rows], at, rows)
            if rows.stop == n_rows and own is None:  # the last row is the model's own output
                off = (logits[:, -1] - answer[at]).abs().amax(-1) / answer[at].abs().amax(-1).clamp_min(1e-30)
                _put(found, "off", off[:, None], at, slice(0, 1), width, 1)
            if others is not None:
                for name, value in _against(logits, read(others[at, rows], at, rows), ask).items():
                    _put(found, name, value, at, rows, width, n_rows)
            goal = answer[at].log_softmax(-1)
            chance, certain = goal.exp(), goal.clamp_min(-1e30)
            lost = (chance * certain).sum(-1)
            room = None
            for p, r in blocks_of(*logits.shape[:2], max(1, PIECE_BYTES // (4 * vocabulary))):
                piece = logits[p, r]
                room = torch.empty_like(piece) if room is None else room
                into = room[: len(piece), : piece.shape[1]]
                part = _measured(piece, into, chance[p], lost[p], asked[at][p], len(ask["wanted"]), ask["k"])
                to = slice(at.start + p.start, at.start + p.stop), slice(rows.start + r.start, rows.start + r.stop)
                for name, value in part.items():
                    _put(found, name, value, *to, width, n_rows)
        summed = {} if own is None else own(asked[0, : len(ask["wanted"])].long(), answer)
    return {**{name: value.transpose(0, 1) for name, value in found.items()}, **summed, "answers": likely.cpu(), "dtype": dtype}


def _states(nn, plan, ask, report):
    """What is read: states [position, row, d_model], those of the other prompt or None, what reads some of both as logits, what
    tells of the sum over all sources where that is the model's (or None), and how the model stores its states."""
    positions, other, chosen = ask["positions"], ask["other"], [ask["rows"].index(row) for row in ask["read"]]
    if ask["kind"] != "frozen":
        stream, dtype = stream_at(nn, plan, positions, ask["mids"], report)
        norm, head = nn.get(plan.final_norm), nn.get(plan.unembed)
        stream, stored = stream[:, chosen], stream.dtype
        if other is not None:
            other = other[:, positions].transpose(0, 1).to(stream)
        for index, (matrix, bias) in ask["maps"].items():
            for states in (stream,) if other is None else (stream, other):
                states[:, index] = (states[:, index].float() @ matrix.to(states.device).T + bias.to(states.device)).to(stored)
        return stream, other, lambda x, at, rows: own_logits(x, norm, head, plan), None, dtype
    if ask["to_last"]:
        ends = pushed_to_last(nn, plan, ask["n"], positions, ask["read"], other, report)
    else:
        ends = pushed_on(nn, plan, positions, ask["read"], None if other is None else other[:, positions], report)
    ends = ends if other is not None else ends[None]
    raw, added, dtype = reader_of(nn, plan, [ask["n"] - 1] if ask["to_last"] else positions, ends.device)
    if not ask["to_last"]:
        return ends[0], ends[1] if len(ends) == 2 else None, lambda x, at, rows: capped(raw(x, at) + added, plan), None, dtype
    silent = len(plan.given) + plan.biased
    mine = torch.tensor([silent + source for source in sources_to_last(ask["n"], positions)[1]], device=ends.device)

    def centred(x):
        logits = raw(x, slice(None))
        return logits - logits.mean(-1, keepdim=True)

    def summed(wanted, answer):
        """How far all sources together are from the model's logits, at most of all rows; and what the wanted logits have from
        what is not read: biases, what was put in, the other positions."""
        whole = raw(ends[0].sum(1)[:, None], slice(None))[:, 0] + added
        off = (capped(whole, plan) - answer[0]).abs().amax() / answer[0].abs().amax().clamp_min(1e-30)
        read = centred(ends[0][:, mine].sum(1)[:, None])[:, 0]
        rest = whole - whole.mean(-1, keepdim=True) - read
        return {"off": off[None].cpu(), "added": rest[:, wanted].cpu()}

    states = ends[:, :, mine].transpose(1, 2)
    return states[0], states[1] if len(states) == 2 else None, lambda x, at, rows: centred(x), summed, dtype


def _against(logits, others, ask):
    """What the states of another prompt read in the place of these: the likeliest, with what chance, and the logits of the tokens
    that were asked for; how far both distributions lie apart (total variation); and the tokens that these states give more
    probability than those, most first."""
    chance, instead = logits.softmax(-1), others.softmax(-1)
    top, ids = largest(instead, ask["k"])
    more = chance - instead
    raised, which = largest(more, ask["k"])
    return {
        "other_ids": ids, "other_probs": top, "other_target_logits": others[..., ask["wanted"]],
        "change": 0.5 * more.abs().sum(-1), "raised_ids": which, "raised": raised,
    }  # fmt: skip


def states_of(nn, tracer, plan, positions, mids, chosen):
    """The residuals of some rows, [row, position, d_model], float32."""
    stream, _ = stream_at(nn, plan, positions, mids, None)
    return stream[:, chosen].transpose(0, 1).float().cpu()


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
