"""What runs inside the trace to split one attention score by the sources of its query and of its key.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only. The steps are numbered as in
`analyses/query_key.py`.
"""

import torch

from infoflow.traced.frozen import (
    add_attention,
    add_mlp,
    affine,
    capture,
    enter,
    in_full,
    linear,
    norm_of,
    normed,
    pairs_of,
    probed,
)
from infoflow.traced.interventions import begun
from infoflow.traced.patterns import pattern_passed, pattern_returned

NO_SCORES = "the attention module does not say what queries and keys it compares"
"""what a run ends with where no call is known that takes both"""


def score_block(nn, tracer, plan, source_of, layer, head, query, keys, report):
    """The whole of it, inside a trace: the parts of the scores of one query with some keys, and the model's own scores."""
    layers = nn.get(plan.layers)
    pairs, rows = None, torch.empty(0)
    for index in range(layer + 1):  # 1.
        given, edits = layers[index].input, {"edits": plan.edits.get(index, {})}
        if index == 0:
            pairs = pairs_of(source_of, plan.biased, given.device, len(plan.given))
            seen = capture(layers[0], given, 0, plan, pairs) if layer else edits
            rows, own = begun(given[0].float(), edits, pairs)
            rows[pairs["own"]] = own
        else:
            seen = capture(layers[index], given, index, plan, pairs) if index < layer else edits
            enter(rows, seen, pairs)
        if index < layer:
            before = rows.clone() if plan.parallel else rows
            add_attention(rows, seen, plan, pairs)
            add_mlp(rows, before, seen, plan, pairs)
        if report is not None:
            report(index + 1, layer + 1)
    seen = compared(layers[layer], plan, pairs, head)
    with torch.autocast(rows.device.type, enabled=False):
        places = sorted({query, *keys})
        turns = {p: turn_at(p, seen, plan) for p in places}  # 3.
        size = pairs["n_sources"]
        parts, of_key = torch.zeros(len(keys), size, size, dtype=torch.float64), head * plan.n_kv_heads // plan.n_heads
        reads = split_at(rows, query, 0, head, turns[query], seen, plan, pairs)  # 2.
        for i, key in enumerate(keys):
            offers = split_at(rows, key, 1, of_key, turns[key], seen, plan, pairs)
            parts[i, : len(reads), : len(offers)] = (seen["scaling"] * reads @ offers.T).cpu()  # 4.
        own = seen["scaling"] * (in_full(seen["heads"][1][of_key]) @ in_full(seen["heads"][0][head, query]))
    return {
        "parts": parts.roll((-len(plan.given) - plan.biased,) * 2, (-2, -1)),
        "scores": (own + in_full(seen["position"])).cpu(),
        "position": seen["position"].cpu(),
        "hidden": seen["hidden"][query].cpu(),
        "pattern": seen["pattern"][head, query].cpu(),
        "softcap": seen["softcap"],
        "off": max(turn["off"] for turn in turns.values()),
        "dtype": seen["dtype"],
    }


def compared(layer, plan, pairs, head):
    """What attention of a layer compares, as the model has it, in the order in which it computes: its input x, its norm, its
    mask, queries and keys of all heads ([head, position, d_head]: turned by position, before scaling), and the pattern."""
    attention = layer.get(plan.attention)
    attention.source  # noqa: B018  its being asked for says that it will be looked into
    read = norm_of(layer, plan.attention_norm, pairs)
    given, named = attention.inputs
    x = named["hidden_states"] if "hidden_states" in named else given[0]
    n = x.shape[-2]
    position, softcap, pattern = torch.zeros(n, device=x.device), 0.0, None
    if hasattr(attention.source, "attention_interface_1"):  # nearly all families
        args, more = attention.source.attention_interface_1.inputs
        heads = args[1][0], args[2][0]
        scaling, softcap = more.get("scaling"), float(more.get("softcap") or 0.0)
        pattern = None if plan.eager else pattern_passed(args, more)
    elif hasattr(attention.source, "self__attn_0"):  # GPT-J
        args, _ = attention.source.self__attn_0.inputs
        heads, scaling = (args[0][0], args[1][0]), None
    elif hasattr(attention.source, "alibi_baddbmm_0"):  # Bloom
        _, more = attention.source.alibi_baddbmm_0.inputs
        heads, scaling = (more["batch1"], more["batch2"].transpose(1, 2)), more["alpha"]
        position = more["beta"] * named["alibi"][head, 0].float()
    else:
        raise ValueError(NO_SCORES)
    pattern = pattern_returned(attention.output) if pattern is None else pattern
    ago = torch.arange(n, device=x.device)[:, None] - torch.arange(n, device=x.device)
    hidden, mask = ago < 0, named.get("attention_mask")
    if mask is not None:
        mask = mask[0, head if mask.shape[1] > 1 else 0, :, :n]
        hidden = hidden | (~mask if mask.dtype == torch.bool else mask < torch.finfo(mask.dtype).min / 2)
    width, rotary = x.shape[-1], named.get("position_embeddings")
    return {
        "x": x[0], "read": read, "heads": heads, "scaling": float(plan.d_head**-0.5 if scaling is None else scaling),
        "position": position, "softcap": softcap, "pattern": pattern, "hidden": hidden,
        "dtype": str(x.dtype).removeprefix("torch."),
        "maps": [affine("projection", attention.get(path), width, x.dtype, pairs) for path in plan.projections],
        "norms": [attention.get(path) if path else None for path in plan.head_norms],
        "turned": [plan.d_head] if rotary is None else [rotary[0].shape[-1], 2 * rotary[0].shape[-1]],
    }  # fmt: skip


def of_role(inner, role, plan):
    """The queries (role 0) or keys (1) among what a projection gives: [row, head, d_head]."""
    counts = plan.n_heads, plan.n_kv_heads
    if plan.fused == "blocks":  # [all queries | all keys | all values]
        start = role * plan.n_heads * plan.d_head
        inner = inner[:, start : start + counts[role] * plan.d_head]
    elif plan.fused == "per head":  # head by head [query | key | value]
        inner = inner.view(len(inner), plan.n_heads, 3, plan.d_head)[:, :, role]
    return inner.reshape(len(inner), counts[role], plan.d_head)


def head_norm(norm, x, plan, pairs):
    """The norm of queries or keys of all heads at one position, x [1, head, d_head], frozen: y = factor (x - mean) + bias; and
    what it makes of x, as the model has it. Over each head, or over all of them side by side."""
    like = x.reshape(1, -1) if plan.norm_of_all_heads else x
    gain, bias, centred = probed(norm, like, pairs["biased"])
    y, given = norm(like), like.float()
    folded = gain * (given - given.mean(-1, keepdim=True) if centred else given)
    along = ((y.float() - bias) * folded).sum(-1, keepdim=True)
    factor = gain * along / (folded * folded).sum(-1, keepdim=True).clamp_min(1e-30)
    return {"factor": factor, "bias": bias, "centred": centred}, y.reshape(x.shape)


def turn_at(position, seen, plan):
    """How queries and keys are turned at a position: by what takes those of all heads, before, to those that the model
    compares; `more`: what each of them is multiplied by besides."""
    before, after, frozen = [], [], []
    for role, (owner, norm) in enumerate(zip(seen["maps"], seen["norms"], strict=True)):
        x = of_role(owner["module"](seen["x"][position : position + 1]), role, plan)
        one = None
        if norm is not None:
            one, x = head_norm(norm, x, plan, {"biased": plan.biased})
        before.append(in_full(x[0]))
        after.append(in_full(seen["heads"][role][:, position]))
        frozen.append(one)
    grown = [float(new.norm() / old.norm()) if float(old.norm()) else 1.0 for old, new in zip(before, after, strict=True)]
    best = {"off": float("inf")}
    for more in (1.0, grown[0] / (grown[1] or 1.0)):  # some families scale queries before they are compared
        turn = turn_of(torch.cat([more * before[0], before[1]]), torch.cat(after), seen["turned"])
        best = {**turn, "more": (more, 1.0)} if turn["off"] < best["off"] / 2 else best
    return {**best, "norms": frozen}


def turn_of(before, after, widths):
    """The rotation that takes the rows of `before` to those of `after`, [row, d]: pairs of coordinates i and j, each turned by
    its own angle and, in some families, scaled: y_i = c x_i - s x_j, y_j = c x_j + s x_i.

    c and s are the least squares' over the rows. Which coordinates are a pair differs by family, i and i + half of what is
    turned, or neighbours: those that make the rows best. `off`: |R before - after| / |after|, 0 where that is what happens.
    """
    d, device, best = before.shape[-1], before.device, {"off": float("inf")}
    halves = [(torch.arange(w // 2, device=device), torch.arange(w // 2, w, device=device)) for w in widths if w <= d]
    for i, j in [*halves, (torch.arange(0, d - 1, 2, device=device), torch.arange(1, d, 2, device=device))]:
        size = (before[:, i] ** 2 + before[:, j] ** 2).sum(0)
        c = (before[:, i] * after[:, i] + before[:, j] * after[:, j]).sum(0) / size
        s = (before[:, i] * after[:, j] - before[:, j] * after[:, i]).sum(0) / size
        turn = {"i": i, "j": j, "c": torch.where(size > 0, c, 1.0), "s": torch.where(size > 0, s, 0.0)}
        off = float((turned(before, turn) - after).norm() / after.norm().clamp_min(1e-30))
        if off < best["off"]:
            best = {**turn, "off": off}
    return best


def turned(x, turn):
    """Rows [row, d], turned."""
    i, j, out = turn["i"], turn["j"], x.clone()
    out[:, i] = turn["c"] * x[:, i] - turn["s"] * x[:, j]
    out[:, j] = turn["c"] * x[:, j] + turn["s"] * x[:, i]
    return out


def split_at(rows, position, role, head, turn, seen, plan, pairs):
    """The query (role 0) or key (1) of a head at a position, as it is compared, split by source: [source, d_head]."""
    part = slice(pairs["start"][position], pairs["start"][position] + pairs["size"][position])
    inner = linear(seen["maps"][role], normed(rows[part], seen["read"], part, pairs), part, pairs)
    found = of_role(inner, role, plan)
    norm = turn["norms"][role]
    if norm is not None:
        flat = found.reshape(len(found), 1, -1) if plan.norm_of_all_heads else found
        out = (flat - flat.mean(-1, keepdim=True) if norm["centred"] else flat) * norm["factor"]
        out[pairs["is_bias"][part]] += norm["bias"]
        found = out.reshape(found.shape)
    return turned(turn["more"][role] * in_full(found[:, head]), turn)
