"""A result as its picture: the tables it needs and the chart that draws them. Used by the page and the command line."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from infoflow import tables
from infoflow.analyses.flow import Flow
from infoflow.charts import flow as charts
from infoflow.charts.palette import ink, source_colours
from infoflow.provenance import Provenance


@dataclass(frozen=True)
class Grid:
    """The grid and what must be said beside it."""

    chart: alt.LayerChart
    colours: list[str]
    folded: bool
    segments: int
    frame: pd.DataFrame
    """`Flow.to_frame` of the whole run, with what is hidden left out"""
    selections: tuple[str, ...]
    """what can be clicked: `cell`, `segment`, and `answer` where predictions are shown"""


def colours_of(flow: Flow, palette: str = "hue", dark: bool = False) -> list[str]:
    """One steady colour per source; "top 8" weighs sources by what they gave to other positions."""
    share = flow.shares("norm")
    own = np.eye(len(flow.source_labels), dtype=bool)[flow.source_of]
    return source_colours(flow.source_labels, palette, dark, np.where(own[None], 0.0, share).sum((0, 1)).tolist())


def flow_grid(
    flow: Flow,
    metric: str = "norm",
    hidden: Sequence[int | str] = (),
    emphasis: str = "both",
    palette: str = "hue",
    traced: int | None = None,
    layers: tuple[int, int] | None = None,
    positions: tuple[int, int] | None = None,
    dark: bool = False,
) -> Grid:
    """The stacked bars of an already grouped flow. Bars of very large grids are folded to their largest sources."""
    first, last = layers or (0, flow.n_layers - 1)
    frame = flow.to_frame(metric, hidden=hidden)
    shown = frame[((frame.layer >= first) & (frame.layer <= last)) | ((frame.layer < 0) & (first == 0))]
    left, right = positions or (0, len(flow.tokens) - 1)
    shown = shown[(shown.position >= left) & (shown.position <= right)]
    folded = len(shown) > charts.MAX_SEGMENTS
    if folded:
        shown = charts.fold(shown)
    at_end = last == flow.n_layers - 1 and right == len(flow.tokens) - 1
    ticks = tables.hidden(flow, hidden)
    colours = colours_of(flow, palette, dark)
    chart = charts.grid(
        shown, flow.labels, flow.source_of.tolist(),
        charts.Look(colours=colours, emphasis=emphasis, traced=traced, first_layer=first, positions=(left, right), dark=dark),
        hidden_share=ticks[(ticks.layer >= first) & (ticks.layer <= last)],
        predictions=tables.predictions(flow) if at_end else None,
    )  # fmt: skip
    return Grid(chart, colours, folded, len(shown), frame, ("cell", "segment", "answer") if at_end else ("cell", "segment"))


def identity(flow: Flow) -> str:
    """A short name for a model, prompt and grouping, the same in every process: for widgets that belong to them."""
    return identity_of(flow.provenance, flow.token_ids, flow.source_labels)


def identity_of(made: Provenance, *of: tuple[int | str, ...]) -> str:
    """The same of any result, by what was run and the tokens it is about."""
    return hashlib.sha256(repr((made.model, made.revision, *of)).encode()).hexdigest()[:12]


def background(dark: bool = False) -> str:
    return ink(dark).paper
