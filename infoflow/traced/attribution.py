"""What runs inside the trace to attribute a logit. The steps are numbered as in `attribution.py`.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.frozen import (
    attention_writes,
    capped,
    capture,
    final_norm,
    mix,
    mlp_writes,
    normed,
    pairs_of,
    unembed,
    values_of,
)
from infoflow.traced.interventions import back_through, begun, edited


def frozen_stream(nn, plan, n, collect, report, steps):
    """The residual of every position as a linear function of the embeddings, with a graph to go backward on.

    One row per position for the tokens together, one for the biases, and one for what interventions put in. `collect(seen, rows,
    pairs)` is called for each layer with its rows, part of the graph: `pre` (as changed), `z`, `mid`, what the MLP has
    `written`, `post`. `report` hears of `steps` steps, of which the layers are the first.
    """
    layers = nn.get(plan.layers)
    pairs = None
    every = slice(None)
    embeddings = rows = torch.empty(0)
    for index in range(plan.n_layers):
        given = layers[index].input
        pairs = pairs or pairs_to_go_back(plan, n, given.device)
        seen = capture(layers[index], given, index, plan, pairs)
        with torch.enable_grad():
            if index == 0:
                rows, own = begun(seen["pre"].detach(), seen, pairs)  # the embeddings are given as changed
                embeddings = own.clone().requires_grad_()
                rows = rows.index_add(0, pairs["own"], embeddings)
            else:
                rows = edited(rows, "resid_pre", seen, every, pairs)
            stages = through(rows, seen, plan, every, pairs)
        rows = stages["post"]
        collect(seen, stages, pairs)
        if report is not None:
            report(index + 1, steps)
    return embeddings, rows, pairs


def pairs_to_go_back(plan, n, device):
    """One row per position for the tokens together, one for the biases, one for what interventions put in; with the maps that a
    gradient goes through."""
    rows = pairs_of([0] * n, plan.biased, device, min(1, len(plan.given)))
    return {**rows, "graph": ("value", "output", "up", "down", "unembed")}


def through(rows, seen, plan, part, pairs, first=0, n_sources=None):
    """Some rows as a layer takes them (those of `n_sources` sources from `first` on), and what becomes of them: `pre` as given,
    `z`, `mid`, what the MLP has `written`, `post`."""
    z = mix(values_of(rows, seen, plan, part, pairs), seen["pattern"], plan, part, pairs, first, n_sources)
    mid = edited(rows + attention_writes(z, seen, plan, part, pairs), "resid_mid", seen, part, pairs)
    written = mlp_writes(rows if plan.parallel else mid, seen, plan, part, pairs)
    post = edited(mid + written, "resid_post", seen, part, pairs)
    return {"pre": rows, "z": z, "mid": mid, "written": written, "post": post}


def rows_at(pairs, position):
    """The rows of one position."""
    return slice(pairs["start"][position], pairs["start"][position] + pairs["size"][position])


def attribute_block(nn, tracer, plan, n, position, ids, centred, folded, other, report):
    """The whole of it, inside a trace. `other`: the embeddings that the prompt's own are held against, or None."""
    heads, writes = [], []

    def collect(seen, rows, pairs):
        here = rows_at(pairs, position)
        owner = {name: seen[name] for name in ("output", "add", "edits")}
        heads.append((owner, rows["z"].detach()[here]))
        writes.append(rows["written"].detach()[here].sum(0))

    embeddings, rows, pairs = frozen_stream(nn, plan, n, collect, report, plan.n_layers)  # 2.
    here = rows_at(pairs, position)
    target = target_at(nn, tracer, plan, position, ids, centred, pairs)
    with torch.enable_grad():
        end = rows[here]
        by_row = read(target, normed(end, target["norm"], here, pairs), here, pairs)
        gradient, direction = torch.autograd.grad(by_row.sum(), [embeddings, end])
        if not folded:
            (direction,) = torch.autograd.grad(read(target, end, here, pairs).sum(), end)
    by_row, end, direction = by_row.detach(), end.detach(), direction[-1]
    logit, put_in = by_row.sum(), float(by_row[: pairs["given"]].sum())
    by_source = (gradient * embeddings.detach()).sum(-1)
    met, embedded, put_directly = back_through(plan, position, direction)  # 3.
    direct = [heads_direct(plan, seen, z, here, pairs, meets) for (seen, z), (meets, _) in zip(heads, met, strict=True)]
    of_biases = sum(bias for _, bias, _ in direct) + (without_residual(target, end, here, pairs) if folded else 0.0)
    return {
        "by_source": by_source.cpu(),
        "specific": None if other is None else (gradient * (embeddings.detach() - other.to(gradient.device))).sum(-1).cpu(),
        "bias": float(logit - by_source.sum()) - put_in if plan.biased else 0.0,
        "put_in": put_in,
        "by_head": torch.stack([share for share, *_ in direct]).cpu(),
        "by_mlp": torch.stack([write @ meets for write, (_, meets) in zip(writes, met, strict=True)]).cpu(),
        "embedding": float(embeddings[position].detach() @ embedded),
        "direct_put_in": put_directly + sum(put for *_, put in direct),
        "direct_bias": of_biases,
        "dtype": str(target["dtype"]).removeprefix("torch."),
        "total": target["total"],
        "model_total": target["model_total"],
        "off": target["off"],
        "direct_total": target["total"] if folded else float(end.sum(0) @ direction),
    }


def target_at(nn, tracer, plan, position, ids, centred, pairs):
    """What is split: the weight of each logit in it, the maps that read logits off the end, the model's own value.

    `ids`: the target and what it is held against; -1 is the likeliest token.
    """
    norm = final_norm(nn, plan, pairs)
    head = nn.get(plan.unembed)
    dtype, every = head.input.dtype, head.output[0]
    logits = every[position].float()
    answer = tracer.result.logits[0, position].float()
    ids = [int(answer.argmax()) if i < 0 else i for i in ids]
    weight = weight_of(logits, ids, centred, plan)
    own = float(answer @ weight) / plan.logit_scale
    return {
        "norm": norm, "head": head, "dtype": dtype, "ids": ids, "answer": answer, "every": every,
        "weight": weight,
        "total": float(logits @ weight), "model_total": own,
        "off": float((capped(logits * plan.logit_scale, plan) - answer).abs().max()),
    }  # fmt: skip


def weight_of(logits, ids, centred, plan):
    """The weight of each raw logit in what is split: the family's scale for the target, less it for what it is held against."""
    mean = 1 / len(logits) if centred and len(ids) == 1 else 0.0  # a difference of two is free of it anyway
    weight = torch.zeros_like(logits) - mean
    weight[ids[0]] += 1
    if len(ids) > 1:
        weight[ids[1]] -= 1
    return plan.logit_scale * weight


def read(target, rows, here, pairs):
    """The target's value for each of some rows of one position, which the final norm has seen or not."""
    return unembed(target["head"], rows, target["dtype"], here, pairs) @ target["weight"]


def without_residual(target, end, here, pairs):
    """What is there without any residual: the biases of the final norm and of the unembedding."""
    return float(read(target, normed(torch.zeros_like(end), target["norm"], here, pairs), here, pairs).sum())


def heads_direct(plan, seen, z, here, pairs, direction):
    """<W_O^h z, direction> of each head of a layer at one position, what the output's and post-norm's biases add, and what
    interventions put in the place of what attention writes."""
    plain = {**seen, "edits": {site: some for site, some in seen["edits"].items() if site != "z"}}
    with torch.enable_grad():
        z = edited(z, "z", seen, here, pairs).clone().requires_grad_()
        write = (attention_writes(z, plain, plan, here, pairs) @ direction).sum()
        (slope,) = torch.autograd.grad(write, z)
    share = (slope * z.detach()).view(len(z), plan.n_heads, plan.d_head).sum((0, 2))
    added = attention_writes(torch.zeros_like(z.detach()), plain, plan, here, pairs) @ direction
    put_in = float(added[: pairs["given"]].sum())
    return share, float(added.sum()) - put_in, put_in
