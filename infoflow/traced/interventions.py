"""What runs inside the trace to change a run: in a first part of it, before what reads the run in a second.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only. `plan.edits` holds, by layer and site,
what a site is multiplied by ([position, 1], of z [position, heads * d_head]), and which attention is cut ([head, dest, src]).
"""

import torch

NOTHING_LEFT = "a position is left with nothing to attend to"
"""what a run ends with where all that a position can see is cut"""
NO_NUMBER = "what the changed run gives is no number"
"""what it ends with where it overflows"""


def next_logits(nn, tracer, plan):
    """The logits after the last position."""
    return tracer.result.logits[0, -1].float().cpu()


def apply(nn, tracer, plan):
    """Make the changes, in the order in which the network computes."""
    layers = nn.get(plan.layers)
    for index in sorted(plan.edits):
        here, layer = plan.edits[index], layers[index]
        attention = layer.get(plan.attention)
        before = None
        if "resid_pre" in here:
            layer.input = scaled(layer.input, here["resid_pre"])
        if "resid_mid" in here:
            before = layer.input
        if "block" in here:
            given, named = attention.inputs
            attention.inputs = _cut(given, named, here["block"])
        if "z" in here:
            output = attention.get(plan.output)
            output.input = scaled(output.input, here["z"])
        if "attn" in here or "resid_mid" in here:
            owner = layer.get(plan.attention_post_norm) if plan.attention_post_norm else attention.get(plan.output)
            written = owner.output  # of the projection: some attention modules add the residual themselves
            plan.unchanged[index, "attn"] = written
            new = scaled(written, here["attn"]) if "attn" in here else written
            if "resid_mid" in here:  # no module gives it: what attention adds makes up for the difference
                whole = before.float() + plan.residual_multiplier * new.float()
                new = ((scaled(whole, here["resid_mid"]) - before.float()) / plan.residual_multiplier).to(new.dtype)
            owner.output = new
        if "mlp" in here:
            owner = layer.get(plan.mlp_post_norm or (plan.mlp if index in plan.sparse else plan.down))
            out = owner.output
            written = out[0] if isinstance(out, tuple) else out
            plan.unchanged[index, "mlp"] = written
            new = scaled(written, here["mlp"])
            owner.output = (new, *out[1:]) if isinstance(out, tuple) else new
        if "resid_post" in here:
            out = layer.output
            new = scaled(out[0] if isinstance(out, tuple) else out, here["resid_post"])
            layer.output = (new, *out[1:]) if isinstance(out, tuple) else new
    if bool(tracer.result.logits.isnan().any()):
        raise ValueError(NO_NUMBER)


def scaled(x, factor):
    """x times a factor a position; what is taken away is gone, whatever it was."""
    factor = factor.to(x.device)
    new = torch.where(factor == 0, 0.0, x.reshape(-1, x.shape[-1]).float() * factor)
    return new.to(x.dtype).view(x.shape)


def _cut(given, named, blocked):
    """The arguments of an attention module with a mask that cuts what is blocked."""
    mask = named.get("attention_mask")
    blocked = blocked[None]
    n = blocked.shape[-1]
    if mask is None:
        seen = torch.ones(n, n, dtype=torch.bool, device=blocked.device).tril()
        mask = seen[None, None].to(given[0].device if len(given) else "cpu")
    blocked = blocked.to(mask.device)
    mask = mask[..., :n].expand(-1, blocked.shape[1], -1, -1)
    if mask.dtype == torch.bool:
        mask = mask & ~blocked
        left = mask
    else:
        least = torch.finfo(mask.dtype).min
        mask = mask.masked_fill(blocked, least)
        left = mask > least / 2
    if not bool(left.any(-1).all()):
        raise ValueError(NOTHING_LEFT)
    return given, {**named, "attention_mask": mask}


def factor_at(edits, site, position):
    """What a position is multiplied by at a site of the residual of one layer."""
    return float(edits[site][position]) if site in edits else 1.0


def what_is_left(plan, position):
    """Of what each layer's attention and its MLP write into a position, the part that is there at the end, where the residual
    is scaled on the way; and of the embedding, which is given as changed before the first layer."""
    left, now = [], 1.0
    for index in reversed(range(plan.n_layers)):
        edits = plan.edits.get(index, {})
        after = now * factor_at(edits, "resid_post", position)
        middle = after * factor_at(edits, "resid_mid", position)
        left.append((middle, after))
        embedded, now = middle, middle * factor_at(edits, "resid_pre", position)
    return left[::-1], embedded


def edited(rows, site, seen, part, pairs):
    """Rows of the frozen network as the run was changed at a site of one layer; themselves where it was not."""
    factor = seen.get("edits", {}).get(site)
    return rows if factor is None else scaled(rows, factor.to(rows.device)[pairs["position"][part]])
