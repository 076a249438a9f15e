"""What runs inside the trace to see what a head or an MLP writes, and what reads it. The steps are numbered as in `readers.py` of
the analyses.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.attribution import frozen_stream, read, rows_at, target_at
from infoflow.traced.frozen import attention_writes, mix, mlp_writes, normed, unembed, values_of
from infoflow.traced.interventions import edited
from infoflow.traced.location import together


def readers_block(nn, tracer, plan, n, layer, head, position, ids, most, report):
    """The whole of it, inside a trace. `head` is -1 for the MLP."""
    layers = []

    def collect(seen, rows, pairs):
        if len(layers) < layer:
            layers.append(None)  # what is below the writer reads nothing of it
        else:
            layers.append((seen, {name: rows[name] for name in ("z", "mid", "written")}))

    _, rows, pairs = frozen_stream(nn, plan, n, collect, report, plan.n_layers)  # 1.
    here, own = rows_at(pairs, position), pairs["own"]
    target = target_at(nn, tracer, plan, position, ids, False, pairs)
    later = layers[layer:]
    with torch.enable_grad():
        logit = read(target, normed(rows[here], target["norm"], here, pairs), here, pairs).sum()
        found = torch.autograd.grad(logit, [rows, *[of[name] for _, of in later for name in ("z", "mid", "written")]])
    of_end, *slopes = (slope[own] for slope in found)  # every row of a position goes the same way
    of_z, of_mid, of_written = (slopes[first::3] for first in range(3))
    seen, states = later[0]
    by_head, by_mlp = torch.zeros(plan.n_layers, plan.n_heads), torch.zeros(plan.n_layers)
    moves, bias, put_in = None, 0.0, 0.0
    if head < 0:
        carried = together(states["written"].detach(), pairs)  # 2.
        by_position = (carried * of_written[0]).sum(-1)
    else:
        z = edited(states["z"].detach(), "z", seen, slice(None), pairs)
        carried = _written(together(z, pairs), head, seen, plan, pairs)
        by_position = (carried * of_mid[0]).sum(-1)
        moves, bias, put_in = _moved(seen, head, together(states["z"].detach(), pairs), of_mid[0], plan, pairs)
        if not plan.parallel:
            by_mlp[layer] = float((mlp_writes(carried, seen, plan, own, pairs) * of_written[0]).sum())
    carried = edited(carried, "resid_post", seen, own, pairs)
    for index in range(layer + 1, plan.n_layers):  # 3.
        seen, at = layers[index][0], index - layer
        carried = edited(carried, "resid_pre", seen, own, pairs)
        values = values_of(carried, seen, plan, own, pairs)
        z = mix(values, seen["pattern"], plan, own, pairs, int(pairs["src"][own[0]]), 1)
        by_head[index] = (z * of_z[at]).view(n, plan.n_heads, plan.d_head).sum((0, 2)).cpu()
        after = edited(carried, "resid_mid", seen, own, pairs)
        read_by_mlp = carried if plan.parallel else after
        by_mlp[index] = float((mlp_writes(read_by_mlp, seen, plan, own, pairs) * of_written[at]).sum())
        carried = edited(after, "resid_post", seen, own, pairs)
    end = carried[position : position + 1]
    promoted = _promoted(end, own[position : position + 1], target, plan, pairs)  # 4.
    top, low = promoted.topk(most), (-promoted).topk(most)
    return {
        "direct": float((end[0] * of_end[position]).sum()),
        "by_head": by_head,
        "by_mlp": by_mlp,
        "by_position": by_position.cpu(),
        "moves": moves,
        "bias": bias,
        "put_in": put_in,
        "token_ids": torch.stack([top.indices, low.indices]).int().cpu(),
        "promoted": torch.stack([top.values, -low.values]).cpu(),
        "ids": target["ids"],
        "off": target["off"],
        "total": target["total"],
        "dtype": str(target["dtype"]).removeprefix("torch."),
    }


def _written(z, head, seen, plan, pairs):
    """What one head of z [position, heads x d_head], as it is after changes at z, adds to the stream after attention."""
    columns = slice(head * plan.d_head, (head + 1) * plan.d_head)
    alone = torch.zeros_like(z)
    alone[:, columns] = z[:, columns]
    plain = {**seen, "edits": {site: some for site, some in seen["edits"].items() if site != "z"}}
    own = pairs["own"]
    return edited(attention_writes(alone, plain, plan, own, pairs), "resid_mid", seen, own, pairs)


def _moved(seen, head, z, of_mid, plan, pairs):
    """What a head brings from every position to every one, [to, from], itself among them; what the biases of its values bring,
    and what interventions put in the place of its z, of the others' z too where a change mixes heads. `z` is as it was before."""
    n, own, every = len(z), pairs["own"], slice(None)
    values = values_of(seen["pre"], seen, plan, own, pairs).view(n, -1, plan.d_head)
    with torch.enable_grad():  # of this head's write alone: a direction that is taken off all heads makes it depend on each
        before = torch.zeros_like(z).requires_grad_()
        write = _written(edited(before, "z", seen, own, pairs), head, seen, plan, pairs)
        (slope,) = torch.autograd.grad((write * of_mid).sum(), before)
    slope = slope.view(n, plan.n_heads, plan.d_head)
    mixed = (slope * z.view_as(slope)).sum((0, 2))
    mixed[head] = 0.0
    mine = slope[:, head]
    moves = seen["pattern"][head] * (mine @ values[:, head // (plan.n_heads // values.shape[1])].T)
    nothing = torch.zeros(len(pairs["position"]), seen["pre"].shape[-1], device=z.device)
    of_biases = mix(values_of(nothing, seen, plan, every, pairs), seen["pattern"], plan, every, pairs)
    bias = together(of_biases, pairs).view(n, plan.n_heads, plan.d_head)[:, head]
    given = together(edited(torch.zeros_like(of_biases), "z", seen, every, pairs), pairs)
    put_in = _written(given, head, seen, plan, pairs) * of_mid
    return moves.cpu(), float((bias * mine).sum()), float(put_in.sum() + mixed.sum())


def _promoted(end, part, target, plan, pairs):
    """What a write adds to the logit of every token directly, over its mean over the vocabulary."""
    logits = plan.logit_scale * unembed(target["head"], normed(end, target["norm"], part, pairs), target["dtype"], part, pairs)[0]
    return logits - logits.mean()
