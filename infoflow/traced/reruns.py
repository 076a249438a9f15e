"""What runs inside the trace of many runs side by side, of which each takes parts of another one (`analyses/reruns.py`).

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only. `traced/interventions.py` calls what lets
runs join at their layer and what takes the parts.
"""

import torch

from infoflow.traced.patterns import NO_PATTERN, of_values


def outcomes(nn, tracer, plan, ids, at, report):
    """[number, run] of every run: logit of the first of `ids`, of the second (NaN without one), log-probability and rank of the
    first, and KL from the second run, the one that parts are taken from. `at`: the positions where that of the others is read,
    and that of the second."""
    if report is not None:
        layers = nn.get(plan.layers)
        for index in range(plan.n_layers):
            layers[index].output  # noqa: B018  its being asked for waits until it is there
            report(index + 1, plan.n_layers)
    head = nn.get(plan.unembed)
    given = head.input
    places = torch.full((len(given),), at[0], device=given.device)
    places[1] = at[1]
    head.input = given[torch.arange(len(given), device=given.device), places][:, None]
    return outcomes_of(tracer.result.logits[:, 0], ids, plan).cpu()


def outcomes_of(logits, ids, plan):
    """The numbers of each run from its logits, [run, token]."""
    own = logits[1].float().log_softmax(-1)
    found = []
    for some in logits.split(max(1, plan.product_bytes // (16 * logits.shape[-1]))):
        some = some.float()
        log_p = some.log_softmax(-1)
        target = some[:, ids[0]]
        other = some[:, ids[1]] if len(ids) > 1 else torch.full_like(target, float("nan"))
        kl = (own.exp() * (own - log_p)).sum(-1)
        found.append(torch.stack([target, other, log_p[:, ids[0]], 1.0 + (some > target[:, None]).sum(-1), kl]))
    return torch.cat(found, 1)


def taken(rows, one):
    """Rows with parts of others at some places and columns; places of another prompt may be shifted, or a mean over some of them
    stands for all."""
    others = rows[one["take"].to(rows.device)]
    there = others.roll(-one["shift"], 1) if one.get("shift") else others
    if "mean" in one:
        weights = one["mean"].to(rows.device)
        there = torch.where(weights.any(1, keepdim=True), (others * weights).sum(1, keepdim=True), there)
    return torch.where(one["places"].to(rows.device) & one["columns"].to(rows.device), there, rows)


def joined(inputs, rows, index):
    """The arguments of a layer for so many rows: those that join go on from the first one."""
    given, named = inputs
    hidden = given[0] if len(given) else named["hidden_states"]
    hidden = torch.cat([hidden, hidden[:1].expand(rows - len(hidden), -1, -1)])
    others = {name: _of_rows(value, rows, index) for name, value in named.items() if name != "hidden_states"}
    if len(given):
        return (hidden, *(_of_rows(value, rows, index) for value in given[1:])), others
    return given, {"hidden_states": hidden, **others}


def _of_rows(value, rows, index):
    """One argument of a layer, but for the hidden states, for so many rows: it has the two of the beginning still, or one for
    all, or those of each head in turn."""
    if isinstance(value, tuple):
        return tuple(_of_rows(one, rows, index) for one in value)
    if hasattr(value, "layers") and hasattr(value, "batch_select_indices"):  # keys and values of what stands before
        if len(value.layers) > index and value.layers[index].get_seq_length():
            kept = value.layers[index]
            kept.batch_select_indices(torch.zeros(rows, dtype=torch.long, device=kept.keys.device))
        return value
    if not isinstance(value, torch.Tensor) or value.ndim < 3 or value.shape[0] == 1:
        return value
    apart = value.view(2, -1, *value.shape[1:])
    return torch.cat([apart, apart[:1].expand(rows - 2, *apart.shape[1:])]).flatten(0, 1)


def likeliest(nn, tracer, plan, at):
    """The likeliest token after a position."""
    return int(tracer.result.logits[0, at].argmax())


def reweighed(attention, raw, z, operations, plan):
    """What an attention module gives where heads attend as they do in another row: z = A v with the other's A."""
    out = attention.output
    weights = out[1]
    if weights is None:
        raise ValueError(NO_PATTERN)
    n_rows, n_heads, n = weights.shape[:3]
    pattern = weights.float()
    for one in operations:
        others = pattern[one["take"].to(pattern.device)]
        heads = one["heads"].to(pattern.device)[:, :, None, None]
        pattern = torch.where(heads & one["places"].to(pattern.device)[:, None], others, pattern)
    values = of_values(raw.reshape(n_rows * n, -1).float(), plan).view(n_rows, n, -1, plan.d_head)
    values = values.repeat_interleave(n_heads // values.shape[2], 2)
    mixed = torch.einsum("rhij,rjhd->rihd", pattern, values).reshape(z.shape).to(z.dtype)
    project = attention.get(plan.output)
    return (out[0] + (project(mixed) - project(z)).view(out[0].shape), *out[1:])
