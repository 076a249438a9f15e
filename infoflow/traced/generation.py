"""What runs inside the trace that reads a text which the model wrote: one pass over prompt and output.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.attribution import frozen_stream, rows_at
from infoflow.traced.frozen import capped, final_norm, normed, unembed


def teacher_forced(nn, tracer, plan, n, first, chosen, k, other, report):
    """For each step, which stands at position first + step: where its heads look, its likeliest tokens, and what each source
    adds to the logit of the token that was `chosen` there. `other`: embeddings that the text's own are held against, or None."""
    n_steps, n_layers = len(chosen), plan.n_layers
    patterns = []

    def collect(seen, rows, pairs):
        patterns.append(seen["pattern"][:, first : first + n_steps].cpu())

    embeddings, rows, pairs = frozen_stream(nn, plan, n, collect, report, 2 * n_layers)
    norm = final_norm(nn, plan, pairs)
    head = nn.get(plan.unembed)
    dtype, raw = head.input.dtype, plan.logit_scale * head.output[0, first : first + n_steps].float()
    logits = tracer.result.logits[0, first : first + n_steps].float()  # the model's own: after a scale or soft cap
    ids = torch.tensor(chosen, device=logits.device)[:, None]
    here = slice(pairs["start"][first], rows_at(pairs, first + n_steps - 1).stop)
    step = pairs["position"][here] - first
    with torch.enable_grad():
        out = plan.logit_scale * unembed(head, normed(rows[here], norm, here, pairs), dtype, here, pairs)
        by_row = out.gather(1, ids[step])[:, 0]
        scored = out.new_zeros(n_steps).index_add(0, step, by_row)
        gradient = _gradients(scored, embeddings, plan.chunk_bytes, n_layers, report)
    own = embeddings.detach()
    top = logits.topk(k)
    of_chosen = logits.gather(1, ids)
    total = raw.gather(1, ids)[:, 0]
    return {
        "pattern": torch.stack(patterns),
        "top": top.indices.int().cpu(),
        "top_logits": top.values.cpu(),
        "log_sum": logits.logsumexp(-1).cpu(),
        "chosen": of_chosen[:, 0].cpu(),
        "rank": (logits > of_chosen).sum(-1).int().cpu(),
        "by_source": (gradient * own).sum(-1).cpu(),
        "specific": None if other is None else (gradient * (own - other.to(own.device))).sum(-1).cpu(),
        "parts": scored.detach().cpu(),
        "put_in": torch.zeros_like(raw[:, 0]).index_add(0, step, by_row.detach() * (pairs["src"][here] < pairs["given"])).cpu(),
        "total": total.cpu(),
        "off": (capped(raw, plan) - logits).abs().amax(-1).cpu(),
        "dtype": str(dtype).removeprefix("torch."),
    }


def _gradients(scored, embeddings, at_most, n_layers, report):
    """d scored[s] / d embeddings for every s, some at a time: many rows through a matrix cost little more than few. `report`
    hears of them as of a second half."""
    at_once = max(1, min(len(scored), at_most // (64 * embeddings.numel())))
    found = []
    for begin in range(0, len(scored), at_once):
        size = min(at_once, len(scored) - begin)
        unit = torch.zeros(size, len(scored), device=scored.device)
        unit[torch.arange(size), torch.arange(begin, begin + size)] = 1.0
        (part,) = torch.autograd.grad(scored, embeddings, unit, retain_graph=True, is_grads_batched=True)
        found.append(part)
        if report is not None:
            report(n_layers + n_layers * (begin + size) // len(scored), 2 * n_layers)
    return torch.cat(found)
