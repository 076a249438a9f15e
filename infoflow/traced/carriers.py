"""What runs inside the trace to find who carried a source.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.frozen import (
    add_attention,
    add_mlp,
    affine,
    attention_writes,
    capture,
    column_of,
    in_full,
    mix,
    mlp_writes,
    values_of,
)
from infoflow.traced.interventions import own_part


def carriers_block(nn, tracer, plan, n, members, is_bias, layer, stage, position, report):
    """The whole of it, inside a trace: one row per position for the source, and after the cell one for what comes from it."""
    layers = nn.get(plan.layers)
    n_layers = plan.n_layers
    column = onward = moved = None
    dtype = ""
    here, every = slice(position, position + 1), slice(None)
    rows = torch.empty(0)
    brought, written, start = [], [], torch.empty(0)
    arrives = torch.zeros(n_layers, n)
    reads = torch.zeros(n_layers, plan.n_heads, n)
    for index in range(n_layers):
        given = layers[index].input
        if index == 0:
            dtype = str(given.dtype).removeprefix("torch.")
            column = {**column_of(n, is_bias, plan.biased, given.device), "graph": ("output",)}
            onward = column_of(n, False, plan.biased, given.device)  # the maps' biases do not come from the cell
        seen = capture(layers[index], given, index, plan, column)
        x = seen["pre"]
        if index == 0:
            rows = torch.zeros_like(x)
            rows[members] = own_part(x, plan)[members]
            start = rows[position].clone()
        if moved is None:  # up to the cell
            before = rows.clone()
            values = values_of(rows, seen, plan, every, column)
            rows += attention_writes(mix(values, seen["pattern"], plan, every, column), seen, plan, every, column)
            # the output map is read anew at the end: in half precision it is a matrix, and all layers' would be held at once
            writer = {"output": layers[index].get(plan.attention).get(plan.output), "add": seen["add"], "edits": seen["edits"]}
            brought.append((writer, seen["pattern"][:, position].clone(), values, rows[position] - before[position]))
            if index == layer and stage == 0:
                moved = torch.zeros_like(rows)
                moved[position] = rows[position]
                mlp_reads = torch.zeros_like(rows) if plan.parallel else moved.clone()
                add_mlp(moved, mlp_reads, seen, plan, onward)
            else:
                write = mlp_writes((before if plan.parallel else rows)[here], seen, plan, here, column)
                written.append(write[0])
                add_mlp(rows, before if plan.parallel else rows, seen, plan, column)
                if index == layer:
                    moved = torch.zeros_like(rows)
                    moved[position] = rows[position]
        else:  # from the cell onward
            before = moved.clone()
            reads[index] = _reads(moved, seen, plan, onward, position)
            add_attention(moved, seen, plan, onward)
            add_mlp(moved, before if plan.parallel else moved, seen, plan, onward)
        if moved is not None:
            after = seen["post"]
            arrives[index] = ((moved * after).sum(-1) / (after * after).sum(-1).clamp_min(1e-30)).cpu()
        if report is not None:
            report(index + 1, n_layers)
    cell = start + sum(write for *_, write in brought) + sum(written, torch.zeros_like(start))
    squared = float(in_full(cell).pow(2).sum())
    direction = cell / max(squared, 1e-30)
    by_head = torch.zeros(layer + 1, plan.n_heads, n)
    direct_bias = 0.0
    width, given_as = plan.n_heads * plan.d_head, getattr(torch, dtype)
    for index, (kept, pattern, values, _) in enumerate(brought):
        writer = {"output": affine("output", kept["output"], width, given_as, column), "add": kept["add"], "edits": kept["edits"]}
        slope = _slope(writer, plan, direction, column, here)[0].view(plan.n_heads, plan.d_head)
        shared = values.view(n, -1, plan.d_head).repeat_interleave(plan.n_heads * plan.d_head // values.shape[-1], 1)
        by_head[index] = (torch.einsum("khd,hd->hk", shared, slope) * pattern).cpu()
        silent = torch.zeros(1, width, device=direction.device)
        direct_bias += float((attention_writes(silent, writer, plan, here, column) @ direction).sum())
    by_mlp = torch.zeros(layer + 1)
    for index, write in enumerate(written):
        by_mlp[index] = float(write @ direction)
    return {
        "norm": squared**0.5,
        "by_head": by_head,
        "by_mlp": by_mlp,
        "embedding": float(start @ direction),
        "direct_bias": direct_bias,
        "arrives": arrives,
        "reads": reads,
        "dtype": dtype,
    }


def _slope(seen, plan, direction, pairs, part):
    """The direction as seen by attention's z: the gradient of <what it writes, direction>, for each row of `part`."""
    n = direction.shape[0] if direction.ndim == 2 else 1
    with torch.enable_grad():
        z = torch.zeros(n, plan.n_heads * plan.d_head, device=direction.device, requires_grad=True)
        write = (attention_writes(z, seen, plan, part, pairs) * direction).sum()
        (slope,) = torch.autograd.grad(write, z)
    return slope


def _reads(moved, seen, plan, pairs, position):
    """What each head takes from `position` of `moved` to every later position, as a share of the residual there."""
    n = len(moved)
    x = seen["mid"]
    slope = _slope(seen, plan, x / (x * x).sum(-1, keepdim=True).clamp_min(1e-30), pairs, slice(None))
    here = slice(position, position + 1)
    value = values_of(moved[here], seen, plan, here, pairs).view(-1, plan.d_head)
    value = value.repeat_interleave(plan.n_heads // len(value), 0)
    taken = torch.einsum("qhd,hd->hq", slope.view(n, plan.n_heads, plan.d_head), value) * seen["pattern"][:, :, position]
    taken[:, position] = 0  # staying where it is isn't going anywhere
    return taken.cpu()
