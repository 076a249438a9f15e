"""What runs inside the trace of a prompt that another one is held against: its residuals, and what it says itself.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.attribution import weight_of
from infoflow.traced.interventions import own_part
from infoflow.traced.logit_lens import stream_at


def contrast_block(nn, tracer, plan, n, every, mids, position, ids, centred):
    """Residuals [row, position, d_model], of the embeddings alone or of every row, and the target's value on this prompt."""
    states = nn.get(plan.layers)[0].input[:1] if not every else stream_at(nn, plan, list(range(n)), mids, None)[0].transpose(0, 1)
    states = torch.cat([own_part(states[0].float(), plan)[None], states[1:].float()])
    logits = nn.get(plan.unembed).output[0, position].float()
    return {"states": states.cpu(), "total": float(logits @ weight_of(logits, ids, centred, plan))}


def contrast_steps(nn, tracer, plan, first, chosen):
    """Embeddings [position, d_model], and at each step, which stands at position first + step, the logit of the token chosen."""
    states = own_part(nn.get(plan.layers)[0].input[0].float(), plan)
    raw = plan.logit_scale * nn.get(plan.unembed).output[0, first : first + len(chosen)].float()
    ids = torch.tensor(chosen, device=raw.device)[:, None]
    return {"states": states.cpu(), "total": raw.gather(1, ids)[:, 0].cpu()}
