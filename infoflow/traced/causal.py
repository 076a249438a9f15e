"""What runs inside the trace of copies of a prompt, each of them without another source (`traced/interventions.py` removes it).

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""


def values_without(nn, tracer, plan, ids):
    """The logit of a token after each copy, or its lead over a second one; `plan.keep` positions from the end."""
    logits = tracer.result.logits[:, -plan.keep].float()
    return (logits[:, ids[0]] - (logits[:, ids[1]] if len(ids) > 1 else 0.0)).cpu()
