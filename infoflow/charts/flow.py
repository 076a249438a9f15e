"""The main picture: for every layer and position a bar, split by source token.

`grid` takes the table of `Flow.to_frame`: layer, stage (embed, mid, post), position, token, source, source_label, share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from infoflow.charts.drawing import alone, either, layered
from infoflow.charts.palette import Ink, ink
from infoflow.text.rows import ROW_NAMES


class Emphasis(StrEnum):
    """Which of a layer's two rows is tall."""

    BOTH = "both"
    ATTENTION = "attention"
    MLP = "MLP"


MAX_SEGMENTS = 7_000
FOLDED_TO = 6
HIGHEST = 640
"""pixels: what a page's frame leaves of a window of 900"""
OTHER, OWN = -1, -2
_SIDE, _GAP = 0.06, 0.04
_BOTH = 24
"""pixels of a layer both of whose rows have room for their names"""
_HEIGHTS = {"both": (0.42, 0.42), "attention": (0.70, 0.14), "MLP": (0.14, 0.70)}


@dataclass(frozen=True, kw_only=True)
class Look:
    """How the grid is drawn; everything that is not data."""

    colours: Sequence[str]
    """one per source"""
    emphasis: str = Emphasis.BOTH
    traced: int | None = None
    """a source whose segments stay bright while all others pale"""
    first_layer: int = 0
    positions: tuple[int, int] | None = None
    """first and last position shown; all of them if None"""
    chosen: tuple[int, str, int] | None = None
    """layer, stage and position of the bar that is chosen at first"""
    dark: bool = False
    height: int | None = None


def fold(frame: pd.DataFrame, keep: int = FOLDED_TO) -> pd.DataFrame:
    """Each bar's `keep` largest sources, and one segment `other` for the rest."""
    cell = ["layer", "stage", "position"]
    rank = frame["share"].abs().groupby([frame[c] for c in cell]).rank(ascending=False, method="first")
    rest = frame[rank > keep].groupby(cell, as_index=False, sort=False).agg({"token": "first", "share": "sum"})
    rest["source"], rest["source_label"] = OTHER, "other sources"
    return pd.concat([frame[rank <= keep], rest], ignore_index=True).sort_values(
        [*cell, "source"], ignore_index=True, kind="stable"
    )


def segments(frame: pd.DataFrame, look: Look) -> pd.DataFrame:
    """The rectangles of the grid: x, x2 across the cell in source order, y, y2 within its row.

    Negative shares hang below the bar in a thin band, on the same scale: a full bar is the sum of the positive ones.
    """
    frame = frame.sort_values(["layer", "stage", "position", "source"], kind="stable", ignore_index=True)
    cell = [frame["layer"], frame["stage"], frame["position"]]
    positive, negative = frame["share"].clip(lower=0), (-frame["share"]).clip(lower=0)
    scale = (1 - 2 * _SIDE) / positive.groupby(cell).transform("sum").clip(lower=1.0)
    width = np.where(frame["share"] >= 0, positive, negative)
    ends = np.where(frame["share"] >= 0, positive.groupby(cell).cumsum(), negative.groupby(cell).cumsum())
    bottom, height = _rows(frame, look)
    has_negative = negative.groupby(cell).transform("sum") > 0.01
    band = np.where(has_negative, 0.26 * height, 0.0)
    left = frame["position"] + _SIDE
    out = frame[["layer", "stage", "position", "token", "source", "source_label", "share"]].copy()
    out["x"], out["x2"] = left + (ends - width) * scale, left + ends * scale
    below = frame["share"] < 0
    out["y"] = bottom + np.where(below, 0.0, band)
    out["y2"] = bottom + np.where(below, 0.8 * band, height)
    out["alpha"] = 1.0 if look.traced is None else np.where(frame["source"] == look.traced, 1.0, 0.13)
    out["row"] = out["stage"].map(ROW_NAMES)
    return out[out["share"].abs() >= 0.002]


def _rows(frame: pd.DataFrame, look: Look) -> tuple[pd.Series, pd.Series]:
    """Bottom and height of each row's band: layers of height 1, attention below MLP, the embedding row under them."""
    low, high = _HEIGHTS[look.emphasis]
    base = frame["layer"] - look.first_layer
    bottom = base + 0.06 + np.where(frame["stage"] == "post", low + _GAP, 0.0)
    height = np.where(frame["stage"] == "post", high, low)
    embed = frame["stage"] == "embed"
    return bottom.where(~embed, -0.42), pd.Series(np.where(embed, 0.34, height), index=frame.index)


def _cells(positions: range, look: Look, layers: Sequence[int], embedding: bool) -> pd.DataFrame:
    """The ground of every bar: what a click hits, and where the outline of the chosen cell is drawn."""
    rows = [(layer, stage) for layer in layers for stage in ("mid", "post")] + ([(-1, "embed")] if embedding else [])
    ground = pd.DataFrame([(layer, stage, p) for layer, stage in rows for p in positions], columns=["layer", "stage", "position"])
    bottom, height = _rows(ground, look)
    return ground.assign(x=ground.position + _SIDE, x2=ground.position + 1 - _SIDE, y=bottom, y2=bottom + height)


def _axis_rows(look: Look, layers: Sequence[int], embedding: bool, room: float) -> tuple[list[float], list[str]]:
    """Where rows are named, and how; of layers with fewer than `_BOTH` pixels of `room` the larger row alone: of names that stand
    on each other a drawing leaves out whichever comes second."""
    low, high = _HEIGHTS[look.emphasis]
    places, names = ([-0.25], ["embed"]) if embedding else ([], [])
    for layer in layers:
        base = layer - look.first_layer + 0.06
        if low > high or low == high and room >= _BOTH:
            places.append(base + low / 2)
            names.append(f"L{layer} attn" if low > high else "attn")
        if high >= low:
            places.append(base + low + _GAP + high / 2)
            names.append(f"L{layer} MLP")
    return places, names


def grid(
    frame: pd.DataFrame,
    tokens: Sequence[str],
    source_of: Sequence[int],
    look: Look,
    hidden_share: pd.DataFrame | None = None,
    predictions: pd.DataFrame | None = None,
) -> alt.LayerChart:
    """The stacked-bar grid, output on top. Point selections: `cell` (layer, stage, position) and `segment` (source too) of
    the bar that was clicked, `answer` (id) of a prediction.

    `hidden_share` (layer, stage, position, share) draws a thin tick of what is hidden; `predictions` (token,
    probability) are written above the last column. Hovering a segment or a token pales the others; clicking a token pins it.
    """
    page = ink(look.dark)
    first, last = look.positions or (0, len(tokens) - 1)
    positions = range(first, last + 1)
    frame = frame[(frame["position"] >= first) & (frame["position"] <= last)]
    layers = sorted(int(v) for v in frame["layer"].unique() if v >= 0)
    embedding = bool((frame["layer"] < 0).any())
    drawn = segments(frame, look).round(4)
    top = len(layers)
    height = look.height or int(min(HIGHEST, max(300, 62 * top + 110)))
    listed = 0 if predictions is None else len(predictions)
    span_below = 1.0
    line = 17 * (top + span_below) / max(1, height - 17 * (listed + 1))
    y_scale = alt.Scale(domain=[-span_below, top + (line * (listed + 1.5) if listed else 0.05)], nice=False, zero=False)
    x_scale = alt.Scale(domain=[first, last + 1], nice=False, zero=False)
    places, names = _axis_rows(look, layers, embedding, (height - 17 * (listed + 1)) / (top + span_below))
    named = alt.param(name="row_names", value={str(round(p * 1000)): name for p, name in zip(places, names, strict=True)})
    labels = alt.param(name="token_labels", value=list(tokens))
    plain: dict[str, Any] = {"title": None, "grid": False, "ticks": False, "domain": False}
    x_axis = alt.Axis(
        **plain,
        values=[i + 0.5 for i in positions],
        labelExpr="token_labels[floor(datum.value)]",
        labelAngle=-55,
        labelLimit=90,
        labelFontSize=11,
        labelColor=page.text,
        labelOverlap=False,
        labelPadding=2,
    )
    y_axis = alt.Axis(
        **plain,
        values=places,
        labelExpr="row_names['' + round(datum.value * 1000)]",
        labelFontSize=10,
        labelColor=page.muted,
        labelOverlap="greedy",
        labelPadding=4,
    )
    x, y = alt.X("x:Q", scale=x_scale, axis=x_axis), alt.Y("y:Q", scale=y_scale, axis=y_axis)
    fields = ["layer", "stage", "position"]
    first_chosen: dict[str, Any] = {} if look.chosen is None else {"value": [dict(zip(fields, look.chosen, strict=True))]}
    chosen = alt.selection_point(
        name="cell", fields=fields, on="@bars_marks:click, @ground_marks:click", empty=False, **first_chosen
    )
    segment = alt.selection_point(
        name="segment", fields=["layer", "stage", "position", "source"], on="@bars_marks:click", empty=False
    )
    hover = alt.selection_point(name="hover", fields=["source"], on="pointerover", clear="pointerout")
    pin = alt.selection_point(name="pin", fields=["source"], on="@stripe_marks:click", clear="dblclick")
    zoom = alt.selection_interval(
        name="view", bind="scales", zoom="wheel![event.ctrlKey || event.metaKey]", clear="dblclick[event.shiftKey]"
    )

    cells = _cells(positions, look, layers, embedding)
    ground = (
        alt.Chart(cells.round(4), name="ground")
        .mark_rect(fill=page.empty, clip=True)
        .encode(x=x, x2=alt.X2("x2:Q"), y=y, y2=alt.Y2("y2:Q"))
        .add_params(named, labels, zoom)
    )
    ring = (
        alt.Chart(cells.assign(x=cells.x - 0.02, x2=cells.x2 + 0.02, y=cells.y - 0.015, y2=cells.y2 + 0.015).round(4))
        .transform_filter(chosen)
        .mark_rect(fillOpacity=0, stroke=page.text, strokeWidth=2.5, clip=True, aria=False)
        .encode(x=x, x2=alt.X2("x2:Q"), y=y, y2=alt.Y2("y2:Q"))
    )
    n_sources = len(look.colours)
    of, plainly = "source", [*range(n_sources)]
    if page.rest in look.colours:  # some have no colour: a position's own is told from the others
        of, own = "tint", np.array(source_of)[drawn["position"]]
        grey = np.array([colour == page.rest for colour in look.colours])
        drawn = drawn.assign(tint=np.where((drawn["source"] == own) & grey[own], OWN, drawn["source"]))
        plainly = [OWN, *plainly]
    greys = [page.rest, page.own][: len(plainly) - n_sources + 1]
    scale = alt.Scale(domain=[OTHER, *plainly], range=[*greys, *look.colours])
    colour = alt.Color(f"{of}:O", legend=None, scale=scale)
    bars = (
        alt.Chart(drawn, name="bars")
        .mark_rect(strokeWidth=0, clip=True)
        .encode(
            x=x, x2=alt.X2("x2:Q"), y=y, y2=alt.Y2("y2:Q"), color=colour,
            opacity=either(alt.OpacityValue, hover & pin, alt.Opacity("alpha:Q", scale=None, legend=None), 0.12),
            tooltip=[
                alt.Tooltip("source_label:N", title="source"), alt.Tooltip("share:Q", title="share", format=".1%"),
                alt.Tooltip("token:N", title="at position of"), alt.Tooltip("position:Q", title="position"),
                alt.Tooltip("layer:Q", title="layer"), alt.Tooltip("row:N", title="row"),
            ],
        )
        .add_params(chosen, segment, hover)
    )  # fmt: skip
    stripe_frame = pd.DataFrame({
        "position": positions, "source": [source_of[i] for i in positions], "token": [tokens[i] for i in positions],
        "x": [i + _SIDE for i in positions], "x2": [i + 1 - _SIDE for i in positions], "y": -0.92, "y2": -0.66,
    })  # fmt: skip
    if of == "tint":
        stripe_frame["tint"] = [OWN if look.colours[s] == page.rest else s for s in stripe_frame["source"]]
    stripe = (
        alt.Chart(stripe_frame, name="stripe")
        .mark_rect(cursor="pointer", cornerRadius=2, clip=True)
        .encode(
            x=x, x2=alt.X2("x2:Q"), y=y, y2=alt.Y2("y2:Q"), color=colour,
            tooltip=[alt.Tooltip("token:N"), alt.Tooltip("position:Q")],
            opacity=either(alt.OpacityValue, pin, 1.0, 0.25),
        )
        .add_params(pin)
    )  # fmt: skip
    parts = [ground, bars, stripe, ring]
    if hidden_share is not None and len(hidden_share):
        shown = hidden_share[(hidden_share["position"] >= first) & (hidden_share["position"] <= last)]
        parts.append(_hidden_ticks(shown, look, x, y, page.muted))
    if predictions is not None and listed:
        parts.extend(_prediction_list(predictions, last + 1, top, line, x, y, page))
    return layered(*parts, height=height, width="container", config={"font": '"Source Sans", "Noto Sans", sans-serif'})


def _hidden_ticks(hidden_share: pd.DataFrame, look: Look, x: alt.X, y: alt.Y, colour: str) -> alt.Chart:
    """A thin line under each bar, as long as the share that is hidden."""
    bottom, _ = _rows(hidden_share, look)
    ticks = hidden_share.assign(
        x=hidden_share.position + _SIDE, x2=hidden_share.position + _SIDE + hidden_share.share.clip(0, 1) * (1 - 2 * _SIDE),
        y=bottom - 0.028, y2=bottom - 0.006,
    )  # fmt: skip
    return alt.Chart(ticks.round(4)).mark_rect(clip=True, color=colour, opacity=0.75).encode(
        x=x, x2=alt.X2("x2:Q"), y=y, y2=alt.Y2("y2:Q"), tooltip=[alt.Tooltip("share:Q", title="hidden", format=".0%")]
    )  # fmt: skip


def _prediction_list(
    predictions: pd.DataFrame, right: int, top: int, line: float, x: alt.X, y: alt.Y, page: Ink
) -> list[alt.Chart]:
    """The likeliest next tokens, one under the other above the last column, the first on top."""
    n = len(predictions)
    rows = predictions.reset_index(drop=True)
    rows = rows.assign(
        x=float(right) - _SIDE, y=[top + line * (n - i - 0.2) for i in range(n)],
        text=[f"{t}  {p:.0%}" if p >= 0.01 else f"{t}  <1%" for t, p in zip(rows["token"], rows["probability"], strict=True)],
    )  # fmt: skip
    answer = alt.selection_point(
        name="answer", fields=["id"], on="@first_answer_marks:click, @answers_marks:click", clear="dblclick", empty=False
    )
    tips = [alt.Tooltip("token:N"), alt.Tooltip("probability:Q", format=".2%")]
    styles: tuple[tuple[pd.DataFrame, str, int, Literal["bold", "normal"], str], ...] = (
        (rows[:1], "first_answer", 13, "bold", page.text),
        (rows[1:], "answers", 12, "normal", page.muted),
    )
    first, rest = (
        alt.Chart(part, name=name)
        .mark_text(align="right", fontSize=size, fontWeight=weight, color=colour, cursor="pointer")
        .encode(x=x, y=y, text=alt.Text("text:N"), tooltip=tips)
        for part, name, size, weight, colour in styles
    )
    first = first.add_params(answer)
    title = pd.DataFrame({"x": [float(right) - _SIDE], "y": [top + line * (n + 0.8)], "text": ["next token"]})
    head = alt.Chart(title).mark_text(align="right", fontSize=11, color=page.muted).encode(x=x, y=y, text=alt.Text("text:N"))
    return [head, first, rest]


def cell_bars(
    table: pd.DataFrame, colours: Sequence[str], value: str = "share", percent: bool = True, dark: bool = False
) -> alt.LayerChart:
    """Bars of one cell's sources, the largest first. Columns: source, source_label, and `value` (signed)."""
    page = ink(dark)
    shown = table.assign(colour=[colours[s] if 0 <= s < len(colours) else page.rest for s in table["source"]])
    low, high = min(0.0, float(shown[value].min())), max(0.0, float(shown[value].max()))
    room = (high - low or 1.0) * 0.28
    x = alt.X(f"{value}:Q", axis=None, scale=alt.Scale(domain=[low - (room if low < 0 else 0), high + room]))
    y = alt.Y(
        "source_label:N",
        sort=None,
        title=None,
        axis=alt.Axis(
            labelLimit=110,
            ticks=False,
            domain=False,
            labelOverlap=False,
            labelFlush=False,
            labelColor=page.text,
            labelPadding=6,
        ),
    )
    form = ".1%" if percent else "+.2f"
    base = alt.Chart(shown).encode(y=y)
    bars = base.mark_bar(height=12).encode(
        x=x,
        color=alt.Color("colour:N", scale=None),
        tooltip=[alt.Tooltip("source_label:N", title="source"), alt.Tooltip(f"{value}:Q", format=form)],
    )
    above = (
        base.transform_filter(f"datum['{value}'] >= 0")
        .mark_text(align="left", dx=4, fontSize=11, color=page.text)
        .encode(x=x, text=alt.Text(f"{value}:Q", format=form))
    )
    below = (
        base.transform_filter(f"datum['{value}'] < 0")
        .mark_text(align="right", dx=-4, fontSize=11, color=page.text)
        .encode(x=x, text=alt.Text(f"{value}:Q", format=form))
    )
    return layered(bars, above, below, height=20 * max(1, len(shown)) + 16)


def through_depth(table: pd.DataFrame, colour: str, dark: bool = False) -> alt.Chart:
    """One source's share of one position, layer by layer. Columns: depth (layers, halves for attention), row, share."""
    page = ink(dark)
    return alone(
        alt.Chart(table)
        .mark_line(interpolate="step-after", strokeWidth=2, color=colour, point=alt.OverlayMarkDef(size=18, color=colour))
        .encode(
            x=alt.X(
                "depth:Q",
                title="layer",
                axis=alt.Axis(grid=False, tickMinStep=1, labelColor=page.muted, titleColor=page.muted),
            ),
            y=alt.Y(
                "share:Q",
                title=None,
                axis=alt.Axis(format="%", tickCount=4, gridColor=page.line, labelColor=page.muted),
            ),
            tooltip=[alt.Tooltip("row:N"), alt.Tooltip("share:Q", format=".1%")],
        ),
        height=150,
    )


def error_by_layer(table: pd.DataFrame, dark: bool = False, tolerance: float = 1e-3) -> alt.LayerChart:
    """Worst and median reconstruction error of each layer and stage, on a log scale. Columns: row, depth, worst, median."""
    page = ink(dark)
    long = table.melt(id_vars=["row", "depth"], value_vars=["worst", "median"], var_name="which", value_name="error")
    long["error"] = long["error"].clip(lower=1e-9)
    y = alt.Y(
        "error:Q",
        scale=alt.Scale(type="log", domain=[1e-9, max(1e-2, float(long["error"].max()))]),
        title="relative error",
        axis=alt.Axis(format=".0e", tickCount=5, gridColor=page.line, labelColor=page.muted, titleColor=page.muted),
    )
    lines = (
        alt.Chart(long)
        .mark_line(point=True, strokeWidth=1.5)
        .encode(
            x=alt.X(
                "depth:Q",
                title="layer",
                axis=alt.Axis(grid=False, tickMinStep=1, labelColor=page.muted, titleColor=page.muted),
            ),
            y=y,
            color=alt.Color(
                "which:N",
                title=None,
                scale=alt.Scale(domain=["worst", "median"], range=[page.accent, page.rest]),
                legend=alt.Legend(labelColor=page.text),
            ),
            tooltip=[alt.Tooltip("row:N"), alt.Tooltip("which:N"), alt.Tooltip("error:Q", format=".1e")],
        )
    )
    limit = alt.Chart(pd.DataFrame({"error": [tolerance]})).mark_rule(strokeDash=[4, 4], color="#b5483a").encode(y=y)
    return layered(lines, limit, height=190)
