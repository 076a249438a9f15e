"""What runs inside the trace to see what each head and MLP writes of a logit itself, where nobody asks which source it came from.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.attribution import heads_direct, read, target_at, without_residual
from infoflow.traced.frozen import affine, norm_of, normed
from infoflow.traced.interventions import writes_mlp


def direct_block(nn, tracer, plan, position, ids, centred, folded, report):
    """Direct contributions at one position of an unchanged run: what stands there is read, and nothing is run again."""
    layers, width = nn.get(plan.layers), plan.n_heads * plan.d_head
    here, heads, writes, embedding = None, [], [], torch.empty(0)
    for index in range(plan.n_layers):
        layer = layers[index]
        given = layer.input
        if here is None:
            here, embedding = _one_position(position, plan, given.device), given[0, position].float()
        output = layer.get(plan.attention).get(plan.output)
        z = output.input.reshape(-1, width)[position].float()
        add = norm_of(layer, plan.attention_post_norm, here)
        written = writes_mlp(layer, plan, index).output
        written = written[0] if isinstance(written, tuple) else written
        writes.append(plan.residual_multiplier * written.reshape(-1, written.shape[-1])[position].float())
        heads.append(({"output": affine("output", output, width, given.dtype, here), "add": add, "edits": {}}, z))
        if report is not None:
            report(index + 1, plan.n_layers)
    after = layers[plan.n_layers - 1].output
    x = (after[0] if isinstance(after, tuple) else after)[0, position].float()
    target = target_at(nn, tracer, plan, position, ids, centred, here)
    every, rows = slice(None), len(here["position"])
    with torch.enable_grad():
        end = _last_row(x, rows).requires_grad_()
        value = read(target, normed(end, target["norm"], every, here) if folded else end, every, here).sum()
        (direction,) = torch.autograd.grad(value, end)
    end, direction = end.detach(), direction[-1]
    direct = [heads_direct(plan, seen, _last_row(z, rows), every, here, direction) for seen, z in heads]
    bias = sum(added for _, added, _ in direct) + (without_residual(target, end, every, here) if folded else 0.0)
    return {
        "by_head": torch.stack([share for share, *_ in direct]).cpu(),
        "by_mlp": (torch.stack(writes) @ direction).cpu(),
        "embedding": float(embedding @ direction),
        "direct_bias": float(bias),
        "direct_total": target["total"] if folded else float(x @ direction),
        "dtype": str(target["dtype"]).removeprefix("torch."),
        **{name: target[name] for name in ("total", "model_total", "off")},
    }


def _one_position(position, plan, device):
    """Rows of one position: one for the weights' biases where there are some, then the residual as it is."""
    rows = [True, False] if plan.biased else [False]
    place = torch.full((len(rows),), position, device=device)
    return {
        "position": place, "src": torch.arange(len(rows), device=device), "biased": plan.biased, "given": 0,
        "is_bias": torch.tensor(rows, device=device), "n_sources": len(rows), "graph": ("output", "unembed"),
    }  # fmt: skip


def _last_row(x, rows):
    """A vector as the last of so many rows, with nothing in the others."""
    out = x.new_zeros(rows, len(x))
    out[-1] = x
    return out
