"""The tables that the attention page shows, beside `Attention.to_frame`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses.attention import Attention, Weighting
from infoflow.metrics import heads


class Level(StrEnum):
    """Whose map it is."""

    HEAD = "one head"
    LAYER = "layer mean"
    ALL = "mean of all"


class Sink(StrEnum):
    """What is done with the first token's column."""

    SHOWN = "shown"
    MASKED = "masked"
    RENORMALISED = "renormalised"


HEAD_METRICS = {
    "kind": "Largest of three scores: previous token, duplicate token, induction; coloured by its size.",
    "entropy": "Mean over destinations of the pattern's entropy, in nats: 0 looks at one token.",
    "concentration": "Mean over destinations of the largest weight.",
    "value norm": "Mean over destinations of the length of what the weighed values add up to at most, Σ A |v|.",
    "sink share": "Mean weight on the first token, over later destinations.",
}
"""what the map of all heads can be coloured by"""


@dataclass(frozen=True)
class View:
    """One map of weights, and what it is."""

    weights: Float[np.ndarray, "dest src"]
    title: str
    """layer and head, or "mean of N maps" """
    sink: float
    """mean weight of the first token's column, over later destinations, before it was masked"""
    missing: float
    """what rows lack of 1 on average: a sink that is no token"""


def view(attn: Attention, level: str, layer: int, head: int, weighting: str, sinks: str) -> View:
    """The map that was asked for: a head's, a layer's mean, or the mean of all; the first token's column kept, masked or
    renormalised away."""
    weights, pattern = attn.weighted(weighting), attn.pattern
    n_layers, n_heads = pattern.shape[:2]
    where = (slice(layer, layer + 1), slice(head, head + 1))
    title = f"Layer {layer}, head {head}"
    if level == Level.LAYER:
        where, title = (where[0], slice(None)), f"Layer {layer}: mean of {n_heads} maps"
    elif level == Level.ALL:
        where, title = (slice(None), slice(None)), f"All layers and heads: mean of {n_layers * n_heads} maps"
    chosen, missing = weights[where], 1 - pattern[where].sum(-1)
    sink = float(heads.sink_share(pattern[where]).mean())
    if sinks != Sink.SHOWN:
        chosen = heads.without_sinks(chosen, [0], renormalise=sinks == Sink.RENORMALISED)
    return View(chosen.mean((0, 1)), title, sink, float(missing.mean()))


def weightings(attn: Attention, level: str, layer: int, head: int, sinks: str) -> np.ndarray:
    """The same map by each `Weighting`: [weighting, dest, src]."""
    return np.stack([view(attn, level, layer, head, weighting, sinks).weights for weighting in Weighting])


def matrix(weights: Float[np.ndarray, "dest src"], tokens: Sequence[str]) -> pd.DataFrame:
    """A map as a table of the pairs that causality allows: dest, src, dest_token, src_token, weight."""
    dest, src = np.tril_indices(len(weights))
    names = np.array(tokens, dtype=object)
    return pd.DataFrame(
        {"dest": dest, "src": src, "dest_token": names[dest], "src_token": names[src], "weight": weights[dest, src]}
    )


def measure(attn: Attention, metric: str, layer: slice = slice(None), head: slice = slice(None)) -> np.ndarray:
    """One of `HEAD_METRICS`, but for the kind, of some heads: [layer, head]."""
    pattern = attn.pattern[layer, head]
    if metric == "value norm":
        return np.asarray((pattern * attn.value_norm[layer, head][:, :, None]).sum(-1).mean(-1))
    of = {"entropy": heads.entropy, "concentration": heads.concentration, "sink share": heads.sink_share}
    return of[metric](pattern)


def head_map(attn: Attention, metric: str, scores: heads.HeadScores, threshold: float) -> pd.DataFrame:
    """Every head with a number and its kind: layer, head, value, kind, and the three scores."""
    n_layers, n_heads = attn.pattern.shape[:2]
    layer, head = (a.ravel() for a in np.indices((n_layers, n_heads)))
    value = np.nan_to_num(scores.counted).max(0) if metric == "kind" else measure(attn, metric)
    table = pd.DataFrame(
        {"layer": layer, "head": head, "value": value.ravel().astype(float), "kind": scores.labels(threshold).ravel()}
    )
    for kind, of in zip(heads.KINDS, scores.scores, strict=True):
        table[kind] = of.ravel()
    return table


def inspector(attn: Attention, layer: int, head: int, scores: heads.HeadScores, threshold: float) -> pd.DataFrame:
    """One head in numbers: measure, value."""
    rows: list[tuple[str, str]] = [("kind", str(scores.labels(threshold)[layer, head]))]
    for kind, of, n in zip(heads.KINDS, scores.scores, scores.eligible, strict=True):
        few = "" if n >= heads.NEEDED else ", too few to tell"
        rows.append((kind, f"{of[layer, head]:.2f} (mean of {n} position{'s' * (n != 1)}{few})" if n else "no position tells"))
    for metric in list(HEAD_METRICS)[1:]:
        value = measure(attn, metric, slice(layer, layer + 1), slice(head, head + 1))
        rows.append((metric, f"{float(value[0, 0]):.2f}"))
    return pd.DataFrame(rows, columns=["measure", "value"])


def evidence(scores: heads.HeadScores) -> str:
    """How many positions each kind's score is a mean over, and what that is too few for."""
    counts = ", ".join(f"{n} for {kind}" for kind, n in zip(heads.KINDS, scores.eligible, strict=True))
    few = [kind for kind, n in zip(heads.KINDS, scores.eligible, strict=True) if n < heads.NEEDED]
    said = f" Fewer than {heads.NEEDED} name no head: random tokens say more." if few else ""
    return f"Positions that can tell: {counts}.{said}"


def pairs(weights: Float[np.ndarray, "dest src"], tokens: Sequence[str], most: int = 6) -> pd.DataFrame:
    """The largest weights between different tokens: from (source), to (destination), weight."""
    found = heads.top_pairs(weights, most)
    return pd.DataFrame({
        "from": [tokens[j] for _, j in found], "to": [tokens[i] for i, _ in found], "weight": [weights[i, j] for i, j in found],
    })  # fmt: skip


def attended(weights: Float[np.ndarray, "dest src"], words: Sequence[str], position: int = -1) -> pd.DataFrame:
    """What one position attends to, its tokens' weights summed by word, as shares of the row: label, share."""
    row = weights[position]
    order = list(dict.fromkeys(words))
    sums = np.zeros(len(order))
    np.add.at(sums, [order.index(w) for w in words], row)
    total = sums.sum()
    table = pd.DataFrame({"label": order, "share": sums / total if total > 0 else sums})
    return table[table["share"] > 0].reset_index(drop=True)
