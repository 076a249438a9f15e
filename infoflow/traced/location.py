"""What runs inside the trace to see where an answer is. The steps are numbered as in `location.py` of the analyses.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.attribution import frozen_stream, read, rows_at, target_at, without_residual
from infoflow.traced.frozen import attention_writes, mix, mlp_writes, normed, values_of
from infoflow.traced.interventions import edited


def locate_block(nn, tracer, plan, n, position, ids, centred, most, top_k, other, report):
    """The whole of it, inside a trace. `other`: residuals [row, position, d_model] that the run's own are held against, or None.

    Rows: the embeddings, and after each layer's attention (not where the MLP reads what attention read, for there that is no cut
    through the network) and MLP.
    """
    layers = []

    def collect(seen, rows, pairs):
        layers.append((seen, rows))

    steps = 2 * plan.n_layers
    embeddings, rows, pairs = frozen_stream(nn, plan, n, collect, report, steps)  # 2.
    here, own = rows_at(pairs, position), pairs["own"]
    target = target_at(nn, tracer, plan, position, ids, centred, pairs)
    stages = ("post",) if plan.parallel else ("mid", "post")
    with torch.enable_grad():
        logit = read(target, normed(rows[here], target["norm"], here, pairs), here, pairs).sum()
        ends = [r[name] for _, r in layers for name in ("z", *stages)]
        put_before = [
            i for i, (seen, _) in enumerate(layers) if any("given" in one for one in seen["edits"].get("resid_pre", ()))
        ]
        slopes = torch.autograd.grad(logit, [embeddings, *ends, *[layers[i][1]["pre"] for i in put_before]])
    k = min(top_k, len(target["answer"]))
    likely = target["answer"].topk(k).indices.tolist()
    slopes = [slopes[0]] + [slope[own] for slope in slopes[1:]]  # every row of a position goes the same way
    of_pre = dict(zip(put_before, slopes[1 + len(ends) :], strict=True))
    cells = [(embeddings.detach(), slopes[0])]
    added, put_in, mlp = [], [], []  # 3.
    arrived, left = torch.zeros(plan.n_layers, plan.n_heads, n), torch.zeros(plan.n_layers, plan.n_heads, n)
    arrivals, departures = [], []
    for index, (seen, states) in enumerate(layers):
        of_z, *of_stages = slopes[1 + index * (1 + len(stages)) : 1 + (index + 1) * (1 + len(stages))]
        cells.extend((seen[name], slope) for name, slope in zip(stages, of_stages, strict=True))
        for stage, (bias, put) in enumerate(from_nothing(seen, plan, pairs)):
            added.append((bias * of_stages[stage]).sum(-1))
            put_in.append((put * of_stages[stage]).sum(-1))
        if index in of_pre:
            nothing = torch.zeros(len(pairs["position"]), seen["pre"].shape[-1], device=seen["pre"].device)
            put = together(edited(nothing, "resid_pre", seen, slice(None), pairs), pairs)
            put_in[-len(stages)] += (put * of_pre[index]).sum(-1)
        written = edited(states["written"].detach(), "resid_post", seen, slice(None), {**pairs, "given": 0})
        mlp.append((together(written, pairs) * of_stages[-1]).sum(-1))
        into, out = _moved(seen, of_z, plan, pairs, most, arrived[index], left[index])
        arrivals.append(into)
        departures.append(out)
        if report is not None:
            report(plan.n_layers + index + 1, steps)
    added = torch.stack(added)
    specific = None
    if other is not None:
        each = zip(cells, other.to(embeddings.device), strict=True)
        specific = torch.stack([((x - instead) * slope).sum(-1) for (x, slope), instead in each]).cpu()
    end = without_residual(target, rows[here].detach(), here, pairs)
    return {
        "by_cell": torch.stack([(x * slope).sum(-1) for x, slope in cells]).cpu(),
        "specific": specific,
        "added": added.cpu(),
        "put_in": torch.stack(put_in).cpu(),
        "end": end,
        "by_mlp": torch.stack(mlp).cpu(),
        "arrived": arrived,
        "left": left,
        **{f"arrivals_{name}": torch.stack([one[name] for one in arrivals]).cpu() for name in ("head", "other", "logit")},
        **{f"departures_{name}": torch.stack([one[name] for one in departures]).cpu() for name in ("head", "other", "logit")},
        "ids": target["ids"],
        "next": target["every"].topk(k).indices.int().cpu(),
        "top": [(int(t), float(target["answer"].softmax(-1)[t]), float(target["answer"][t])) for t in likely],
        "total": target["total"],
        "model_total": target["model_total"],
        "off": target["off"],
        "dtype": str(target["dtype"]).removeprefix("torch."),
    }


def together(rows, pairs):
    """The sum of each position's rows."""
    return rows.new_zeros(len(pairs["size"]), rows.shape[-1]).index_add(0, pairs["position"], rows)


def from_nothing(seen, plan, pairs):
    """What a layer adds at every position to a residual of zero, by stage: (of its biases, of what interventions put in)."""
    stages = 1 if plan.parallel else 2
    if not plan.biased and not pairs["given"]:
        return [(torch.zeros_like(seen["pre"]), torch.zeros_like(seen["pre"]))] * stages
    nothing = torch.zeros(len(pairs["position"]), seen["pre"].shape[-1], device=seen["pre"].device)
    every = slice(None)
    z = mix(values_of(nothing, seen, plan, every, pairs), seen["pattern"], plan, every, pairs)
    attention, mlp = attention_writes(z, seen, plan, every, pairs), mlp_writes(nothing, seen, plan, every, pairs)
    if plan.parallel:
        written = [edited(attention + mlp, "resid_post", seen, every, pairs)]
    else:
        written = [edited(attention, "resid_mid", seen, every, pairs), edited(mlp, "resid_post", seen, every, pairs)]
    is_bias = pairs["is_bias"][:, None]
    return [(together(rows * is_bias, pairs), together(rows * ~is_bias, pairs)) for rows in written]


def _moved(seen, of_z, plan, pairs, most, arrived, left):
    """What each head moves from a position to another, by position: the largest that arrive, the largest that leave; their sums
    by head go into `arrived` and `left`."""
    best = [None, None]
    for head, moved in enumerate(moves_of(seen, of_z, plan, pairs)):
        for end, (table, total) in enumerate(((moved, arrived), (moved.T, left))):
            total[head] = table.sum(-1).cpu()
            best[end] = _largest(best[end], table, head, most)
    return best


def moves_of(seen, of_z, plan, pairs):
    """What each head in turn moves from every position to every other, [to, from]."""
    n = len(of_z)
    rows = torch.zeros(len(pairs["position"]), seen["pre"].shape[-1], device=of_z.device)
    rows[pairs["own"]] = seen["pre"]
    silent = {**pairs, "is_bias": torch.zeros_like(pairs["is_bias"])}  # what biases add is no move
    values = values_of(rows, seen, plan, slice(None), silent)[pairs["own"]].view(n, -1, plan.d_head)
    shared = plan.n_heads // values.shape[1]
    of_z = of_z.view(n, plan.n_heads, plan.d_head)
    for head in range(plan.n_heads):
        moved = seen["pattern"][head] * (of_z[:, head] @ values[:, head // shared].T)
        yield moved.fill_diagonal_(0)


def _largest(best, table, head, most):
    """The `most` largest of what there was and of a head's row for each position, by size."""
    value, other = _first(table, most)
    found = {"logit": value, "other": other.int(), "head": torch.full_like(other, head).int()}
    if best is None:
        return found
    both = {name: torch.cat([best[name], part], 1) for name, part in found.items()}
    order = _first(both["logit"], most)[1]
    return {name: part.gather(1, order) for name, part in both.items()}


def _first(table, most):
    """The entries of largest size in each row, and where they stand."""
    where = table.abs().topk(min(most, table.shape[1])).indices
    return table.gather(1, where), where
