"""Quantities with a sign, over tokens, heads or cells: green raises or brings, magenta lowers or takes away."""

from typing import Any

import altair as alt
import pandas as pd

from infoflow.charts.drawing import alone, either, layered
from infoflow.charts.palette import ink, signed_ramp, signs
from infoflow.text.characters import width as wide

_LINE, _GLYPH = 26, 8.2


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


def coloured_text(table: pd.DataFrame, value: str = "logit", width: int = 100, dark: bool = False) -> alt.LayerChart:
    """The prompt as running text, each piece on a ground of its value's colour. Columns: text, and `value`.

    Lines break after about `width` characters; a piece is never broken. An ideograph, a syllable or an emoji is two wide.
    """
    page = ink(dark)
    placed, column, line = [], 0.0, 0
    for text in table["text"]:
        size = max(1, wide(text)) + 1.0
        if column and column + size > width:
            column, line = 0.0, line + 1
        placed.append((column, column + size, line))
        column += size
    drawn = table.assign(
        x=[a for a, _, _ in placed], x2=[b - 0.25 for _, b, _ in placed], y=[n for *_, n in placed],
        middle=[(a + b - 0.25) / 2 for a, b, _ in placed], bottom=[n + 0.86 for *_, n in placed],
        centre=[n + 0.43 for *_, n in placed],
    )  # fmt: skip
    largest = float(drawn[value].abs().max()) or 1.0
    x_scale = alt.Scale(domain=[0, width], nice=False)
    y_scale = alt.Scale(domain=[0, line + 1], reverse=True, nice=False)
    colour = alt.Color(
        f"{value}:Q", legend=None, scale=alt.Scale(domain=[-largest, 0, largest], range=list(signed_ramp(dark)), clamp=True)
    )
    tips = [alt.Tooltip("text:N"), alt.Tooltip(f"{value}:Q", format="+.3f")]
    ground = (
        alt.Chart(drawn)
        .mark_rect(cornerRadius=3)
        .encode(
            x=alt.X("x:Q", scale=x_scale, axis=None), x2=alt.X2("x2:Q"), y=alt.Y("y:Q", scale=y_scale, axis=None),
            y2=alt.Y2("bottom:Q"),
            color=colour, tooltip=tips,
        )
    )  # fmt: skip
    words = (
        alt.Chart(drawn)
        .mark_text(fontSize=13, color=page.text)
        .encode(
            x=alt.X("middle:Q", scale=x_scale, axis=None),
            y=alt.Y("centre:Q", scale=y_scale, axis=None),
            text=alt.Text("text:N"),
            tooltip=tips,
        )
    )
    return layered(ground, words, height=_LINE * (line + 1) + 10, width=int(_GLYPH * width), config={"padding": 0})


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

    Colours are full from `limit` on; from the largest value if there is none.
    """
    page = ink(dark)
    largest = limit or float(table[value].abs().max()) or 1.0
    n_across, n_up = table[across].nunique(), table[up].nunique()
    axis: dict[str, Any] = {
        "ticks": False, "domain": False, "labelColor": page.muted, "labelLimit": 80, "labelOverlap": n_up > 40 or n_across > 60,
    }  # fmt: skip
    short = max(map(len, table[across].astype(str))) <= 3
    legend = alt.Legend(
        title=None, orient="top", direction="horizontal", labelColor=page.muted, gradientLength=160, gradientThickness=8,
        format=form, values=[-largest, 0, largest],
    )  # fmt: skip
    return alone(
        alt.Chart(table)
        .mark_rect(stroke=page.paper, strokeWidth=1 if n_across < 60 else 0)
        .encode(
            x=alt.X(f"{across}:N", sort=None, title=None, axis=alt.Axis(**axis, labelAngle=0 if short else -55)),
            y=alt.Y(f"{up}:N", sort=list(dict.fromkeys(table[up]))[::-1], title=None, axis=alt.Axis(**axis)),
            color=alt.Color(
                f"{value}:Q",
                legend=legend,
                scale=alt.Scale(domain=[-largest, 0, largest], range=list(signed_ramp(dark)), clamp=True),
            ),
            tooltip=[alt.Tooltip(f"{up}:N"), alt.Tooltip(f"{across}:N"), alt.Tooltip(f"{value}:Q", format=form)],
        ),
        height=min(480, 22 * n_up) + (95 if short else 140),
        width="container",
    )


def ranking(table: pd.DataFrame, value: str = "share", form: str = "+.1%", dark: bool = False) -> alt.LayerChart:
    """Bars side by side with their names, in the order given. Columns: name, and `value`."""
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
    text = alt.Text(f"{value}:Q", format=form)
    after = base.transform_filter(positive).mark_text(align="left", dx=4, fontSize=11, color=page.text).encode(x=x, text=text)
    before = (
        base.transform_filter(f"!({positive})")
        .mark_text(align="right", dx=-4, fontSize=11, color=page.text)
        .encode(x=x, text=text)
    )
    return layered(bars, after, before, height=20 * max(1, len(table)), width="container")
