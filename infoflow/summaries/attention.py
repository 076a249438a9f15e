"""What patterns say: which head of the last position matters most for the likeliest next token, and what the sink takes."""

import numpy as np

from infoflow.analyses.attention import Attention
from infoflow.metrics import heads
from infoflow.summaries.sentence import UNSURE, Sentence, off, quoted
from infoflow.text.tokens import visible

STANDS_OUT = 0.1
"""of all that heads add, together: a largest head that adds less is not named as the one that matters"""
SINK = 0.5


def best_head(attn: Attention) -> tuple[int, int]:
    """The head that adds most to the likeliest next token's logit, directly."""
    layer, head = np.unravel_index(int(attn.head_logits.argmax()), attn.head_logits.shape)
    return int(layer), int(head)


def sentences(attn: Attention) -> tuple[Sentence, ...]:
    """The head that matters most, with what it reads; where none does, that; and the sink, where it takes most of the weight."""
    layer, head = best_head(attn)
    adds = float(attn.head_logits[layer, head])
    place = {"layer": layer, "head": head}
    top, n = attn.next_token, len(attn.tokens)
    if n == 1:
        return (Sentence("This prompt is a single token, which every head looks at."),)
    wrong = off(0.0, attn.provenance)
    if wrong is not None:
        return (wrong,)
    row = attn.pattern[layer, head, -1]
    source = int(row.argmax())
    reads = f"reads {quoted(attn.position_labels[source])} ({row[source]:.0%})"
    if source == 0:
        reads = f"looks mostly at the first token, {quoted(attn.position_labels[0])} ({row[0]:.0%}),"
    what = f"the logit of {quoted(visible(top.token))}, the likeliest next token ({top.probability:.0%})"
    positive = float(np.clip(attn.head_logits, 0, None).sum())
    if not adds >= STANDS_OUT * positive or adds <= 0:
        weak = f"No head stands out at the last position: the largest, head {layer}.{head}, adds {adds:+.1f} to {what}"
        first = Sentence(f"{weak}, and all that raise it {positive:+.1f}.", place)
    elif top.probability < UNSURE:
        unsure = "The model is not sure what comes next"
        first = Sentence(f"{unsure}; head {layer}.{head} {reads} and adds {adds:+.1f} to {what}.", place)
    else:
        first = Sentence(f"Head {layer}.{head} {reads} and adds {adds:+.1f} to {what}.", place)
    sink = float(heads.sink_share(attn.pattern).mean())
    if sink < SINK:
        return (first,)
    return first, Sentence(f"{sink:.0%} of all weight lies on {quoted(attn.position_labels[0])}, as attention sinks take it.")
