"""A decomposition as its grid of stacked bars."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infoflow.analyses.flow import Flow
from infoflow.charts import flow as charts
from infoflow.charts.palette import source_colours
from infoflow.pictures.picture import Picture, short
from infoflow.tables import flow as tables


@dataclass(frozen=True)
class Grid(Picture):
    """The grid and what must be known beside it."""

    colours: list[str]
    """of the sources"""
    folded: bool
    segments: int
    metric: str
    hidden: tuple[int, ...]
    """numbers of sources"""
    traced: int | None
    selections: tuple[str, ...]
    """what can be clicked: `cell`, `segment`, and `answer` where predictions are shown"""


def picture(flow: Flow, dark: bool = False) -> Grid:
    """The whole run by words where tokens were kept apart, the first token set aside."""
    grouped = flow.grouped("words") if flow.provenance.sources == "tokens" else flow
    return grid(grouped, hidden=(0,) if grouped.first_is_one_of_many() else (), dark=dark)


def colours_of(flow: Flow, palette: str = "hue", dark: bool = False) -> list[str]:
    """One steady colour per source; "top 8" weighs sources by what they gave to other positions."""
    share = flow.shares("norm")
    own = np.eye(len(flow.source_labels), dtype=bool)[flow.source_of]
    return source_colours(flow.source_labels, palette, dark, np.where(own[None], 0.0, share).sum((0, 1)).tolist())


@dataclass(frozen=True)
class Look:
    """How the grid is looked at, beside the metric and what is hidden."""

    emphasis: str = charts.Emphasis.BOTH
    palette: str = "hue"
    traced: int | None = None
    """a source whose segments stay bright while all others pale"""
    layers: tuple[int, int] | None = None
    """first and last shown; None for all"""
    positions: tuple[int, int] | None = None
    chosen: tuple[int, str, int] | None = None
    """layer, stage and position of the bar that is chosen at first"""


def grid(flow: Flow, metric: str = "norm", hidden: Sequence[int | str] = (), look: Look = Look(), dark: bool = False) -> Grid:
    """The stacked bars of an already grouped flow. Bars of very large grids are folded to their largest sources."""
    first, last = look.layers or (0, flow.n_layers - 1)
    frame = flow.to_frame(metric, hidden=hidden)
    shown = frame[((frame.layer >= first) & (frame.layer <= last)) | ((frame.layer < 0) & (first == 0))]
    left, right = look.positions or (0, len(flow.tokens) - 1)
    shown = shown[(shown.position >= left) & (shown.position <= right)]
    folded = len(shown) > charts.MAX_SEGMENTS
    if folded:
        shown = charts.fold(shown)
    at_end = last == flow.n_layers - 1 and right == len(flow.tokens) - 1
    ticks = tables.hidden(flow, hidden)
    colours = colours_of(flow, look.palette, dark)
    chart = charts.grid(
        shown, flow.labels, flow.source_of.tolist(),
        charts.Look(
            colours=colours, emphasis=look.emphasis, traced=look.traced, first_layer=first, positions=(left, right),
            chosen=look.chosen, dark=dark,
        ),
        hidden_share=ticks[(ticks.layer >= first) & (ticks.layer <= last)],
        predictions=tables.predictions(flow) if at_end else None,
    )  # fmt: skip
    numbers = tuple(int(i) for i in flow.hidden_mask(hidden).nonzero()[0])
    aside = [flow.source_labels[i] for i in numbers]
    note = f"Shares of {len(flow.source_labels)} sources by {metric}."
    if aside:
        note += f" Not shown: {', '.join(aside)}; the others are scaled to 100 %."
    if folded:
        note += f" Each bar shows its {charts.FOLDED_TO} largest and the rest in grey; details and tables hold all."
    made = flow.provenance
    return Grid(
        chart=chart, frame=frame, title=f"Information flow of “{short(made.prompt)}” on {made.whose}", note=note,
        colours=colours, folded=folded, segments=len(shown), metric=metric, hidden=numbers, traced=look.traced,
        selections=("cell", "segment", "answer") if at_end else ("cell", "segment"),
    )  # fmt: skip
