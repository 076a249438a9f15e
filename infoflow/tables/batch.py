"""The rows that a data set of many prompts keeps of each result: few, tidy, and the same columns for every prompt. Then its
summaries as tables to look at.

Of a long prompt a result is large (a flow has layers x 2 x positions x sources numbers), of which a data set keeps what is read
at the prompt's last position, where the next token is predicted; the address of each row shows the rest."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from infoflow.analyses.attention import Attention
from infoflow.analyses.attribution import Attribution
from infoflow.analyses.flow import Flow
from infoflow.analyses.location import Location
from infoflow.analyses.logit_lens import Lens
from infoflow.analyses.result import Prediction
from infoflow.metrics import heads, shares
from infoflow.studies.batch import HeadOver
from infoflow.text.kinds import KINDS, kind_of
from infoflow.text.tokens import visible

MARK = "⟨"
"""labels of special tokens begin so"""


def of_flow(found: Flow) -> pd.DataFrame:
    """The last position after each layer: layer, source, position (the source's first; -1 of what is no token's), relative (its
    place in the prompt, 0 the first token and 1 the last), token, kind, share (norm), projection."""
    gram = found.gram[:, 1, -1]
    n_layers, n_sources = gram.shape[:2]
    of = [np.flatnonzero(found.source_of == source) for source in range(n_sources)]
    first = np.array([int(tokens[0]) if len(tokens) else -1 for tokens in of])
    kinds = [_kind(found, tokens) for tokens in of]
    last = max(1, len(found.tokens) - 1)
    source = np.tile(np.arange(n_sources), n_layers)
    names = np.array([_name(found, source, tokens) for source, tokens in enumerate(of)], dtype=object)
    return pd.DataFrame({
        "layer": np.repeat(np.arange(n_layers), n_sources), "source": source, "position": first[source],
        "relative": np.where(first[source] < 0, np.nan, first[source] / last), "token": names[source],
        "kind": np.array(kinds, dtype=object)[source], "share": shares.shares(gram, "norm").ravel(),
        "projection": shares.shares(gram, "projection").ravel(),
    })  # fmt: skip


def _name(found: Flow, source: int, tokens: np.ndarray) -> str:
    """What a source is called, the same in every prompt: labels are numbered where one repeats."""
    if not len(tokens):
        return found.source_labels[source]
    return found.labels[tokens[0]] if len(tokens) == 1 else visible("".join(found.tokens[i] for i in tokens).strip())


def _kind(found: Flow, tokens: np.ndarray) -> str:
    """Of a source's tokens together."""
    if not len(tokens):
        return KINDS[-1]
    first = int(tokens[0])
    text = "".join(found.tokens[i] for i in tokens)
    return kind_of(text, first, len(tokens) == 1 and found.labels[first].startswith(MARK))


def of_location(found: Location) -> pd.DataFrame:
    """How the answer comes to the position whose logit it is, one row a layer: layer, arrives (what all heads of the layer bring
    there from other positions), head, from_position, from_token and from_logit (of the largest single move there; -1 of none),
    holds_position, holds_token and holds_logit (where most of the answer is after the layer), here (what is at the position
    itself), total."""
    at, n_layers = found.position, len(found.by_mlp)
    after = [found.row_after(layer) + found.mids for layer in range(n_layers)]
    brought, logit = found.arrived[:, :, at], found.arrivals.logit[:, at]
    most, every = logit.argmax(1), np.arange(n_layers)
    some = logit[every, most] > 0
    source = np.where(some, found.arrivals.other[every, at, most], -1)
    held, names = found.by_cell[after], np.array([*found.labels, ""], dtype=object)
    holds = held.argmax(1)
    return pd.DataFrame({
        "layer": every, "arrives": brought.sum(1), "head": np.where(some, found.arrivals.head[every, at, most], -1),
        "from_position": source, "from_token": names[source], "from_logit": np.where(some, logit[every, most], 0.0),
        "holds_position": holds, "holds_token": names[holds], "holds_logit": held[every, holds], "here": held[:, at],
        "total": found.total,
    })  # fmt: skip


def of_lens(found: Lens) -> pd.DataFrame:
    """Each row of the stream at the last position: row, layer (-1 the embedding), token, token_id, probability, entropy, kl,
    final (whether it names the model's own), and of the target and of what it is held against, where they were asked for, their
    logits and ranks."""
    n = len(found.rows)
    ids = found.token_ids[:, -1, 0]
    table: dict[str, Any] = {
        "row": list(found.rows), "layer": [-1 if row == "embed" else int(row[1:].split(".")[0]) for row in found.rows],
        "token": [found.names[i] for i in ids.tolist()], "token_id": ids, "probability": found.probs[:, -1, 0],
        "entropy": found.entropy[:, -1], "kl": found.kl[:, -1], "final": found.final[:, -1],
    }  # fmt: skip
    for number, name in enumerate(("target", "against")):
        there = number < len(found.targets)
        table[f"{name}_logit"] = found.target_logits[:, -1, number] if there else np.full(n, np.nan)
        ranks = found.target_ranks[:, -1, number] + 1 if there else np.full(n, -1)
        table[f"{name}_rank"] = pd.Series(ranks, dtype="Int64").mask(ranks < 0)
    return pd.DataFrame(table)


def of_attention(found: Attention) -> pd.DataFrame:
    """Every head: layer, head, kind, its three scores (empty where fewer than `heads.NEEDED` positions tell), entropy,
    concentration, sink_share, first_weight (of the last position on the first token), looks_position, looks_token and
    looks_weight (where the last position looks most beside that), writes (of the likeliest next token's logit, directly)."""
    n_layers, n_heads, n, _ = found.pattern.shape
    layer, head = (a.ravel() for a in np.indices((n_layers, n_heads)))
    row = found.pattern[:, :, -1].reshape(-1, n)
    beyond = row.copy()
    if n > 1:
        beyond[:, 0] = -1.0
    looks = beyond.argmax(1)
    names = np.array(found.labels, dtype=object)
    scores = {name.split()[0]: of.ravel() for name, of in zip(heads.KINDS, found.scores.counted, strict=True)}
    measures = {"entropy": heads.entropy, "concentration": heads.concentration, "sink_share": heads.sink_share}
    return pd.DataFrame({
        "layer": layer, "head": head, "kind": found.scores.labels().ravel(), **scores,
        **{name: of(found.pattern).ravel() for name, of in measures.items()}, "first_weight": row[:, 0], "looks_position": looks,
        "looks_token": names[looks], "looks_weight": row[np.arange(len(row)), looks], "writes": found.head_logits.ravel(),
    })  # fmt: skip


def of_attribution(found: Attribution) -> pd.DataFrame:
    """What is written of the target's logit, or of its lead: part (source, along all paths; head, MLP, embedding, bias,
    intervention, directly), layer, head, position, token, logit. Sources sum to it, and so do the others."""
    direct = found.direct_frame().rename(columns={"kind": "part"})
    by_source = found.to_frame()
    whole = by_source[by_source["position"] >= 0]
    rest = by_source[by_source["position"] < 0]
    sources = pd.DataFrame({
        "part": "source", "layer": -1, "head": -1, "position": [*whole["position"], *[-1] * len(rest)],
        "token": [*found.labels, *rest["token"]], "logit": [*whole["logit"], *rest["logit"]],
    })  # fmt: skip
    return pd.concat([direct.assign(position=-1, token=""), sources], ignore_index=True)


OF: dict[str, Callable[[Any], pd.DataFrame]] = {
    "flow": of_flow, "locate": of_location, "lens": of_lens, "heads": of_attention, "attribute": of_attribution,
}  # fmt: skip
"""rows of a result, by analysis"""


def predicted(found: Any) -> Prediction | None:
    """The likeliest next token, of a result that knows it."""
    if isinstance(found, Flow | Location):
        return found.top[0]
    if isinstance(found, Attention):
        return found.next_token
    if isinstance(found, Lens):
        first = int(found.token_ids[-1, -1, 0])
        return Prediction(found.names[first], first, float(found.probs[-1, -1, 0]), float(found.logits[-1, -1, 0]))
    return None


def max_error(found: Any) -> float | None:
    """How far a result is from what it decomposes, infinitely where that is no number; of a map of attention there is none."""
    error = getattr(found, "max_error", None)
    return None if error is None else math.inf if np.isnan(error) else float(error)


def mapped_heads(labels: pd.DataFrame) -> pd.DataFrame:
    """`Batch.head_labels` as the map of all heads takes it: layer, head, kind (on most prompts), value (on how many; 0 of a head
    that is of no kind)."""
    value = labels["share"].where(labels["kind"].isin(heads.KINDS), 0.0)
    return labels.assign(value=value)[["layer", "head", "kind", "value"]]


def written(found: HeadOver) -> pd.DataFrame:
    """The prompts on which a head writes most, whose targets' white space shows."""
    return found.prompts.assign(
        target=[visible(t.removeprefix(" ")) if isinstance(t, str) else None for t in found.prompts["target"]]
    )


def listed(prompts: pd.DataFrame) -> pd.DataFrame:
    """Prompts as a page lists them: number, id and group where there are some, prompt, next, probability, error where there are
    some, and the addresses."""
    table = prompts.rename(columns={"top": "next", "top_probability": "probability"})
    table["next"] = [visible(token.removeprefix(" ")) if isinstance(token, str) else "" for token in table["next"]]
    some = [name for name in ("id", "group", "error") if table[name].notna().any()]
    table[some] = table[some].fillna("")  # of what is missing a page would say "None"
    links = [name for name in table if name.startswith("link_") and table[name].notna().any()]
    order = ["number", "id", "group", "prompt", "next", "probability", "error"]
    return table[[name for name in order if name in some or name not in ("id", "group", "error")] + links]
