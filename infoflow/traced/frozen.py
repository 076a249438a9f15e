"""One run of the model with patterns, gates and norm scales held fixed: what is left is linear, and acts on rows.

These functions run inside a trace, here or on a server that is sent their source. Therefore torch, plain values and
module calls only: nothing is imported inside a function, no `.weight` is read (a server may hold none, or quantised
ones), nothing of Streamlit is called, and no class of ours goes in or out. What the model computed (inputs, outputs,
patterns) is captured, not recomputed, but for the gates of experts, which no module gives. All arithmetic is float32,
whatever the weights are stored in.

A *row* is the part of one position's residual that belongs to one source; `pairs` says which row is which. Functions take
some rows at a time (`part`), so that a caller decides how much memory the steps in between may use.
"""

import torch

from infoflow.traced.experts import experts_write, freeze_experts
from infoflow.traced.interventions import edited
from infoflow.traced.patterns import look_inside, of_values, pattern_given, pattern_returned


def pairs_of(source_of, biased, device, given=0):
    """Rows of the packed state: for each position the sources met so far, and before them what no token says: so many sources
    that interventions are (`given`), and the bias where the model has one.

    Sources are numbered by first appearance, so those of one position are always a prefix.
    """
    position, src, own, start, met, shift = [], [], [], [], 0, int(biased) + given
    for p, s in enumerate(source_of):
        met = max(met, s + 1)
        start.append(len(position))
        own.append(len(position) + s + shift)
        position.extend([p] * (met + shift))
        src.extend(range(met + shift))
    index = {"position": position, "src": src, "own": own}
    out = {name: torch.tensor(values, device=device) for name, values in index.items()}
    out["biased"] = biased
    out["given"] = given
    out["is_bias"] = (out["src"] == given) & biased
    out["n_sources"] = met + shift
    out["start"] = start
    out["size"] = [b - a for a, b in zip(start, [*start[1:], len(position)], strict=True)]
    return out


def column_of(n, is_bias, biased, device):
    """Rows of a single source: one per position. `is_bias` says whether it is the source that the weights' biases go to."""
    position = torch.arange(n, device=device)
    return {
        "position": position, "src": torch.zeros_like(position), "biased": biased,
        "is_bias": torch.full_like(position, int(is_bias)) > 0, "n_sources": 1, "start": list(range(n)), "size": [1] * n,
    }  # fmt: skip


def capture(layer, given, index, plan, pairs):
    """What one layer computed on this run, read in the order in which it computes it, and its linear maps.

    `given` is the layer's input, which the caller has read: it says on which device the run is.

    `pre`, `mid`, `post`: the residual before the layer, after attention, after the MLP. `read` and `add` hold the norms
    before and after attention, `mlp_read` and `mlp_add` those around the MLP; `gate` what its hidden units are
    multiplied by, or `experts` the same for each expert that was chosen.
    """
    x, dtype = given[0].float(), given.dtype
    attention = look_inside(layer.get(plan.attention), plan)
    read = norm_of(layer, plan.attention_norm, pairs)
    pattern = None if plan.eager else pattern_given(attention)
    out = attention.output
    pattern = pattern_returned(out) if pattern is None else pattern
    written = out[0][0].float()
    add = norm_of(layer, plan.attention_post_norm, pairs, (plan.unchanged, (index, "attn")))
    if plan.parallel:  # the MLP reads what attention read; in between is what attention alone has added
        mid = x + plan.residual_multiplier * written
        mlp_read = norm_of(layer, plan.mlp_norm, pairs) or read
    elif plan.mlp_norm:
        mlp_read = norm_of(layer, plan.mlp_norm, pairs)
        mid = mlp_read["input"]
    else:
        mid, mlp_read = layer.get(plan.mlp).input[0].float(), None
    seen = {
        "edits": plan.edits.get(index, {}),
        "pre": x,
        "mid": mid,
        "pattern": pattern,
        "read": read,
        "add": add,
        "mlp_read": mlp_read,
    }
    if index in plan.sparse:
        router = layer.get(plan.router)
        normed_input, routed = router.input, router.output
        seen["experts"] = freeze_experts(layer.get(plan.experts)._module, normed_input, routed[1], routed[2])
    else:
        seen["gate"] = _gate_of(layer, plan, len(x))
    seen["mlp_add"] = norm_of(layer, plan.mlp_post_norm, pairs, (plan.unchanged, (index, "mlp")))
    after = layer.output
    seen["post"] = (after[0] if isinstance(after, tuple) else after)[0].float()
    width = plan.n_heads * plan.d_head
    seen["value"] = affine("value", attention.get(plan.value), x.shape[-1], dtype, pairs)
    seen["output"] = affine("output", attention.get(plan.output), width, dtype, pairs)
    if index not in plan.sparse:
        seen["up"] = affine("up", layer.get(plan.up), x.shape[-1], dtype, pairs)
        seen["down"] = affine("down", layer.get(plan.down), seen["gate"].shape[-1], dtype, pairs)
    return seen


def in_full(x):
    """In float64; on the CPU where x's own device (Apple's) knows none."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def affine(role, module, width, dtype, pairs):
    """An affine module of `width` inputs as a linear map and a bias, by calls alone.

    Modules that compute in float32 are called as they are. Others would round every product, so their matrix is read off
    unit vectors (each product has then one term, and is exact) and used in float32. So is that of a module whose calls carry
    no gradient, where one has to go through it: `pairs["graph"]` names those roles.
    """
    bias = None
    if pairs["biased"]:
        bias = module(torch.zeros(1, width, dtype=dtype, device=pairs["position"].device))[0].float()
    called = dtype == torch.float32 and not (role in pairs.get("graph", ()) and severed(module, width, dtype, pairs))
    matrix = None if called else _matrix(module, 0, width, width, dtype, pairs)
    return {"module": module, "matrix": matrix, "bias": bias}


def severed(module, width, dtype, pairs):
    """Whether no gradient comes back through the call of a module, as where it is answered by another process."""
    if "severed" not in pairs:
        with torch.enable_grad():
            probe = torch.zeros(1, width, dtype=dtype, device=pairs["position"].device, requires_grad=True)
            pairs["severed"] = module(probe).grad_fn is None
    return pairs["severed"]


def linear(owner, rows, part, pairs):
    """The linear part of an affine map on every row; its bias on the bias source's rows alone. Always a new tensor."""
    bias = owner["bias"]
    if owner["matrix"] is not None:
        out = rows @ owner["matrix"]
    else:
        out = owner["module"](rows)
        out = out if bias is None else out.sub_(bias)
    if bias is not None:
        out[pairs["is_bias"][part]] += bias
    return out


def unembed(module, rows, dtype, part, pairs):
    """`linear` for the unembedding, whose matrix may be large: where it must be read off, a block of its inputs at a time."""
    width = rows.shape[-1]
    if dtype == torch.float32 and not ("unembed" in pairs.get("graph", ()) and severed(module, width, dtype, pairs)):
        return linear(affine("unembed", module, width, dtype, {**pairs, "graph": ()}), rows, part, pairs)
    out = torch.zeros((), device=rows.device)
    for first in range(0, width, 256):
        last = min(first + 256, width)
        out = out + rows[:, first:last] @ _matrix(module, first, last, width, dtype, pairs)
    if pairs["biased"]:
        bias = module(torch.zeros(1, width, dtype=dtype, device=rows.device))[0].float()
        out[pairs["is_bias"][part]] += bias
    return out


def _matrix(module, first, last, width, dtype, pairs):
    """Some rows of the matrix of an affine module, [inputs, outputs], float32.

    Beside a bias the unit vectors are scaled up, as far as the type's range allows, so that the sum rounds little of them.
    """
    scale = 1.0 if not pairs["biased"] else 256.0 if dtype == torch.float16 else 2.0**40
    units = torch.zeros(last - first, width, dtype=dtype, device=pairs["position"].device)
    units[torch.arange(last - first), torch.arange(first, last)] = scale
    out = module(units).float()
    return (out - module(-units).float()) / (2 * scale) if pairs["biased"] else out


def norm_of(owner, path, pairs, unchanged=({}, None)):
    """A norm as a linear map with its scale frozen: y = scale[p] * gain * (x - mean) + bias; None where there is none.

    Gain and bias are read off probes: a norm of zero is its bias; equal entries vanish in a LayerNorm and give the gain
    of an RMSNorm, alternating ones give a LayerNorm's. They are a power of two, whose mean is exact in any precision, and
    large against epsilon; in half precision a gain that is small beside its bias is still rounded. The scale is read off
    what the norm returned on this run; where that was changed, it is in a dict by the time that it has returned: `unchanged`
    is the dict and the key.
    """
    if not path:
        return None
    norm = owner.get(path)
    given, y = norm.input, norm.output
    y = unchanged[0].get(unchanged[1], y)
    like = given.reshape(-1, given.shape[-1])[:1]
    x, y = given.reshape(-1, given.shape[-1]).float(), y.reshape(-1, y.shape[-1]).float()
    gain, bias, centred = probed(norm, like, pairs["biased"])
    folded = gain * (x - x.mean(-1, keepdim=True) if centred else x)
    scale = ((y - bias) * folded).sum(-1) / (folded * folded).sum(-1).clamp_min(1e-30)
    return {"input": x, "scale": scale[pairs["position"], None], "gain": gain, "bias": bias, "centred": centred}


def probed(norm, like, biased):
    """Gain and bias of a norm, and whether it takes the mean off; `like` is a batch of one of what it is given."""
    bias = norm(torch.zeros_like(like))[0].float() if biased else torch.zeros_like(like[0], dtype=torch.float32)
    gain = norm(torch.full_like(like, 8192.0))[0].float() - bias
    centred = bool(gain.abs().max() < 1e-3)
    if centred:
        sign = torch.ones_like(like)
        sign[..., 1::2] = -1
        gain = (norm(sign * 8192.0)[0].float() - bias) * sign[0].float()
    return gain, bias, centred


def normed(rows, norm, part, pairs):
    """The frozen norm of some rows; always a new tensor."""
    if norm is None:
        return rows.clone()
    out = rows - rows.mean(-1, keepdim=True) if norm["centred"] else rows
    out = (out * norm["scale"][part]).mul_(norm["gain"])
    if pairs["biased"]:
        out[pairs["is_bias"][part]] += norm["bias"]
    return out


def values_of(rows, seen, plan, part, pairs):
    """W_V norm(rows) of every key/value head, side by side; v's bias on the bias source's rows."""
    return of_values(linear(seen["value"], normed(rows, seen["read"], part, pairs), part, pairs), plan)


def mix(values, pattern, plan, part, pairs, first=0, n_sources=None):
    """z[q, s] of each head = sum_k A[q, k] v[k, s]: one product per key/value head, packed rows in and out.

    The rows are those of `n_sources` sources from `first` on, at every position.
    """
    n_heads, n, _ = pattern.shape
    n_src = n_sources or pairs["n_sources"]
    n_kv = values.shape[-1] // plan.d_head
    at = (pairs["position"][part], pairs["src"][part] - first)
    dense = values.new_zeros(n, n_src, n_kv, plan.d_head)
    dense[at] = values.view(-1, n_kv, plan.d_head)
    dense = dense.permute(2, 0, 1, 3).reshape(n_kv, n, n_src * plan.d_head)
    z = torch.bmm(pattern.reshape(n_kv, -1, n), dense)  # query heads that share a value head are its rows
    z = z.view(n_kv, n_heads // n_kv, n, n_src, plan.d_head).permute(2, 3, 0, 1, 4)
    return z[at].reshape(-1, n_heads * plan.d_head)


def attention_writes(z, seen, plan, part, pairs):
    """What attention adds to some rows, given z: output projection, then the norm and the multiplier where there are any."""
    written = linear(seen["output"], edited(z, "z", seen, part, pairs), part, pairs)
    written = written if seen["add"] is None else normed(written, seen["add"], part, pairs)
    written = edited(written, "attn", seen, part, pairs)
    return written if plan.residual_multiplier == 1 else plan.residual_multiplier * written


def mlp_writes(rows, seen, plan, part, pairs):
    """What the MLP adds to some rows: W_down (gate[p] * W_up norm(rows)), then the norm and the multiplier."""
    read, position = normed(rows, seen["mlp_read"], part, pairs), pairs["position"][part]
    if "experts" in seen:
        written = experts_write(seen["experts"], read, position, pairs["is_bias"][part])
    else:
        gate = seen["gate"]
        hidden = linear(seen["up"], read, part, pairs)
        hidden = hidden[:, -gate.shape[-1] :]  # a fused projection holds [gate | up]
        hidden = edited(hidden.mul_(gate[position]), "neurons", seen, part, pairs)
        written = linear(seen["down"], hidden, part, pairs)
    written = written if seen["mlp_add"] is None else normed(written, seen["mlp_add"], part, pairs)
    written = edited(written, "mlp", seen, part, pairs)
    return written if plan.residual_multiplier == 1 else plan.residual_multiplier * written


def enter(rows, seen, pairs):
    """Rows as a layer is given them, in place: changed where the run was, before the layer."""
    if "resid_pre" in seen["edits"]:
        rows.copy_(edited(rows, "resid_pre", seen, slice(None), pairs))


def source_parts(pairs, at_most):
    """The rows in chunks of whole sources, at most so many sources each: (rows, first source, number of sources)."""
    n = pairs["n_sources"]
    if at_most >= n:
        return [(slice(None), 0, n)]
    chunks = [(first, min(at_most, n - first)) for first in range(0, n, at_most)]
    return [(((pairs["src"] >= f) & (pairs["src"] < f + k)).nonzero()[:, 0], f, k) for f, k in chunks]


def add_attention(rows, seen, plan, pairs):
    """Add what attention writes to every row, in place, as many sources at a time as `plan.chunk_bytes` of memory allow."""
    n, width = len(pairs["size"]), rows.shape[-1]
    per_source = 4 * n * (2 * width + 3 * plan.n_heads * plan.d_head + 2 * plan.n_kv_heads * plan.d_head)
    with torch.autocast(rows.device.type, enabled=False):  # a server's autocast would round every product
        for part, first, n_sources in source_parts(pairs, max(1, plan.chunk_bytes // per_source)):
            values = values_of(rows[part], seen, plan, part, pairs)
            z = mix(values, seen["pattern"], plan, part, pairs, first, n_sources)
            rows[part] += attention_writes(z, seen, plan, part, pairs)
            if "resid_mid" in seen["edits"]:
                rows[part] = edited(rows[part], "resid_mid", seen, part, pairs)


def add_mlp(rows, before, seen, plan, pairs):
    """Add what the MLP writes to every row, in place; it reads `before` (the rows themselves, or those before attention)."""
    hidden = max([e["factor"].shape[-1] for e in seen["experts"]] if "experts" in seen else [2 * seen["gate"].shape[-1]])
    at_once = max(256, plan.chunk_bytes // (4 * (2 * rows.shape[-1] + hidden)))
    with torch.autocast(rows.device.type, enabled=False):
        for first in range(0, len(rows), at_once):
            part = slice(first, first + at_once)
            rows[part] += mlp_writes(before[part], seen, plan, part, pairs)
            if "resid_post" in seen["edits"]:
                rows[part] = edited(rows[part], "resid_post", seen, part, pairs)


def reconstruction_error(nn, tracer, plan, n):
    """Largest |sum of parts - residual| / |residual| after any layer, for one source of all tokens: does this layout fit?"""
    layers = nn.get(plan.layers)
    pairs = rows = None
    worst = 0.0
    for index in range(plan.n_layers):
        given = layers[index].input
        pairs = pairs or pairs_of([0] * n, plan.biased, given.device)
        seen = capture(layers[index], given, index, plan, pairs)
        if rows is None:
            rows = torch.zeros(len(pairs["position"]), seen["pre"].shape[-1], device=seen["pre"].device)
            rows[pairs["own"]] = seen["pre"]
        before = rows.clone() if plan.parallel else rows
        add_attention(rows, seen, plan, pairs)
        add_mlp(rows, before, seen, plan, pairs)
        whole = torch.zeros_like(seen["post"]).index_add(0, pairs["position"], rows)
        off = (whole - seen["post"]).norm(dim=-1) / seen["post"].norm(dim=-1).clamp_min(1e-30)
        worst = max(worst, float(off.max()))
    return worst


def capped(logits, plan):
    """What a family that bends its logits by a soft cap makes of them."""
    return plan.softcap * torch.tanh(logits / plan.softcap) if plan.softcap else logits


def final_norm(nn, plan, pairs):
    """The norm before the unembedding, frozen."""
    return norm_of(nn, plan.final_norm, pairs)


def _gate_of(layer, plan, n):
    """What each hidden unit is multiplied by, frozen: act(gate), or act(u) / u where there is no gate, act'(0) at u = 0."""
    if plan.gated:
        gate = layer.get(plan.gate).output
        return gate.reshape(n, gate.shape[-1]).float()
    module = layer.get(plan.up)
    u = module.output
    u = u.reshape(n, u.shape[-1]).float()
    act = layer.get(plan.gate)
    after = act.output
    near = torch.full_like(after.reshape(-1)[:1], 1e-3)
    slope = (act(near) - act(-near)).float() / (2 * near.float())
    tiny = u.abs() < 1e-6
    return torch.where(tiny, slope, after.reshape(u.shape).float() / torch.where(tiny, torch.ones_like(u), u))
