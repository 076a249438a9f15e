"""Lenses of several kinds side by side: a token through the rows, and how far each can be believed."""

from typing import Any

import altair as alt
import pandas as pd

from infoflow.charts.drawing import alone, layered
from infoflow.charts.labels import by_value
from infoflow.charts.palette import ink, series


def through(table: pd.DataFrame, dark: bool = False) -> alt.LayerChart:
    """The output's token as each lens reads it through the rows; hollow where the contrast's state reads it too. Columns: lens,
    order, row, token, probability, shared."""
    page = ink(dark)
    colour, legend = _colours(table, dark), alt.Legend(orient="top", title=None, labelColor=page.text, symbolType="stroke")
    axis: dict[str, Any] = {"labelColor": page.muted, "titleColor": page.muted, "domain": False, "ticks": False}
    base = alt.Chart(table).encode(
        x=_across(table, page.muted),
        y=alt.Y("probability:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=4, **axis)),
        color=alt.Color("lens:N", scale=colour, legend=legend),
        tooltip=[
            alt.Tooltip("lens:N"), alt.Tooltip("row:N"), alt.Tooltip("token:N"), alt.Tooltip("probability:Q", format=".1%"),
            alt.Tooltip("shared:N", title="the contrast too"),
        ],
    )  # fmt: skip
    points = base.mark_point(size=34, strokeWidth=1.6, opacity=1).encode(
        fill=alt.condition("datum.shared", alt.value(page.paper), alt.Color("lens:N", scale=colour, legend=None))
    )
    return layered(base.mark_line(strokeWidth=2), points, height=280, width="container")


def trust(table: pd.DataFrame, measure: str, dark: bool = False) -> alt.Chart:
    """One measure of how far each lens can be believed, row by row. Columns: lens, order, row, measure, value."""
    page, shown = ink(dark), table[table["measure"] == measure]
    share = measure in ("names the output", "changes")
    axis = alt.Axis(
        format="%" if share else "~s", tickCount=4, labelColor=page.muted, titleColor=page.muted, domain=False, ticks=False
    )
    colour, legend = _colours(table, dark), alt.Legend(orient="top", title=None, labelColor=page.text, symbolType="stroke")
    form = ".0%" if share else ".2f"
    base = alt.Chart(shown).encode(
        x=_across(shown, page.muted),
        y=alt.Y("value:Q", title=None, axis=axis, scale=alt.Scale(domain=[0, 1]) if share else alt.Scale(zero=True)),
        color=alt.Color("lens:N", scale=colour, legend=legend),
        tooltip=[alt.Tooltip("lens:N"), alt.Tooltip("row:N"), alt.Tooltip("value:Q", title=measure, format=form)],
    )
    return alone(base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=20)), height=260, width="container")


def _colours(table: pd.DataFrame, dark: bool) -> alt.Scale:
    """A colour for each lens, the same in every chart of one comparison."""
    kinds = list(dict.fromkeys(table["lens"]))
    return alt.Scale(domain=kinds, range=series(len(kinds), dark))


def _across(table: pd.DataFrame, colour: str) -> alt.X:
    """The rows of the stream from left to right."""
    rows = table.drop_duplicates("order").sort_values("order")
    names = by_value(rows["order"].tolist(), rows["row"].tolist())
    axis = alt.Axis(labelExpr=names, labelAngle=-60, ticks=False, domain=False, labelColor=colour, labelOverlap=True)
    return alt.X("order:O", title=None, axis=axis)
