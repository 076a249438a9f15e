"""Summaries of many prompts: shares as a map over layers, counts as bars."""

from typing import Any

import altair as alt
import pandas as pd

from infoflow.charts.drawing import FIT, alone
from infoflow.charts.palette import ink, ramp


def shares(table: pd.DataFrame, across: str, title: str, dark: bool = False) -> alt.Chart:
    """Layers by places or kinds. Columns: layer, `across` (in its order), share."""
    page = ink(dark)
    plain: dict[str, Any] = {"ticks": False, "domain": False, "labelColor": page.muted, "titleColor": page.muted}
    n_layers = table["layer"].nunique()
    legend = alt.Legend(
        title=None, orient="top", direction="horizontal", labelColor=page.muted, gradientLength=160, gradientThickness=8,
        format=".0%",
    )  # fmt: skip
    low, high = min(0.0, float(table["share"].min())), max(1e-6, float(table["share"].max()))
    chart = alt.Chart(table).mark_rect(stroke=page.paper, strokeWidth=1).encode(
        x=alt.X(
            f"{across}:N", sort=None, title=title, axis=alt.Axis(labelAngle=-35, labelLimit=120, labelOverlap=False, **plain)
        ),
        y=alt.Y("layer:O", sort="descending", title="layer", axis=alt.Axis(labelOverlap=n_layers > 40, **plain)),
        color=alt.Color("share:Q", scale=alt.Scale(domain=[low, high], range=ramp(dark)), legend=legend),
        tooltip=[
            alt.Tooltip("layer:O"), alt.Tooltip(f"{across}:N", title=title), alt.Tooltip("share:Q", format=".1%"),
            alt.Tooltip("prompts:Q", title="mean over prompts"),
        ],
    )  # fmt: skip
    return alone(chart, height=min(620, 30 * n_layers) + 130, width="container", config=FIT)


def bars(table: pd.DataFrame, across: str, up: str, title: str, by: str | None = None, dark: bool = False) -> alt.Chart:
    """How many, by what. Columns: `across` (in its order), `up`, and `by`, in whose values bars stand one under the other."""
    page = ink(dark)
    axis: dict[str, Any] = {"ticks": False, "domain": False, "labelColor": page.muted, "titleColor": page.muted, "labelAngle": 0}
    tips = [alt.Tooltip(f"{name}:{'Q' if name in (up, 'share', 'arrives') else 'N'}", **_form(name)) for name in table.columns]
    more: dict[str, Any] = {} if by is None else {
        "row": alt.Row(
            f"{by}:N", sort=None, title=None, header=alt.Header(labelAngle=0, labelAlign="left", labelColor=page.text)
        ),
    }  # fmt: skip
    chart = alt.Chart(table).mark_bar(color=page.accent).encode(
        x=alt.X(f"{across}:O", sort=None, title=title, axis=alt.Axis(labelOverlap=True, **axis)),
        y=alt.Y(f"{up}:Q", title=up, axis=alt.Axis(tickCount=4, gridColor=page.line, **axis)), tooltip=tips, **more,
    )  # fmt: skip
    if by is not None:
        return alone(chart, height=52, width=420)
    return alone(chart, height=260, width="container")


def _form(name: str) -> dict[str, Any]:
    return {"share": {"format": ".0%"}, "arrives": {"format": "+.2f"}}.get(name, {})
