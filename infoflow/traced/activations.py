"""What runs inside the trace to keep the stream itself: the residual before and after every layer, and what was added to it.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

from infoflow.traced.patterns import look_inside, pattern_given, pattern_returned


def stream(nn, tracer, plan, n, report):
    """[layer, position, ...]: `resid_pre`, `resid_mid`, `resid_post`, `z` and `pattern` of all layers, float32."""
    layers, n_layers, kept = nn.get(plan.layers), plan.n_layers, {}
    for index in range(n_layers):
        layer = layers[index]
        given = layer.input
        here = {"resid_pre": given}
        attention = look_inside(layer.get(plan.attention), plan)
        pattern = None if plan.eager else pattern_given(attention)
        here["z"] = attention.get(plan.output).input
        out = attention.output
        here["pattern"] = pattern_returned(out) if pattern is None else pattern
        here["resid_mid"] = _between(layer, given, out, plan)
        after = layer.output
        here["resid_post"] = after[0] if isinstance(after, tuple) else after
        for name, value in here.items():
            whole = value.float().cpu()
            whole = whole if name == "pattern" else whole.reshape(n, whole.shape[-1])
            if name == "z":
                whole = whole.view(n, plan.n_heads, plan.d_head)
            if index == 0:
                kept[name] = torch.zeros(n_layers, *whole.shape)
            kept[name][index] = whole
        if report is not None:
            report(index + 1, n_layers)
    return {**kept, "dtype": str(given.dtype).removeprefix("torch.")}


def _between(layer, given, out, plan):
    """The residual after attention and before the MLP, as the model itself has it; where both read the same, what attention
    alone has added is in it."""
    if plan.parallel:
        return given.float() + plan.residual_multiplier * out[0].float()
    if plan.mlp_norm:
        return layer.get(plan.mlp_norm).input
    return layer.get(plan.mlp).input
