"""The tables that the generation page shows, beside `Generation.to_frame`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses.generation import Generation, Stopped, text_of
from infoflow.tables.attention import Level
from infoflow.text.amounts import before_cap
from infoflow.text.characters import printable, shortened
from infoflow.text.tokens import BIAS, clean, unique, visible
from infoflow.text.vocabulary import joined


class Normalisation(StrEnum):
    """What a step's weights are divided by."""

    RAW = "raw"
    JOINT = "joint"
    SEPARATE = "separate"


EPSILON = 1e-8
LONGEST_SPAN = 60
"""characters"""
INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class Connections:
    """How strongly each token written is tied to the prompt's tokens and to those written before it."""

    inputs: Float[np.ndarray, "step input"]
    outputs: Float[np.ndarray, "step output"]
    """0 from the step itself on"""
    raw_inputs: Float[np.ndarray, " step"]
    """what the raw weights of the inputs shown sum to"""
    raw_outputs: Float[np.ndarray, " step"]
    title: str
    """layer and head, or "mean of N maps" """


def connections(
    gen: Generation, level: str, layer: int, head: int, normalisation: str = Normalisation.RAW, hide_first: bool = True
) -> Connections:
    """The attention of each step, of one head, a layer's mean or the mean of all.

    raw: as the softmax gave it. joint: divided by the sum of all weights shown + 1e-8. separate: inputs and outputs each
    by their own sum + 1e-8; the first token written has no output before it. Only raw ones are probabilities, and only
    while the first token is not hidden.
    """
    pattern = gen.pattern
    n_layers, n_heads = pattern.shape[:2]
    if level == Level.HEAD:
        weights, title = pattern[layer, head], f"Layer {layer}, head {head}"
    elif level == Level.LAYER:
        weights, title = pattern[layer].mean(0), f"Layer {layer}: mean of {n_heads} maps"
    else:
        weights, title = pattern.mean((0, 1)), f"All layers and heads: mean of {n_layers * n_heads} maps"
    inputs = weights[:, : gen.n_prompt].copy()
    outputs = np.zeros((gen.n_steps, gen.n_steps), dtype=weights.dtype)
    outputs[:, : gen.n_steps - 1] = weights[:, gen.n_prompt :]
    if hide_first:
        inputs[:, 0] = 0
    raw_inputs, raw_outputs = inputs.sum(1), outputs.sum(1)
    if normalisation == Normalisation.JOINT:
        whole = (raw_inputs + raw_outputs)[:, None] + EPSILON
        inputs, outputs = inputs / whole, outputs / whole
    elif normalisation == Normalisation.SEPARATE:
        inputs, outputs = inputs / (raw_inputs[:, None] + EPSILON), outputs / (raw_outputs[:, None] + EPSILON)
    return Connections(inputs, outputs, raw_inputs, raw_outputs, title)


def edges(found: Connections, gen: Generation, least: float) -> pd.DataFrame:
    """Connections of `least` or more, and above nothing: kind (input or output), src (its number on its side), dst (the
    step), from, to, weight."""
    labels = [clean(t) for t in gen.pieces]
    parts = []
    for kind, weights, first in ((INPUT, found.inputs, 0), (OUTPUT, found.outputs, gen.n_prompt)):
        dst, src = np.nonzero((weights >= least) & (weights > 0))
        parts.append(pd.DataFrame({
            "kind": kind, "src": src, "dst": dst, "from": [labels[first + i] for i in src],
            "to": [labels[gen.n_prompt + i] for i in dst], "weight": weights[dst, src].astype(float),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def shown(table: pd.DataFrame, step: int | None, chosen: tuple[str, int] | None) -> pd.DataFrame:
    """Edges that the picture draws: those of a chosen token (of an input to every output, of an output those that come in),
    else those of one step, else all."""
    if chosen is not None:
        kind, number = chosen
        if kind == INPUT:
            return table[(table["kind"] == INPUT) & (table["src"] == number)]
        return table[table["dst"] == number]
    return table if step is None else table[table["dst"] == step]


def nodes(
    gen: Generation,
    step: int | None,
    chosen: tuple[str, int] | None,
    hide_first: bool = True,
    window: tuple[int, int] | None = None,
) -> pd.DataFrame:
    """Both columns of the picture: side, number, label, role (input, earlier, current, later, selected).

    `window`: first and last token of the prompt that is drawn.
    """
    low, high = window or (0, gen.n_prompt - 1)
    rows = []
    for number in range(low, high + 1):
        if not (hide_first and number == 0):
            rows.append((INPUT, number, clean(gen.pieces[number]), INPUT))
    for number in range(gen.n_steps):
        role = "earlier" if step is None or number < step else "current" if number == step else "later"
        rows.append((OUTPUT, number, clean(gen.pieces[gen.n_prompt + number]), role))
    table = pd.DataFrame(rows, columns=["side", "number", "label", "role"])
    if chosen is not None:
        table.loc[(table["side"] == chosen[0]) & (table["number"] == chosen[1]), "role"] = "selected"
    return table


def written(gen: Generation, step: int) -> str:
    """The token that a step wrote, as the picture calls it."""
    return clean(gen.pieces[gen.n_prompt + step])


def likeliest(gen: Generation, step: int) -> pd.DataFrame:
    """The top k of one step: token, probability, logit, written (whether it is what was written)."""
    ids = gen.token_ids[step].tolist()
    return pd.DataFrame({
        "token": [visible(gen.names[i]) for i in ids], "probability": gen.probs[step], "logit": gen.logits[step],
        "written": [i == gen.output_ids[step] for i in ids],
    })  # fmt: skip


def raised(gen: Generation, step: int, most: int = 60, hide_first: bool = False, quantity: str = "own") -> pd.DataFrame:
    """What each earlier token adds to the logit of the token written: label, logit, text; what is no token's last. Of many, those
    with the `most` largest contributions, in reading order. Tokens are called as in the picture. `quantity`: their own parts,
    or with a contrast what is specific, or hindsight, in which biases have no part."""
    seen = gen.n_prompt + step
    of = {"own": gen.by_source, "specific": gen.specific, "hindsight": gen.hindsight}[quantity]
    parts = gen.by_source if of is None else of
    values = np.where((np.arange(seen) == 0) & hide_first, 0.0, parts[step, :seen])
    keep = np.sort(np.argsort(-np.abs(values), kind="stable")[:most])
    keep = keep[keep > 0] if hide_first else keep
    names = unique([clean(t) for t in gen.pieces[:seen]], [BIAS])
    table = pd.DataFrame({"label": [names[i] for i in keep], "logit": values[keep].astype(float)})
    for name, value in gen.of_no_token(step).items() if quantity == "own" else ():
        table.loc[len(table)] = [name, value]
    return table


def raised_note(gen: Generation, step: int, shown: int, hide_first: bool, quantity: str) -> str:
    """What is to be said of `raised`, `shown` rows of it: what is left out, and what all of it sums to."""
    seen = gen.n_prompt + step
    most = f"The largest {shown} of {seen} tokens. " if seen > shown else ""
    if quantity != "own":
        return most
    if hide_first:
        most = f"{most}The first token, which is hidden, adds {gen.by_source[step, 0]:+.2f}. "
    whole = f"All of them, biases included, sum to the logit {gen.total[step]:+.2f}; worst error {gen.max_error:.0e}."
    return f"{most}{whole} {cap_note(gen, step)}"


def rests_on(gen: Generation, first: int, last: int, surprise: bool = False, hide_first: bool = False) -> pd.DataFrame:
    """Of the steps from one to another, the prompt's tokens: label, share (all hops), direct (one hop)."""
    found = gen.through([0] if hide_first else [])
    weights = -np.log(np.maximum(gen.prob.astype(np.float64), 1e-12)) if surprise else None
    names = unique([clean(t) for t in gen.pieces[: gen.n_prompt]])
    table = pd.DataFrame({
        "label": names, "share": found.of_span(first, last, weights), "direct": found.direct[first : last + 1].mean(0),
    })  # fmt: skip
    return table.iloc[1:] if hide_first else table


def span(gen: Generation, first: int, last: int) -> str:
    """The text of some steps, as a title has room for it."""
    some = gen.pieces[gen.n_prompt + first : gen.n_prompt + last + 1]
    text = text_of(some) or joined(some)
    return f"“{shortened(printable(' '.join(text.split())), LONGEST_SPAN)}”"


def through_note(gen: Generation, first: int, last: int, hide_first: bool = False) -> str:
    """What is to be said of `rests_on`: how much is the prompt's on one hop, and what was set aside."""
    found = gen.through([0] if hide_first else [])
    direct = float(found.direct[first : last + 1].sum(1).mean())
    low = float(found.negative[first : last + 1].mean())
    lowered = f"{low:+.2f} logits{' a step' if last > first else ''}"
    return (
        f"On one hop {direct:.0%} is the prompt's and {1 - direct:.0%} that of tokens written before, whose own share is "
        f"followed back here. Shares are of what raises a token; what lowers it ({lowered}) is set aside, which is a choice."
    )


def cap_note(gen: Generation, step: int) -> str:
    """What is to be said of `raised` where the family caps its logits; '' of any other."""
    return before_cap(float(gen.total[step]), float(gen.logit[step])) if gen.softcap else ""


def said(gen: Generation) -> Sequence[str]:
    """What a reader should know of how it was written, a sentence each."""
    lines = []
    if gen.stopped == Stopped.END and gen.n_steps == 1:
        lines.append("The model ended at once: the only token it wrote is the one that ends a text. Try another prompt, or chat.")
    elif gen.stopped == Stopped.END:
        lines.append(f"The model ended its text by itself after {gen.n_steps} tokens.")
    elif gen.stopped == Stopped.SERVICE:
        lines.append(f"The service ended the text after {gen.n_steps} tokens, before its length and at no end of the model's.")
    if gen.thinks:
        lines.append("It begins with thinking (<think>): the answer comes after that, and may need more tokens.")
    likely = int((gen.rank == 0).sum())
    lines.append(f"{gen.how.capitalize()}. The likeliest token was written at {likely} of {gen.n_steps} steps.")
    return lines
