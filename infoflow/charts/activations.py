"""Lengths and angles through the layers, as lines."""

import math
from typing import Any

import altair as alt
import pandas as pd

from infoflow.charts.drawing import layered
from infoflow.charts.labels import by_value
from infoflow.charts.palette import ink, series


def lines(table: pd.DataFrame, title: str, signed: bool = False, dark: bool = False) -> alt.LayerChart:
    """A line for each name, from the embedding to the output: lengths on a logarithmic scale, cosines (`signed`) up to 1.

    Columns: order, row, line, value.
    """
    page = ink(dark)
    shown = table if signed else table[table["value"] > 0]
    rows = shown.drop_duplicates("order").sort_values("order")
    names = list(dict.fromkeys(shown["line"]))
    low = -1.0 if signed and float(shown["value"].min()) < 0 else 0.0
    scale = alt.Scale(domain=[low, 1.0]) if signed else alt.Scale(type="log", nice=False)
    x = alt.X(
        "order:O", title=None,
        axis=alt.Axis(
            labelExpr=by_value(rows["order"].tolist(), rows["row"].tolist()), labelAngle=-60, ticks=False, domain=False,
            labelColor=page.muted, labelOverlap=True,
        ),
    )  # fmt: skip
    ticks: dict[str, Any] = {}
    if not signed and len(shown):  # all may be nothing, where the embedding was taken out
        ticks["values"] = _ticks(float(shown["value"].min()), float(shown["value"].max()))
    axis = alt.Axis(
        tickCount=5,
        gridColor=page.line,
        labelColor=page.muted,
        titleColor=page.muted,
        domain=False,
        format="~g" if signed else "~s",
        **ticks,
    )
    base = alt.Chart(shown).encode(
        x=x,
        y=alt.Y("value:Q", title=title, scale=scale, axis=axis),
        color=alt.Color(
            "line:N", sort=names, scale=alt.Scale(domain=names, range=series(len(names), dark)),
            legend=alt.Legend(title=None, orient="top", labelColor=page.text, symbolType="stroke", labelLimit=220),
        ),
        tooltip=[alt.Tooltip("line:N", title="what"), alt.Tooltip("row:N"), alt.Tooltip("value:Q", title=title, format=".4~g")],
    )  # fmt: skip
    zero = alt.Chart(pd.DataFrame({"value": [0.0]})).mark_rule(color=page.muted).encode(y=alt.Y("value:Q", scale=scale))
    drawn = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22))
    return layered(drawn, zero, height=320, width="container") if low < 0 else layered(drawn, height=320, width="container")


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten, or the powers alone where there are many: a logarithmic axis draws nine of each."""
    tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [float(f"{of}e{ten}") for ten in tens for of in ((1, 2, 5) if len(tens) <= 4 else (1,))]
