"""Quantities with a sign, over tokens, heads or cells: green raises or brings, magenta lowers or takes away."""

from typing import Any

import altair as alt
import pandas as pd

from infoflow.charts.drawing import alone, either, layered
from infoflow.charts.palette import ink, signed_ramp, signs


def columns(table: pd.DataFrame, value: str = "logit", title: str = "", dark: bool = False, form: str = "+.3f") -> alt.LayerChart:
    """One bar per source, in reading order. Columns: label (unique), and `value`."""
    page, (up, down) = ink(dark), signs(dark)
    shown = table.assign(order=range(len(table)))
    x = alt.X(
        "label:N",
        sort=None,
        title=None,
        axis=alt.Axis(labelAngle=-55, labelLimit=90, ticks=False, domain=False, labelColor=page.text, labelOverlap=False),
    )
    percent: dict[str, Any] = {"format": "%"} if form.endswith("%") else {}
    y_axis = alt.Axis(**percent, tickCount=4, gridColor=page.line, labelColor=page.muted, titleColor=page.muted, domain=False)
    base = alt.Chart(shown).encode(x=x, y=alt.Y(f"{value}:Q", title=title or None, axis=y_axis))
    bars = base.mark_bar().encode(
        color=either(alt.ColorValue, f"datum['{value}'] >= 0", up, down),
        tooltip=[alt.Tooltip("label:N", title="source"), alt.Tooltip(f"{value}:Q", format=form)],
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=page.muted).encode(y=alt.Y("zero:Q"))
    return layered(bars, zero, height=190, width="container")


def grid(
    table: pd.DataFrame,
    across: str,
    up: str,
    value: str,
    form: str = "+.3f",
    limit: float | None = None,
    dark: bool = False,
) -> alt.Chart:
    """A map of signed values, `up` rising. Columns: `across` and `up` (labels in order), and `value`.

    Colours are full from `limit` on; from the largest value if there is none. With layer and head a click selects `head`.
    """
    page = ink(dark)
    largest = limit or float(table[value].abs().max()) or 1.0
    n_across, n_up = table[across].nunique(), table[up].nunique()
    axis: dict[str, Any] = {
        "ticks": False, "domain": False, "labelColor": page.muted, "labelLimit": 80, "labelOverlap": n_up > 40 or n_across > 40,
    }  # fmt: skip
    short = max(map(len, table[across].astype(str))) <= 3
    legend = alt.Legend(
        title=None, orient="top", direction="horizontal", labelColor=page.muted, gradientLength=160, gradientThickness=8,
        format=form, values=[-largest, 0, largest],
    )  # fmt: skip
    chart = (
        alt.Chart(table)
        .mark_rect(stroke=page.paper, strokeWidth=1 if n_across < 60 else 0)
        .encode(
            x=alt.X(f"{across}:N", sort=None, title=None, axis=alt.Axis(**axis, labelAngle=0 if short else -55)),
            y=alt.Y(f"{up}:N", sort=list(dict.fromkeys(table[up]))[::-1], title=None, axis=alt.Axis(**axis, labelFlush=False)),
            color=alt.Color(
                f"{value}:Q",
                legend=legend,
                scale=alt.Scale(domain=[-largest, 0, largest], range=list(signed_ramp(dark)), clamp=True, interpolate="rgb"),
            ),
            tooltip=[alt.Tooltip(f"{up}:N"), alt.Tooltip(f"{across}:N"), alt.Tooltip(f"{value}:Q", format=form)],
        )
    )
    if "head" in table:
        chart = chart.add_params(_picked("position" in table))
    return alone(
        chart,
        height=min(480, 22 * n_up) + (95 if short else 140),
        width="container",
    )


def _picked(place: bool = False) -> alt.Parameter:
    """A click selects `head`: its layer and head, and the position where each has one."""
    return alt.selection_point(name="head", fields=["layer", "head", *["position"] * place], empty=False)


def ranking(
    table: pd.DataFrame, value: str = "share", form: str = "+.1%", dark: bool = False, padding: int = 0
) -> alt.LayerChart:
    """Bars side by side with their names, in the order given, with so many pixels more than they need: a page pads a chart from
    its height, which leaves few bars too low for their names. Columns: name, and `value`; with layer and head a click selects
    `head`."""
    page, (up, down) = ink(dark), signs(dark)
    low, high = min(0.0, float(table[value].min())), max(0.0, float(table[value].max()))
    room = (high - low or 1.0) * 0.2
    x = alt.X(f"{value}:Q", axis=None, scale=alt.Scale(domain=[low - (room if low < 0 else 0), high + room], nice=False))
    axis = alt.Axis(
        labelLimit=260, ticks=False, domain=False, labelColor=page.text, labelPadding=6, labelOverlap=False, labelFlush=False
    )
    base = alt.Chart(table).encode(y=alt.Y("name:N", sort=None, title=None, axis=axis))
    tips = [alt.Tooltip("name:N", title="carrier"), alt.Tooltip(f"{value}:Q", format=form)]
    positive = f"datum['{value}'] >= 0"
    bars = base.mark_bar(height=12).encode(x=x, color=either(alt.ColorValue, positive, up, down), tooltip=tips)
    if "head" in table:
        bars = bars.add_params(_picked())
    text = alt.Text(f"{value}:Q", format=form)
    after = base.transform_filter(positive).mark_text(align="left", dx=4, fontSize=11, color=page.text).encode(x=x, text=text)
    before = (
        base.transform_filter(f"!({positive})")
        .mark_text(align="right", dx=-4, fontSize=11, color=page.text)
        .encode(x=x, text=text)
    )
    return layered(bars, after, before, height=20 * max(1, len(table)) + padding, width="container")
