"""What runs inside the trace to read attention patterns and what the values they weigh amount to.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.frozen import affine, column_of, look_inside, norm_of, of_values, pattern_given, pattern_returned


def patterns(nn, tracer, plan, n, report):
    """Patterns of all heads, packed to what causality leaves where they travel; lengths of values, and of what they write into
    the stream, with the scale of each position's norm where there is one in between."""
    layers = nn.get(plan.layers)
    n_layers = plan.n_layers
    queries, keys = torch.tril_indices(n, n)
    pattern = torch.zeros(n_layers, plan.n_heads, len(queries)) if plan.hosted else torch.zeros(n_layers, plan.n_heads, n, n)
    value_norm, write_norm = torch.zeros(n_layers, plan.n_heads, n), torch.zeros(n_layers, plan.n_heads, n)
    write_scale = torch.ones(n_layers, n)
    for index in range(n_layers):
        attention = look_inside(layers[index].get(plan.attention), plan)
        raw = attention.get(plan.value).output
        found = pattern_returned(attention.output) if plan.eager else pattern_given(attention)
        seen = found.cpu()
        pattern[index] = seen[:, queries, keys] if plan.hosted else seen
        with torch.autocast(raw.device.type, enabled=False):
            values = of_values(raw.reshape(n, raw.shape[-1]).float(), plan)
            values = values.view(n, -1, plan.d_head)
            of_head = values.repeat_interleave(plan.n_heads // values.shape[1], 1)
            value_norm[index] = of_head.norm(dim=-1).T.cpu()
            pairs = column_of(n, False, plan.biased, raw.device)
            add = norm_of(layers[index], plan.attention_post_norm, pairs)
            if add is not None:
                write_scale[index] = add["scale"][:, 0].abs().cpu()
            write_norm[index] = _written(of_head, attention.get(plan.output), add, raw.dtype, plan, pairs).cpu()
        if report is not None:
            report(index + 1, n_layers)
    dtype = str(nn.get(plan.unembed).input.dtype).removeprefix("torch.")
    return {"pattern": pattern, "value_norm": value_norm, "write_norm": write_norm, "write_scale": write_scale, "dtype": dtype}


def _written(values, output, add, dtype, plan, pairs):
    """|W_O^h v| of every head and position: each head's values alone through the output projection, without its bias, then
    through the position's norm with its scale fixed, and times the multiplier, where there are any."""
    n, n_heads, d_head = values.shape
    owner = affine("output", output, n_heads * d_head, dtype, pairs)
    found = values.new_zeros(n_heads, n)
    for head in range(n_heads):
        alone = values.new_zeros(n, n_heads * d_head)
        alone[:, head * d_head : (head + 1) * d_head] = values[:, head]
        if owner["matrix"] is not None:
            write = alone @ owner["matrix"]
        else:
            write = owner["module"](alone)
            write = write if owner["bias"] is None else write - owner["bias"]
        if add is not None:
            write = (write - write.mean(-1, keepdim=True) if add["centred"] else write) * add["scale"] * add["gain"]
        found[head] = abs(plan.residual_multiplier) * write.norm(dim=-1)
    return found
