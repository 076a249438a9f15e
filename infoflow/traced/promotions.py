"""What runs inside the trace to see what each block promoted and suppressed.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.logit_lens import at_once, blocks_of, largest, own_logits, stream_at


def moved_at(nn, tracer, plan, position, mids, n_moved, report):
    """Of one position, [row, ...]: the tokens whose probability rose and fell most since the row before, and their ranks."""
    stream, dtype = stream_at(nn, plan, [position], mids, report)
    norm, head = nn.get(plan.final_norm), nn.get(plan.unembed)
    n_rows, parts, before = stream.shape[1], [], None
    vocabulary = tracer.result.logits.shape[-1]
    with torch.autocast(stream.device.type, enabled=False):
        for _, rows in blocks_of(1, n_rows, at_once(plan.product_bytes, vocabulary)):
            logits = own_logits(stream[0, rows], norm, head, plan)
            p = logits.softmax(-1)
            before = before or (logits[:1], p[:1])  # nothing has written before the embedding
            earlier, p_earlier = torch.cat([before[0], logits[:-1]]), torch.cat([before[1], p[:-1]])
            gained = p - p_earlier
            moved = torch.cat([largest(gained, n_moved)[1], largest(-gained, n_moved)[1]], -1)
            found = {
                "token_ids": moved, "gained": gained.gather(1, moved.long()),
                "rank_before": _ranks(earlier, moved), "rank_after": _ranks(logits, moved),
            }  # fmt: skip
            parts.append({name: value.cpu() for name, value in found.items()})
            before = (logits[-1:], p[-1:])
    return {**{name: torch.cat([part[name] for part in parts]) for name in parts[0]}, "dtype": dtype}


def _ranks(logits, ids):
    """How many tokens have a larger logit, for each of some tokens: 0 is the likeliest."""
    of = logits.gather(1, ids.long())
    return torch.stack([(logits > of[:, i : i + 1]).sum(-1, dtype=torch.int32) for i in range(of.shape[1])], 1)
