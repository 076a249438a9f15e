"""What runs inside the trace to change a run: in a first part of it, before what reads the run in a second.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only. `plan.edits` holds, by layer and site,
a list of operations on what stands there, x [position, width], each of them one of

    x -> factor x + given                    factor, given: [position, 1 or width]
    x -> x - <x, d> d at some places         `reject`: d, of length 1
    x -> x' at some places                   `take`: the row of which x' is, where several run side by side

and, as "block", which attention is cut ([head, dest, src]). A run of several copies of a prompt (`plan.copies`) may change each
in its own way: there is one more dimension in front then. Rows may join at a layer, going on from the first one
(`plan.joins`), so that what is the same before it is computed once; an operation may be of the second row alone, or of all the
others (`only`). An operation is linear in x but for what it gives, which is a source
of its own in what is split (`source`: its number). A mean over the run's own positions, and the direction of its first one, are
settled when the run gets there.
"""

import torch

from infoflow.traced.reruns import joined, reweighed, taken

NOTHING_LEFT = "a position is left with nothing to attend to"
"""what a run ends with where all that a position can see is cut"""
NO_NUMBER = "what the changed run gives is no number"
"""what it ends with where it overflows"""


def next_logits(nn, tracer, plan):
    """The logits after the last position."""
    return tracer.result.logits[0, -1].float().cpu()


def apply(nn, tracer, plan):
    """Make the changes, in the order in which the network computes."""
    layers, n = nn.get(plan.layers), plan.n
    rows = 0
    for index in range(plan.n_layers):
        rows = plan.joins.get(index, rows)
        if not rows and index not in plan.edits:
            continue
        here, layer = plan.edits.get(index, {}), layers[index]
        if rows:
            layer.inputs = joined(layer.inputs, rows, index)
        attention = layer.get(plan.attention)
        before = raw = z = None
        if "resid_pre" in here:
            layer.input = changed(layer.input, here["resid_pre"], n)
        if "resid_mid" in here:
            before = layer.input
        if "block" in here:
            given, named = attention.inputs
            attention.inputs = _cut(given, named, here["block"])
        for role in ("q", "k", "v"):
            if role in here:
                projection = attention.get(plan.projected[role])
                projection.output = changed(projection.output, here[role], n)
        if "pattern" in here:
            raw = attention.get(plan.value).output
        if "z" in here:
            output = attention.get(plan.output)
            output.input = changed(output.input, here["z"], n)
        if "pattern" in here:
            z = attention.get(plan.output).input
        if "pattern" in here and plan.attention_post_norm:
            attention.output = reweighed(attention, raw, z, here["pattern"], plan)
        if "attn" in here or "resid_mid" in here:
            owner = _writes_attention(layer, plan)
            written = owner.output
            plan.unchanged[index, "attn"] = written
            new = changed(written, here["attn"], n) if "attn" in here else written
            if "resid_mid" in here:  # no module gives it: what attention adds makes up for the difference
                whole = before.float() + plan.residual_multiplier * new.float()
                new = ((changed(whole, here["resid_mid"], n) - before.float()) / plan.residual_multiplier).to(new.dtype)
            owner.output = new
        if "pattern" in here and not plan.attention_post_norm:
            attention.output = reweighed(attention, raw, z, here["pattern"], plan)
        if "neurons" in here:
            down = layer.get(plan.down)
            down.input = changed(down.input, here["neurons"], n)
        if "mlp" in here:
            owner = writes_mlp(layer, plan, index)
            out = owner.output
            written = out[0] if isinstance(out, tuple) else out
            plan.unchanged[index, "mlp"] = written
            new = changed(written, here["mlp"], n)
            owner.output = (new, *out[1:]) if isinstance(out, tuple) else new
        if "resid_post" in here:
            out = layer.output
            new = changed(out[0] if isinstance(out, tuple) else out, here["resid_post"], n)
            layer.output = (new, *out[1:]) if isinstance(out, tuple) else new
    if bool(tracer.result.logits.isnan().any()):
        raise ValueError(NO_NUMBER)


def states_at(nn, tracer, plan, wanted):
    """What stands at some (layer, site), each [position, width], in the order of `wanted`."""
    layers, found = nn.get(plan.layers), {}
    for index in sorted({layer for layer, _ in wanted}):
        layer, attention = layers[index], layers[index].get(plan.attention)
        sites = {site for at, site in wanted if at == index}
        before = layer.input if sites & {"resid_pre", "resid_mid"} else None
        found[index, "resid_pre"] = before
        if "z" in sites:
            found[index, "z"] = attention.get(plan.output).input
        if sites & {"attn", "resid_mid"}:
            written = found[index, "attn"] = _writes_attention(layer, plan).output
            found[index, "resid_mid"] = (
                before.float() + plan.residual_multiplier * written.float() if "resid_mid" in sites else None
            )
        if "neurons" in sites:
            found[index, "neurons"] = layer.get(plan.down).input
        if "mlp" in sites:
            out = writes_mlp(layer, plan, index).output
            found[index, "mlp"] = out[0] if isinstance(out, tuple) else out
        if "resid_post" in sites:
            out = layer.output
            found[index, "resid_post"] = out[0] if isinstance(out, tuple) else out
    return [found[layer, site].reshape(-1, found[layer, site].shape[-1]).float().cpu() for layer, site in wanted]


def _writes_attention(layer, plan):
    """The module whose output attention adds: the projection, for some attention modules add the residual themselves."""
    return layer.get(plan.attention_post_norm) if plan.attention_post_norm else layer.get(plan.attention).get(plan.output)


def writes_mlp(layer, plan, index):
    """The module whose output the MLP adds."""
    return layer.get(plan.mlp_post_norm or (plan.mlp if index in plan.sparse else plan.down))


def changed(x, operations, n):
    """x, of n positions, after all operations at its site, one after the other; what depends on x itself is settled in them."""
    rows = x.reshape(-1, n, x.shape[-1]).float()
    for one in operations:
        if "take" in one:
            rows = taken(rows, one)
            continue
        before = rows
        if "noise" in one:
            of_all = rows[:, : one["over"]]
            one["given"] = _of_one(one["noise"].to(rows.device) * of_all.flatten(1).std(1)[:, None, None])
        if "mean_over" in one:
            mean, places = rows[:, : one["mean_over"]].mean(1, keepdim=True), one["places"].to(rows.device)
            one.update({"factor": 1.0 - places, "given": _of_one(places * mean)})
        if "reject" in one and one["reject"] is None:
            first = rows[:, :1] * one["columns"].to(rows.device)
            one["reject"] = _of_one(first / first.norm(dim=-1, keepdim=True).clamp_min(1e-30))
        rows = _linear(rows, one, slice(None))
        if "given" in one:
            rows = rows + one["given"].to(rows.device)
        if "only" in one:
            second = torch.arange(len(rows), device=rows.device)[:, None, None] == 1
            rows = torch.where(second == one["only"], rows, before)
    return rows.to(x.dtype).view(x.shape)


def _of_one(values):
    """Without the dimension of copies, where there is one."""
    return values[0] if len(values) == 1 else values


def _linear(rows, one, position):
    """What an operation does to rows of some positions, but for what it gives. What is taken away is gone, whatever it was."""
    if "factor" in one:
        factor = one["factor"].to(rows.device)[..., position, :]
        rows = torch.where(factor == 0, 0.0, rows * factor)
    if "reject" in one:
        unit = one["reject"].to(rows.device)
        rows = rows - one["places"].to(rows.device)[position] * (rows * unit).sum(-1, keepdim=True) * unit
    return rows


def edited(rows, site, seen, part, pairs):
    """Rows of the frozen network as the run was changed at a site of one layer; themselves where it was not. What was given goes
    to the rows of the sources that interventions are."""
    position = pairs["position"][part]
    for one in seen.get("edits", {}).get(site, ()):
        rows = _linear(rows, one, position)
        if "given" in one and pairs.get("given"):
            is_its = pairs["src"][part] == min(one["source"], pairs["given"] - 1)
            rows = rows + torch.where(is_its[:, None], one["given"].to(rows.device)[position], 0.0)
    return rows


def begun(x, seen, pairs):
    """The rows before the first layer, and what is each position's own: x, less what interventions have put there."""
    rows = x.new_zeros(len(pairs["position"]), x.shape[-1])
    own = x
    if pairs.get("given"):
        rows = edited(rows, "resid_pre", seen, slice(None), pairs)
        own = x - torch.zeros_like(x).index_add(0, pairs["position"], rows)
    return rows, own


def own_part(x, plan):
    """Embeddings [position, d_model] of a run, less what interventions have put there."""
    rows = torch.zeros_like(x)
    for one in plan.edits.get(0, {}).get("resid_pre", ()):
        rows = _linear(rows, one, slice(None))
        if "given" in one:
            rows = rows + one["given"].to(rows.device)
    return x - rows


def _cut(given, named, blocked):
    """The arguments of an attention module with a mask that cuts what is blocked."""
    mask = named.get("attention_mask")
    n = blocked.shape[-1]
    blocked = blocked.view(-1, *blocked.shape[-3:])
    if mask is None:
        seen = torch.ones(n, n, dtype=torch.bool, device=blocked.device).tril()
        mask = seen[None, None].to(given[0].device if len(given) else "cpu")
    mask = mask[..., :n]
    reads, read = mask.shape[-2:]  # the last ones, where what stands before them is kept from another run
    blocked = blocked[..., -reads:, -read:].to(mask.device)
    if mask.dtype == torch.bool:
        mask = mask & ~blocked
        left = mask
    else:
        least = torch.finfo(mask.dtype).min
        mask = torch.where(blocked, least, mask)
        left = mask > least / 2
    if not bool(left.any(-1).all()):
        raise ValueError(NOTHING_LEFT)
    return given, {**named, "attention_mask": mask}


def back_through(plan, position, direction):
    """A direction at the end of one position's residual, as what each layer's attention and its MLP write there meets it, where
    the residual is changed on the way: [(of attention, of the MLP)] by layer; as the embedding meets it, which is given as
    changed; and what interventions in the residual itself put there, times it."""
    met, now, put_in = [], direction, 0.0
    for index in reversed(range(plan.n_layers)):
        edits = plan.edits.get(index, {})
        after, put_after = _back(edits.get("resid_post", ()), now, position)
        middle, put_middle = _back(edits.get("resid_mid", ()), after, position)
        met.append((middle, after))
        now, put_before = _back(edits.get("resid_pre", ()), middle, position)
        put_in += put_after + put_middle + put_before
    return met[::-1], middle, put_in


def _back(operations, direction, position):
    """A direction before some operations, from that after them, and what they give, times it."""
    put_in = 0.0
    for one in reversed(operations):
        if "given" in one:
            put_in += float(one["given"].to(direction.device)[position].expand_as(direction) @ direction)
        direction = _linear(direction[None], one, slice(position, position + 1))[0]  # its own transpose
    return direction, put_in
