"""What runs inside the trace of attribution patching: a first-order estimate of every patched run from one that nothing is
patched in (`analyses/patching.py`).

Like `frozen.py`: torch, plain values and module calls only. It needs the graph of the run itself, so it runs on this machine
alone.
"""

import torch

from infoflow.traced.patterns import of_values
from infoflow.traced.reruns import outcomes_of


def estimates(nn, tracer, plan, site, ids, at, shift, mean):
    """Outcomes of the two runs, as `reruns.outcomes` gives them, and [token, layer, head, position]: the gradient of a token's
    logit with respect to a site's values in the first run, times what they are in the second less what they are there. `mean`:
    positions of the second run whose mean stands for all."""
    layers, n = nn.get(plan.layers), plan.n
    begun = layers[0].input.detach().clone().requires_grad_()
    layers[0].input = begun
    held = [_at(layers[index], site, plan, index) for index in range(plan.n_layers)]
    logits = tracer.result.logits
    rows = torch.stack([logits[0, at[0]], logits[1, at[1]]]).float()
    found = []
    for token in ids:
        slopes = torch.autograd.grad(rows[0, token], held, retain_graph=True)
        found.append(torch.stack([_by_part(x, slope, site, plan, n, shift, mean) for x, slope in zip(held, slopes, strict=True)]))
    return outcomes_of(rows.detach(), ids, plan).cpu(), torch.stack(found).cpu()


def _at(layer, site, plan, index):
    """What a site of a layer holds, part of the graph."""
    attention = layer.get(plan.attention)
    if site == "resid_pre":
        return layer.input
    if site in ("q", "k", "v"):
        return attention.get(plan.projected[site]).output
    if site == "z":
        return attention.get(plan.output).input
    if site == "pattern":
        return attention.output[1]
    if site == "attn":
        return layer.get(plan.attention_post_norm).output if plan.attention_post_norm else attention.get(plan.output).output
    if site == "resid_mid":
        return layer.get(plan.mlp_norm or plan.mlp).input
    out = (
        layer.get(plan.mlp_post_norm or (plan.mlp if index in plan.sparse else plan.down)).output
        if site == "mlp"
        else layer.output
    )
    return out[0] if isinstance(out, tuple) else out


def _by_part(x, slope, site, plan, n, shift, mean):
    """<slope, other - x> of every head and position, [head or 1, position]; of a pattern by the position that reads."""
    if site == "pattern":
        moved = x[1] - x[0]
        return (slope[0] * moved).sum(-1).detach().float()
    rows, slopes = x.reshape(2, n, -1), slope.reshape(2, n, -1)
    other = rows[1].roll(-shift, 0) if mean is None else rows[1, list(mean)].mean(0)
    product = (slopes[0] * (other - rows[0])).detach().float()
    if site == "z":
        return product.view(n, plan.n_heads, plan.d_head).sum(-1).T
    if site in ("q", "k", "v"):
        return _of_role(product, site, plan).sum(-1).T
    return product.sum(-1)[None]


def _of_role(product, site, plan):
    """[position, head, d_head] of queries, keys or values, whether they have a projection of their own or not."""
    n = len(product)
    if site == "v":
        return of_values(product, plan).view(n, -1, plan.d_head)
    if plan.fused == "per head":
        return product.view(n, plan.n_heads, 3, plan.d_head)[:, :, 0 if site == "q" else 1]
    if plan.fused == "blocks":
        q, k = plan.n_heads * plan.d_head, plan.n_kv_heads * plan.d_head
        return product[:, slice(0, q) if site == "q" else slice(q, q + k)].reshape(n, -1, plan.d_head)
    return product.view(n, -1, plan.d_head)
