"""Layers by heads: what each writes, the strongest of each layer as a path, and which are in the circuit."""

from typing import Any

import altair as alt
import pandas as pd

from infoflow.charts.drawing import layered
from infoflow.charts.palette import ink, signed_ramp

CELL = 24


def head_map(
    table: pd.DataFrame, value: str, marked: pd.DataFrame | None = None, path: pd.DataFrame | None = None, dark: bool = False
) -> alt.LayerChart:
    """Columns of `table`: row, column, layer, head, and `value`; `marked`: row and column that are ringed; `path`: from_row,
    from_column, to_row, to_column of its lines. A click selects `head`."""
    page = ink(dark)
    rows, columns = list(dict.fromkeys(table["row"])), list(dict.fromkeys(table["column"]))
    largest = float(table[value].abs().max()) or 1.0
    axis: dict[str, Any] = {"ticks": False, "domain": False, "labelColor": page.muted}
    across, up = alt.Scale(domain=columns), alt.Scale(domain=rows[::-1])  # said, for layers over each other lose their order
    x = alt.X("column:N", scale=across, title="head", axis=alt.Axis(**axis, labelAngle=0, titleColor=page.muted))
    y = alt.Y("row:N", scale=up, title=None, axis=alt.Axis(**axis, labelOverlap=len(rows) > 40, labelFlush=False))
    legend = alt.Legend(
        title=None, orient="top", direction="horizontal", labelColor=page.muted, gradientLength=160, gradientThickness=8,
        format="+.1f", values=[-largest, 0, largest],
    )  # fmt: skip
    scale = alt.Scale(domain=[-largest, 0, largest], range=list(signed_ramp(dark)), clamp=True, interpolate="rgb")
    cells = (
        alt.Chart(table)
        .mark_rect(stroke=page.paper, strokeWidth=1)
        .encode(
            x=x, y=y, color=alt.Color(f"{value}:Q", legend=legend, scale=scale),
            tooltip=[alt.Tooltip("name:N"), alt.Tooltip(f"{value}:Q", format="+.3f")],
        )
        .add_params(alt.selection_point(name="head", fields=["layer", "head"], empty=False))
    )  # fmt: skip
    parts: list[alt.Chart] = [cells]
    if path is not None and len(path):
        parts.append(
            alt.Chart(path)
            .mark_rule(color=page.accent, opacity=0.55, strokeWidth=1.5)
            .encode(x=alt.X("from_column:N", scale=across), y=alt.Y("from_row:N", scale=up), x2="to_column:N", y2="to_row:N")
        )
    if marked is not None and len(marked):
        ring = alt.Chart(marked).mark_point(color=page.text, size=90, strokeWidth=1.6, filled=False)
        parts.append(ring.encode(x=alt.X("column:N", scale=across), y=alt.Y("row:N", scale=up)))
    return layered(*parts, height=min(560, CELL * len(rows)) + 120, width="container")
