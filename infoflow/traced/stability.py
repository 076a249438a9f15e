"""What runs inside the trace to follow the direction of each source's contribution at one position.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.frozen import add_attention, add_mlp, capture, enter, in_full, pairs_of
from infoflow.traced.interventions import begun


def followed(nn, tracer, plan, source_of, position, report):
    """Inner products of each source's contributions at `position`, [source, row, row]: rows are the embedding, and after each
    layer's attention and MLP. What no token says comes first. How far all of them are from the residual, [row]."""
    layers, n_layers = nn.get(plan.layers), plan.n_layers
    pairs = rows = None
    kept, off = [], []
    for index in range(n_layers):
        given = layers[index].input
        pairs = pairs or pairs_of(source_of, plan.biased, given.device, len(plan.given))
        seen = capture(layers[index], given, index, plan, pairs)
        here = slice(pairs["start"][position], pairs["start"][position] + pairs["size"][position])
        if rows is None:
            x = seen["pre"]
            rows, own = begun(x, seen, pairs)
            rows[pairs["own"]] = own
            _keep(rows[here], x[position], kept, off)
        else:
            enter(rows, seen, pairs)
        before = rows.clone() if plan.parallel else rows
        add_attention(rows, seen, plan, pairs)
        _keep(rows[here], seen["mid"][position], kept, off)
        add_mlp(rows, before, seen, plan, pairs)
        _keep(rows[here], seen["post"][position], kept, off)
        if report is not None:
            report(index + 1, n_layers)
    parts = torch.stack(kept, 1)  # [source, row, d_model]
    dots = parts @ parts.transpose(1, 2)
    return {"dots": dots.float().cpu(), "off": torch.stack(off).cpu(), "dtype": str(given.dtype).removeprefix("torch.")}


def _keep(parts, whole, kept, off):
    """The contributions as they are now, and |their sum - residual| / |residual|."""
    parts, whole = in_full(parts), in_full(whole)
    kept.append(parts.clone())
    off.append(((parts.sum(0) - whole).norm() / whole.norm().clamp_min(1e-30)).float())
