"""Attention patterns and values as the model itself has them, however a family lays them out.

Like `frozen.py` it may be sent to a server: torch, plain values and module calls only.
"""

import torch

NO_PATTERN = "the attention module gives no pattern"
"""what a run ends with where attention is not computed eagerly: never zeros instead"""


def pattern_returned(out):
    """The pattern [head, dest, src] that an attention module gives beside its output."""
    if out[1] is None:
        raise ValueError(NO_PATTERN)
    return out[1][0].float()


def look_inside(attention, plan):
    """An attention module whose function's inputs will be read, where they must be: that has to be said before it begins."""
    if not plan.eager:
        attention.source  # noqa: B018  its being asked for is what says it
    return attention


def pattern_given(attention):
    """The pattern of what the attention function was given, where a service does not let it return its own (nnsight 0.8.0)."""
    function = getattr(attention.source, "attention_interface_1", None)
    if function is None:
        raise ValueError(NO_PATTERN)
    return pattern_passed(*function.inputs)


def pattern_passed(given, named):
    """The pattern that an attention function makes of its arguments."""
    if named.get("s_aux") is not None:  # sinks, which take a part of each row
        raise ValueError(NO_PATTERN)
    return pattern_from(given[1], given[2], given[4] if len(given) > 4 else named.get("attention_mask"), named)


def pattern_from(queries, keys, mask, named):
    """softmax of scaled, capped and masked scores [1, head, dest, src], as the eager function computes it; without a mask, what
    is causal and within the window."""
    n, width = queries.shape[-2:]
    keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
    scaling = named.get("scaling")
    scores = (queries @ keys.transpose(2, 3)).float() * (width**-0.5 if scaling is None else scaling)
    cap = named.get("softcap")
    scores = cap * torch.tanh(scores / cap) if cap else scores
    if mask is None:
        ago = torch.arange(n, device=scores.device)[:, None] - torch.arange(n, device=scores.device)
        window = named.get("sliding_window") or n
        mask = (ago >= 0) & (ago < window)
    mask = mask[..., :n]
    scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask.float()
    return scores.softmax(-1)[0]


def of_values(inner, plan):
    """The values among what the projection gives, [rows, key/value heads x d_head]: a fused one holds queries and keys too."""
    width = plan.n_heads * plan.d_head
    if plan.fused == "blocks":  # [all queries | all keys | all values]
        return inner[:, width + plan.n_kv_heads * plan.d_head :]
    if plan.fused == "per head":  # head by head [query | key | value]
        return inner.view(len(inner), plan.n_heads, 3, plan.d_head)[:, :, 2].reshape(len(inner), width)
    return inner
