"""What runs inside the trace to read every residual through the unembedding.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch


def read_off(nn, tracer, plan, k, wanted, mids, n_answers, n_moved, report):
    """Predictions of every row of the stream at every position, and how each row changed them.

    Rows are the embeddings, and after each layer's attention (where `mids`) and MLP the residual there.
    """
    layers = nn.get(plan.layers)
    n_layers = len(layers)
    stream = []
    for index in range(n_layers):
        given = layers[index].input
        if index == 0:
            stream.append(given[0])
        if mids:
            stream.append(_middle(layers[index], given, plan))
        after = layers[index].output
        stream.append((after[0] if isinstance(after, tuple) else after)[0])
        if report is not None:
            report(index + 1, n_layers)
    norm, head = nn.get(plan.final_norm), nn.get(plan.unembed)
    answer = tracer.result.logits[0].float()
    n, vocabulary = answer.shape
    at_once = max(1, plan.chunk_bytes // (32 * vocabulary))
    parts = []
    with torch.autocast(answer.device.type, enabled=False):
        for first in range(0, n, at_once):
            here = slice(first, min(n, first + at_once))
            parts.append(_measured([x[here] for x in stream], norm, head, plan, answer[here], k, wanted, n_answers, n_moved))
    found = {name: torch.cat([part[name] for part in parts], 1) for name in parts[0]}
    return {**found, "dtype": str(stream[0].dtype).removeprefix("torch.")}


def _middle(layer, given, plan):
    """The residual after attention, before the MLP: what the MLP reads, or would read if it did not run beside attention."""
    if plan.parallel:
        return given[0] + plan.residual_multiplier * layer.get(plan.attention).output[0][0]
    read = layer.get(plan.mlp_norm or plan.mlp).input
    return read.reshape(-1, read.shape[-1])  # some families pass rows without a batch


def _logits(raw, plan):
    """The model's own logits from those of its unembedding: scaled and softly capped where the family does that."""
    out = raw.float() * plan.logit_scale
    return plan.softcap * torch.tanh(out / plan.softcap) if plan.softcap else out


def _measured(stream, norm, head, plan, answer, k, wanted, n_answers, n_moved):
    """Of some positions: [row, position, ...]. Probabilities follow from logits and `log_sum`."""
    goal = answer.log_softmax(-1)
    asked = torch.tensor(wanted, dtype=torch.long, device=answer.device).expand(len(answer), -1)
    likely = goal.topk(n_answers).indices
    widths = {
        "logits": k, "target_logits": len(wanted), "answer_logits": n_answers, "gained": 2 * n_moved,
        "ids": k, "target_ranks": len(wanted), "moved": 2 * n_moved, "rank_before": 2 * n_moved, "rank_after": 2 * n_moved,
    }  # fmt: skip
    whole = ("ids", "target_ranks", "moved", "rank_before", "rank_after")
    # what is kept has its place before anything large comes and goes, which small pieces in between would hold apart
    out = {
        name: torch.zeros(len(stream), len(answer), width, dtype=torch.int32 if name in whole else torch.float32)
        for name, width in widths.items()
    }
    out |= {name: torch.zeros(len(stream), len(answer)) for name in ("log_sum", "entropy", "kl")}
    before = None
    for row, x in enumerate(stream):
        logits = _logits(head(norm(x[None]))[0], plan)
        log_sum = logits.logsumexp(-1)
        log_p = logits - log_sum[:, None]
        p = log_p.exp()
        top = logits.topk(k)
        out["ids"][row] = top.indices
        out["logits"][row] = top.values
        out["log_sum"][row] = log_sum
        out["entropy"][row] = -(p * log_p.clamp_min(-1e30)).sum(-1)
        out["kl"][row] = (goal.exp() * (goal - log_p)).sum(-1)
        out["target_logits"][row] = logits.gather(1, asked)
        out["target_ranks"][row] = _ranks(logits, asked)
        out["answer_logits"][row] = logits.gather(1, likely)
        gained = p - before[1] if before is not None else torch.zeros_like(p)
        moved = torch.cat([gained.topk(n_moved).indices, (-gained).topk(n_moved).indices], 1)
        out["moved"][row] = moved
        out["gained"][row] = gained.gather(1, moved)
        out["rank_before"][row] = _ranks(logits if before is None else before[0], moved)
        out["rank_after"][row] = _ranks(logits, moved)
        before = (logits, p)
    off = (before[0] - answer).abs().amax(-1) / answer.abs().amax(-1).clamp_min(1e-30)
    return {**out, "answers": likely.int()[None].cpu(), "off": off[None].cpu()}


def _ranks(logits, ids):
    """How many tokens have a larger logit, for each of some tokens: 0 is the likeliest."""
    of = logits.gather(1, ids.long())
    found = [(logits > of[:, i : i + 1]).sum(-1) for i in range(of.shape[1])]
    return torch.stack(found, 1).int() if found else of.int()
