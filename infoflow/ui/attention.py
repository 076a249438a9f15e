"""The controls of the Attention page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from infoflow.analyses.attention import Attention, Weighting
from infoflow.summaries.attention import best_head
from infoflow.tables.attention import Level, Sink
from infoflow.ui import controls
from infoflow.ui.controls import choice, layer_and_head

MAP_WINDOW, SMALL_WINDOW = 64, 32
"""so many tokens of a map, and of a small one, have room for squares"""
WEIGHT_COLUMN = {"weight": st.column_config.NumberColumn("weight", format="%.3f")}

INTRO = """Where each head looks: rows are positions, columns the tokens they read from, as the model computed it.
What a head looks at hard need not matter: compare the lengths of what it fetches."""
USE = """Hover for weights. Colour follows the square root, so that small weights show. Click a head in the map of
all heads to look at it, and a cell of its map to ask below why it looked there."""
HOW = """Patterns are read from the model's own attention modules (eager, so that they exist), values from its
value projections; |W_O v| sends each head's values alone through the output projection. The code that made the
numbers:"""
ONE = """This prompt is a single token: it has no earlier one to look at, so every head looks at the token itself. Add a few
words."""
KINDS = """previous: A[i, i−1]. duplicate: where a token occurred before, the largest A[i, j] on such a j. induction: the largest
A[i, j+1] there, on what came after it. Means over the positions where no other kind would look at the same: not the first
position, where sinks are, and not the token itself."""
SMALL = """Each map is coloured from its own largest weight; weights below one hundredth of it are left out, and of many
heads at most the last 32 tokens are shown."""
LEVEL = """A single head, the mean over a layer's heads, or over all heads. Means hide what single heads do."""
WEIGHTS = """**pattern**: the softmaxed weights A. **value-weighted**: A·|v|, what is fetched. **contribution**:
A·|W_O v|, what that writes into the residual stream."""
SINKS = """Many heads park their attention on the first token. **shown**: as it is. **masked**: its column is
emptied. **renormalised**: emptied, and each row scaled to what it summed to before. Its share is stated either way."""
LETTERS = """P previous token, D duplicate token, I induction."""
METRIC = """What the map of all heads is coloured by. Letters: P previous token, D duplicate token, I induction."""
BASIS = """**this prompt**: what heads did here; scores need repeated tokens. **random tokens**: what they do on
random tokens said twice, where nothing but the repetition helps: the usual calibration. It runs the model."""
THRESHOLD = """A head is named by its largest score if that is above this; else it is diffuse."""
MORE = """**weightings**: pattern, value-weighted and contribution side by side. **all heads**: the maps of all
heads of this layer, and the mean of every layer. **arcs**: the map as arcs over the prompt; for one head, a layer's
mean, or the mean of all. **largest pairs**: a table."""
ARCS = """Weights below this share of the map's largest are left out of the arcs; nothing is computed anew."""


_BEGUN = "attn_begun"


@dataclass(frozen=True)
class MapView:
    """Which attention is looked at: nothing in here runs the model."""

    level: str
    layer: int
    head: int
    weighting: str
    sinks: str
    tokens: tuple[int, int]
    """first and last that are drawn"""


def map_view(attn: Attention, scope: str) -> MapView:
    """The row of controls above the attention map. Layer and head are in the URL: a link and every page look at the same. Where
    none was chosen, it is the head that matters most for the likeliest next token, of each prompt anew."""
    n_layers, n_heads, n, _ = attn.pattern.shape
    _begin_with(best_head(attn), scope)
    with controls.row():
        level = st.session_state.get("attn_level", Level.HEAD)
        layer, head = layer_and_head(n_layers, n_heads, level == Level.ALL, level != Level.HEAD)
        weighting = choice("Weights", list(Weighting), Weighting.PATTERN, "attn_weights", WEIGHTS)
        every = {"attn_level": Level.HEAD, "attn_sinks": Sink.SHOWN, **controls.every_token(n, MAP_WINDOW, "attn_tokens")}
        with controls.more(every):
            level = choice("Show", list(Level), Level.HEAD, "attn_level", LEVEL)
            sink = choice("First token", list(Sink), Sink.SHOWN, "attn_sinks", SINKS)
            tokens = controls.tokens_shown(n, MAP_WINDOW, "attn_tokens")
    return MapView(level, layer, head, weighting, sink, tokens)


def _begin_with(best: tuple[int, int], scope: str) -> None:
    """Look at a run's best head, unless another was chosen: by hand, by a link, or on another page."""
    now = tuple(str(st.session_state.get(key, st.query_params.get(key, ""))) for key in ("layer", "head"))
    begun = st.session_state.get(_BEGUN, ("",))
    if begun[0] == scope or now not in (("", ""), tuple(map(str, begun[1:]))):
        return
    st.session_state.update({"layer": best[0], "head": best[1], _BEGUN: (scope, *best)})


def go(place: Mapping[str, Any]) -> None:
    """To the head that a sentence names."""
    st.session_state.update(layer=place["layer"], head=place["head"], attn_level=Level.HEAD)


def pick_head(chart: str) -> None:
    """A head of the overview was clicked: it is the one looked at, here and elsewhere."""
    found = next(iter(st.session_state[chart].selection.get("head") or []), None)
    if found:
        st.session_state.update(layer=int(found["layer"]), head=int(found["head"]), attn_level="one head")


def named_heads(table: pd.DataFrame) -> pd.DataFrame:
    """Heads by layer and number: 5.1."""
    return table.assign(name=table["layer"].astype(str) + "." + table["head"].astype(str))


def scores_view(metrics: Mapping[str, str]) -> tuple[str, str, float]:
    """What the overview is coloured by, what scores rest on, and above which a head is named."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        metric = st.selectbox("All heads by", list(metrics), key="attn_metric", help=METRIC, width=150, bind="query-params")
        basis = choice("Kinds from", ["this prompt", "random tokens"], "this prompt", "attn_basis", BASIS)
        threshold = st.slider(
            "Named above",
            0.05,
            0.95,
            0.4,
            0.05,
            key="attn_threshold",
            help=THRESHOLD,
            bind="query-params",
            width=170,
        )
    return metric, basis, float(threshold)


def more_maps() -> list[str]:
    """Pictures that are drawn on request: many marks, or of one question alone."""
    options = ["weightings", "all heads", "arcs", "largest pairs"]
    return list(
        st.segmented_control("Also show", options, selection_mode="multi", key="attn_more", bind="query-params", help=MORE)
    )


def least_weight() -> float:
    """Which arcs are drawn: the share of the largest weight that they have at least."""
    chosen = st.slider(
        "Arcs of at least", 0.0, 0.5, 0.05, 0.01, format="percent", key="attn_least", help=ARCS, bind="query-params", width=260
    )
    return float(chosen)
