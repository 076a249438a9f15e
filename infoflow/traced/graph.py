"""What runs inside the trace to see along which paths a logit came. The steps are numbered as in `graph.py` of the analyses.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.attribution import pairs_to_go_back, read, rows_at, target_at, through, without_residual
from infoflow.traced.frozen import capture, normed
from infoflow.traced.interventions import begun, edited
from infoflow.traced.location import from_nothing, moves_of, together


def graph_block(nn, tracer, plan, n, position, ids, threshold, strongest, report):
    """The whole of it, inside a trace: the layers on the way up, and then back down through both networks, the whole one and the
    one with nothing but kept moves."""
    layers, modules, pairs = [], nn.get(plan.layers), None
    for index in range(plan.n_layers):  # 1.
        given = modules[index].input
        pairs = pairs or pairs_to_go_back(plan, n, given.device)
        layers.append(capture(modules[index], given, index, plan, pairs))
        if report is not None:
            report(index + 1, 2 * plan.n_layers)
    here = rows_at(pairs, position)
    target = target_at(nn, tracer, plan, position, ids, False, pairs)
    end = torch.zeros(pairs["size"][position], layers[0]["pre"].shape[-1], device=layers[0]["pre"].device)
    with torch.enable_grad():
        end.requires_grad_()
        (slope,) = torch.autograd.grad(read(target, normed(end, target["norm"], here, pairs), here, pairs).sum(), end)
    whole = torch.zeros(n, end.shape[-1], device=end.device)
    whole[position] = slope[-1]
    kept = whole.clone()
    reaches = torch.zeros(n, dtype=torch.bool, device=end.device)  # cells with a kept way to the end
    reaches[position] = True
    cells, open_at = [(layers[-1]["post"] * whole).sum(-1)], [reaches]
    stays, added, put_in, edges = [], [], [], []
    kept_added = kept_put_in = off = 0.0
    for index in reversed(range(plan.n_layers)):  # 2.
        seen = layers[index]
        back = _back(seen, seen["pattern"], whole, plan, pairs, index == 0)
        moved = torch.stack(list(moves_of(seen, back["z"], plan, pairs)))  # [head, to, from]
        together_moved = moved.sum(0)
        keep = reaches[:, None] & (together_moved.abs() >= threshold * abs(target["total"]))  # 3.
        keep &= (seen["pattern"] != 0).any(0)
        keep.fill_diagonal_(False)
        edges.append(_edges(index, keep, moved, strongest))
        staying = keep.clone().fill_diagonal_(True)
        along = _back(seen, seen["pattern"] * staying, kept, plan, pairs, index == 0)  # 4.
        nothing = _given_before(seen, pairs)
        before, enters = (nothing * back["pre"]).sum(-1), [back["mid"], whole][-2 + plan.parallel :]
        enter_kept = [along["mid"], kept][-2 + plan.parallel :]
        parts = from_nothing(seen, plan, pairs)
        bias = sum((of_bias * met).sum(-1) for (of_bias, _), met in zip(parts, enters, strict=True))
        put = sum((of_put * met).sum(-1) for (_, of_put), met in zip(parts, enters, strict=True))
        kept_added += sum(float((of_bias * met).sum()) for (of_bias, _), met in zip(parts, enter_kept, strict=True))
        kept_put_in += sum(float((of_put * met).sum()) for (_, of_put), met in zip(parts, enter_kept, strict=True))
        kept_put_in += float((nothing * along["pre"]).sum())
        x = layers[index - 1]["post"] if index else begun(seen["pre"], seen, pairs)[1]
        cell = (x * back["row"]).sum(-1)
        stay = cell + before - together_moved.sum(0)
        off = max(off, float((stay + together_moved.sum(1) + bias + put - cells[-1]).abs().max()))
        cells.append(cell)
        stays.append(stay)
        added.append(bias)
        put_in.append(put + before)
        whole, kept = back["row"], along["row"]
        reaches = reaches | keep.any(0)
        open_at.append(reaches)
        if report is not None:
            report(2 * plan.n_layers - index, 2 * plan.n_layers)
    return {
        **{name: torch.cat([one[name] for one in edges]).cpu() for name in edges[0]},
        **{
            name: torch.stack(rows[::-1]).cpu()
            for name, rows in {
                "cells": cells, "reaches": open_at, "stays": stays, "added": added, "put_in": put_in,
            }.items()
        },
        "by_source": (x * kept).sum(-1).cpu(),
        "kept_added": kept_added,
        "kept_put_in": kept_put_in,
        "end": without_residual(target, end.detach(), here, pairs),
        "ids": target["ids"],
        "total": target["total"],
        "model_total": target["model_total"],
        "off": max(off, target["off"]),
        "dtype": str(target["dtype"]).removeprefix("torch."),
    }  # fmt: skip


def _back(seen, pattern, slope, plan, pairs, first):
    """From the slope [position, d_model] after a layer, with that pattern in it, those before it: at the `row` below, at what the
    layer reads of it (`pre`), at `z` and at `mid`. All rows of a position have the same."""
    own = pairs["own"]
    with torch.enable_grad():
        row = torch.zeros_like(slope).requires_grad_()
        pre = row if first else edited(row, "resid_pre", seen, own, pairs)  # the embeddings are given as changed
        stages = through(pre, {**seen, "pattern": pattern}, plan, own, pairs, int(pairs["src"][own[0]]), 1)
        of = {"row": row, "pre": pre, "z": stages["z"], "mid": stages["mid"]}
        return dict(zip(of, torch.autograd.grad(stages["post"], list(of.values()), slope), strict=True))


def _given_before(seen, pairs):
    """What interventions put into the residual before a layer reads it, [position, d_model]."""
    nothing = torch.zeros(len(pairs["position"]), seen["pre"].shape[-1], device=seen["pre"].device)
    return together(edited(nothing, "resid_pre", seen, slice(None), pairs), pairs)


def _edges(index, keep, moved, strongest):
    """The moves that are kept of a layer, with the heads that do most of each."""
    dest, source = keep.nonzero(as_tuple=True)
    by_head = moved[:, dest, source].T  # [edge, head]
    head = by_head.abs().topk(min(strongest, len(moved))).indices
    return {
        "layer": torch.full_like(dest, index), "dest": dest, "source": source, "amount": by_head.sum(-1), "head": head,
        "head_amount": by_head.gather(1, head),
    }  # fmt: skip
