"""What runs inside the trace to push one cell's state alone through the rest of the frozen network.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only. The network above a row is linear once
patterns, gates and scales are frozen, so that each state has a part of its own at the end: at its own position, which only
paths along that position reach, or at the last one, which paths through all later positions reach. States enter in the order in
which the run has them, and all that have entered go through a layer together.
"""

import torch

from infoflow.traced.frozen import (
    add_attention,
    add_mlp,
    affine,
    attention_writes,
    capture,
    enter,
    final_norm,
    linear,
    mlp_writes,
    pairs_of,
    values_of,
)
from infoflow.traced.interventions import edited


def pushed_on(nn, plan, positions, rows, other, report):
    """What the state of each cell becomes at the end of its own position: [position, row, d_model]; with those of `other` (states
    [row, position, d_model] in their place, or None) as [2, position, row, d_model].

    Biases of the layers above are no part of a state and stay out.
    """
    layers, width = nn.get(plan.layers), len(positions)
    times = 1 if other is None else 2
    pairs, state = None, torch.empty(0)
    for index in range(plan.n_layers):
        given = layers[index].input
        pairs = pairs or _alone(positions, len(rows) * times, plan, given.device)
        seen = capture(layers[index], given, index, plan, pairs)
        if index == 0:
            state = _entered(state, "embed", seen["pre"], positions, rows, other)
        elif "resid_pre" in seen["edits"]:
            state = edited(state, "resid_pre", seen, slice(0, len(state)), pairs)
        with torch.autocast(given.device.type, enabled=False):
            before = state.clone() if plan.parallel else state
            for part in _parts(len(state), plan, seen):
                state[part] = _attended(state[part], seen, plan, part, pairs)
            state = _entered(state, f"L{index}.mid", seen["mid"], positions, rows, other)
            before = before if plan.parallel else state
            for part in _parts(len(state), plan, seen):
                after = state[part] + mlp_writes(before[part], seen, plan, part, pairs)
                state[part] = edited(after, "resid_post", seen, part, pairs)
        state = _entered(state, f"L{index}.post", seen["post"], positions, rows, other)
        if report is not None:
            report(index + 1, plan.n_layers)
    state = state.view(len(rows), times, width, -1).permute(1, 2, 0, 3)
    return state if times == 2 else state[0]


def _alone(positions, times, plan, device):
    """Packed rows of cells that each stand alone at their position, as many times as there are rows of the stream."""
    position = torch.tensor(positions, device=device).repeat(times)
    return {
        "position": position, "src": torch.zeros_like(position), "biased": plan.biased,
        "is_bias": torch.zeros_like(position) > 0,
    }  # fmt: skip


def _entered(state, row, x, positions, rows, other):
    """With the states of a row behind those that are there, where it is asked for."""
    if row not in rows:
        return state
    new = [x[positions]] if other is None else [x[positions], other[rows.index(row)].to(x.device)]
    return torch.cat([*([state] if len(state) else []), *new])


def _parts(n, plan, seen):
    """Slices of so many rows as may be worked on together."""
    hidden = max([e["factor"].shape[-1] for e in seen["experts"]] if "experts" in seen else [2 * seen["gate"].shape[-1]])
    at_once = max(256, plan.chunk_bytes // (4 * (4 * seen["pre"].shape[-1] + hidden)))
    return [slice(first, min(first + at_once, n)) for first in range(0, n, at_once)]


def _attended(rows, seen, plan, part, pairs):
    """Rows after attention that each sees nothing but its own position."""
    values = values_of(rows, seen, plan, part, pairs)
    n_kv = values.shape[-1] // plan.d_head
    own = seen["pattern"].diagonal(dim1=-2, dim2=-1)[:, pairs["position"][part]].T
    z = values.view(len(rows), n_kv, 1, plan.d_head) * own.reshape(len(rows), n_kv, -1, 1)
    return edited(rows + attention_writes(z.flatten(1), seen, plan, part, pairs), "resid_mid", seen, part, pairs)


def pushed_to_last(nn, plan, n, positions, rows, other, report):
    """What the states of each row become at the end of the last position: [row, source, d_model], behind them those of `other` as
    [2, row, source, d_model] where there is one. Sources: what interventions put in above the row, the biases there, and then the
    positions as `sources_to_last` numbers them."""
    layers = nn.get(plan.layers)
    source_of, _ = sources_to_last(n, positions)
    pairs, sets = None, []
    for index in range(plan.n_layers):
        given = layers[index].input
        pairs = pairs or pairs_of(source_of, plan.biased, given.device, len(plan.given))
        seen = capture(layers[index], given, index, plan, pairs)
        if index:
            for one in sets:
                enter(one, seen, pairs)
        else:
            sets += _begun(seen["pre"], "embed", rows, other, pairs)
        before = [one.clone() if plan.parallel else one for one in sets]
        for one in sets:
            add_attention(one, seen, plan, pairs)
        new = _begun(seen["mid"], f"L{index}.mid", rows, other, pairs)
        sets, before = sets + new, before + new
        for one, read in zip(sets, before, strict=True):
            add_mlp(one, read, seen, plan, pairs)
        sets += _begun(seen["post"], f"L{index}.post", rows, other, pairs)
        if report is not None:
            report(index + 1, plan.n_layers)
    ends = torch.stack([one[pairs["start"][-1] :] for one in sets])
    return ends if other is None else torch.stack([ends[::2], ends[1::2]])


def sources_to_last(n, positions):
    """Which source each position is, numbered by first appearance, and the source of each of `positions`: those that are not
    among them are one together."""
    asked, source_of, rest, count = set(positions), [], None, 0
    for p in range(n):
        if p in asked or rest is None:
            source_of.append(count)
            rest = rest if p in asked else count
            count += 1
        else:
            source_of.append(rest)
    return source_of, [source_of[p] for p in positions]


def _begun(x, row, rows, other, pairs):
    """A row's states as packed rows with nothing else in them, where it is asked for."""
    if row not in rows:
        return []
    found = []
    for state in [x] if other is None else [x, other[rows.index(row)].to(x.device)]:
        packed = x.new_zeros(len(pairs["position"]), x.shape[-1])
        packed[pairs["own"]] = state
        found.append(packed)
    return found


def reader_of(nn, plan, positions, device):
    """What reads final residuals [position, row, d_model] of the frozen network as logits: the norm with the scale that it had at
    each of `positions` (or at the one of all), then the unembedding. As a function of some of them and their places; what both
    add to that, [vocabulary]; and how the model stores its states. No soft cap, which is not linear."""
    at_end = _alone(positions, 1, plan, device)
    norm, head = final_norm(nn, plan, at_end), nn.get(plan.unembed)
    given = head.input
    owner = affine("unembed", head, given.shape[-1], given.dtype, at_end)

    def product(x):
        flat = x.reshape(-1, x.shape[-1])
        silent = {"is_bias": torch.zeros(len(flat), device=flat.device) > 0}
        return plan.logit_scale * linear(owner, flat, slice(0, len(flat)), silent).view(*x.shape[:-1], -1)

    def read(states, at):
        x = states - states.mean(-1, keepdim=True) if norm["centred"] else states
        scale = norm["scale"] if len(positions) == 1 else norm["scale"][at]
        return product(x * scale[:, None] * norm["gain"])

    bias = owner["bias"]
    added = product(norm["bias"]) + (0.0 if bias is None else plan.logit_scale * bias)
    return read, added, str(given.dtype).removeprefix("torch.")
