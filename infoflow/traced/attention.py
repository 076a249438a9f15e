"""What runs inside the trace to read attention patterns and what the values they weigh amount to.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.frozen import (
    affine,
    attention_writes,
    column_of,
    final_norm,
    norm_of,
    normed,
    unembed,
)
from infoflow.traced.interventions import back_through, edited
from infoflow.traced.patterns import look_inside, of_values, pattern_given, pattern_returned


def patterns(nn, tracer, plan, n, report):
    """Patterns of all heads, packed to what causality leaves where they travel; lengths of values, and of what they write into
    the stream, with the scale of each position's norm where there is one in between; and what each head of the last position
    adds directly to the likeliest next token's logit."""
    layers = nn.get(plan.layers)
    n_layers = plan.n_layers
    queries, keys = torch.tril_indices(n, n)
    pattern = torch.zeros(n_layers, plan.n_heads, len(queries)) if plan.hosted else torch.zeros(n_layers, plan.n_heads, n, n)
    value_norm, write_norm = torch.zeros(n_layers, plan.n_heads, n), torch.zeros(n_layers, plan.n_heads, n)
    write_scale = torch.ones(n_layers, n)
    at_end = []
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
            add = norm_of(layers[index], plan.attention_post_norm, pairs, (plan.unchanged, (index, "attn")))
            if add is not None:
                write_scale[index] = add["scale"][:, 0].abs().cpu()
            write_norm[index] = _written(of_head, attention.get(plan.output), add, raw.dtype, plan, pairs).cpu()
            z = torch.einsum("hj,jhd->hd", found[:, -1].to(of_head.device), of_head)
            at_end.append((z.reshape(1, -1), attention.get(plan.output), add, plan.edits.get(index, {}), raw.dtype))
        if report is not None:
            report(index + 1, n_layers)
    return {
        "pattern": pattern, "value_norm": value_norm, "write_norm": write_norm, "write_scale": write_scale,
        **_direct(nn, tracer, plan, n, at_end),
    }  # fmt: skip


def _direct(nn, tracer, plan, n, at_end):
    """The likeliest next token, and <W_O^h z, direction> of every head at the last position: `direction` is that of the token's
    logit, through the frozen final norm."""
    last = slice(n - 1, n)
    pairs = {**column_of(n, False, plan.biased, at_end[-1][0].device), "graph": ("output", "unembed")}
    norm, head = final_norm(nn, plan, pairs), nn.get(plan.unembed)
    given = head.input
    logits = tracer.result.logits[0, -1].float()
    top = int(logits.argmax())
    with torch.autocast(given.device.type, enabled=False), torch.enable_grad():
        end = torch.zeros(1, given.shape[-1], device=given.device, requires_grad=True)
        read = unembed(head, normed(end, norm, last, pairs), given.dtype, last, pairs)[0, top]
        (direction,) = torch.autograd.grad(plan.logit_scale * read, end)
        shares, met = [], back_through(plan, n - 1, direction[0])[0]
        for z, output, add, edits, dtype in at_end:
            z = edited(z.detach(), "z", {"edits": edits}, last, {**pairs, "given": 1}).clone().requires_grad_()
            onward = {site: some for site, some in edits.items() if site != "z"}
            seen = {"output": affine("output", output, z.shape[-1], dtype, pairs), "add": add, "edits": onward}
            (slope,) = torch.autograd.grad((attention_writes(z, seen, plan, last, pairs) @ met[len(shares)][0]).sum(), z)
            shares.append((slope * z.detach()).view(plan.n_heads, plan.d_head).sum(-1))
    return {
        "head_logits": torch.stack([share.cpu() for share in shares]), "top": top, "top_logit": float(logits[top]),
        "top_probability": float(logits.softmax(-1)[top]), "dtype": str(given.dtype).removeprefix("torch."),
    }  # fmt: skip


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
