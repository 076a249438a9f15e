"""What runs inside the trace to read every residual through the unembedding.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch


def read_off(nn, tracer, arch, k, wanted, mids, n_answers, n_moved, report):
    """Predictions of every row of the stream at every position, and how each row changed them.

    Rows are the embeddings, and after each layer's attention (where `mids`) and MLP the residual there.
    """
    layers = nn.get(arch.layers)
    n_layers = len(layers)
    stream = []
    for index in range(n_layers):
        given = layers[index].input
        if index == 0:
            stream.append(given[0])
        if mids:
            stream.append(_middle(layers[index], given, arch))
        after = layers[index].output
        stream.append((after[0] if isinstance(after, tuple) else after)[0])
        if report is not None:
            report(index + 1, n_layers)
    norm, head = nn.get(arch.final_norm), nn.get(arch.unembed)
    answer = tracer.result.logits[0].float()
    n, vocabulary = answer.shape
    at_once = max(1, arch.chunk_bytes // (32 * vocabulary))
    parts = []
    with torch.autocast(answer.device.type, enabled=False):
        for first in range(0, n, at_once):
            here = slice(first, min(n, first + at_once))
            parts.append(_measured([x[here] for x in stream], norm, head, arch, answer[here], k, wanted, n_answers, n_moved))
    found = {name: torch.cat([part[name] for part in parts], 1).cpu() for name in parts[0]}
    return {**found, "dtype": str(stream[0].dtype).removeprefix("torch.")}


def _middle(layer, given, arch):
    """The residual after attention, before the MLP: what the MLP reads, or would read if it did not run beside attention."""
    if arch.parallel:
        return given[0] + arch.residual_multiplier * layer.get(arch.attention).output[0][0]
    read = layer.get(arch.mlp_norm or arch.mlp).input
    return read.reshape(-1, read.shape[-1])  # some families pass rows without a batch


def _logits(raw, arch):
    """The model's own logits from those of its unembedding: scaled and softly capped where the family does that."""
    out = raw.float() * arch.logit_scale
    return arch.softcap * torch.tanh(out / arch.softcap) if arch.softcap else out


def _measured(stream, norm, head, arch, answer, k, wanted, n_answers, n_moved):
    """Of some positions: [row, position, ...]. Probabilities follow from logits and `log_sum`."""
    goal = answer.log_softmax(-1)
    asked = torch.tensor(wanted, dtype=torch.long, device=answer.device).expand(len(answer), -1)
    likely = goal.topk(n_answers).indices
    out = {name: [] for name in _NAMES}
    before = None
    for x in stream:
        logits = _logits(head(norm(x[None]))[0], arch)
        log_sum = logits.logsumexp(-1)
        log_p = logits - log_sum[:, None]
        p = log_p.exp()
        top = logits.topk(k)
        out["ids"].append(top.indices.int())
        out["logits"].append(top.values)
        out["log_sum"].append(log_sum)
        out["entropy"].append(-(p * log_p.clamp_min(-1e30)).sum(-1))
        out["kl"].append((goal.exp() * (goal - log_p)).sum(-1))
        out["target_logits"].append(logits.gather(1, asked))
        out["target_ranks"].append(_ranks(logits, asked))
        out["answer_logits"].append(logits.gather(1, likely))
        gained = p - before[1] if before is not None else torch.zeros_like(p)
        moved = torch.cat([gained.topk(n_moved).indices, (-gained).topk(n_moved).indices], 1)
        out["moved"].append(moved.int())
        out["gained"].append(gained.gather(1, moved))
        out["rank_before"].append(_ranks(logits if before is None else before[0], moved))
        out["rank_after"].append(_ranks(logits, moved))
        before = (logits, p)
    stacked = {name: torch.stack(values) for name, values in out.items()}
    off = (before[0] - answer).abs().amax(-1) / answer.abs().amax(-1).clamp_min(1e-30)
    return {**stacked, "answers": likely.int()[None], "off": off[None]}


_NAMES = (
    "ids", "logits", "log_sum", "entropy", "kl", "target_logits", "target_ranks", "answer_logits", "moved", "gained",
    "rank_before", "rank_after",
)  # fmt: skip


def _ranks(logits, ids):
    """How many tokens have a larger logit, for each of some tokens: 0 is the likeliest."""
    of = logits.gather(1, ids.long())
    found = [(logits > of[:, i : i + 1]).sum(-1) for i in range(of.shape[1])]
    return torch.stack(found, 1).int() if found else of.int()
