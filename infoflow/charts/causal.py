"""What sources contribute beside what their removal does: two bars a source."""

import altair as alt
import pandas as pd

from infoflow.charts.drawing import layered
from infoflow.charts.palette import ink

LINEAR, EFFECT = "contribution", "what removing it does"


def paired(table: pd.DataFrame, title: str = "", dark: bool = False) -> alt.LayerChart:
    """Two bars side by side per source, in reading order. Columns: label (unique), linear, effect (NaN where there is none)."""
    page = ink(dark)
    long = table.assign(order=range(len(table))).melt(["label", "order"], ["linear", "effect"], "kind", "value").dropna()
    long["kind"] = long["kind"].map({"linear": LINEAR, "effect": EFFECT})
    kinds, colours = [LINEAR, EFFECT], [page.accent, page.final]
    axis = alt.Axis(labelAngle=-55, labelLimit=90, ticks=False, domain=False, labelColor=page.text, labelOverlap=len(table) > 40)
    up = alt.Axis(tickCount=4, gridColor=page.line, labelColor=page.muted, titleColor=page.muted, domain=False)
    legend = alt.Legend(title=None, orient="top", labelColor=page.text, labelLimit=240)
    bars = (
        alt.Chart(long)
        .mark_bar()
        .encode(
            x=alt.X("label:N", sort=list(table["label"]), title=None, axis=axis),
            xOffset=alt.XOffset("kind:N", sort=kinds),
            y=alt.Y("value:Q", title=title or None, axis=up),
            color=alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=colours), legend=legend),
            tooltip=[alt.Tooltip("label:N", title="source"), alt.Tooltip("kind:N"), alt.Tooltip("value:Q", format="+.3f")],
        )
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=page.muted).encode(y=alt.Y("zero:Q"))
    return layered(bars, zero, height=190, width="container")
