"""A text that a model wrote: what it read on the left, what it wrote on the right, and the weights in between."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from infoflow.charts.drawing import either, layered
from infoflow.charts.palette import ink, writing

_PITCH, _POINTS = 23, 14
WIDTHS = (0.5, 3.0)
"""of the lines, in pixels, from the threshold to the largest weight"""


def bipartite(nodes: pd.DataFrame, edges: pd.DataFrame, least: float, largest: float, dark: bool = False) -> alt.LayerChart:
    """Straight lines from inputs (left) to outputs (right), curves from outputs to later outputs; width by weight.

    Columns of nodes: side (input, output), number, label, role; of edges: kind, src, dst, from, to, weight. `least` and
    `largest` are the weights at which lines are thinnest and thickest. A click on a token selects `token`.
    """
    page, role = ink(dark), writing(dark)
    placed = nodes.assign(x=np.where(nodes["side"] == "input", 0.0, 1.0), y=0.0)
    for side in ("input", "output"):
        rows = placed["side"] == side
        n = int(rows.sum())
        placed.loc[rows, "y"] = np.linspace(0, 1, n) if n > 1 else 0.5
    at = {(s, int(i)): float(y) for s, i, y in zip(placed["side"], placed["number"], placed["y"], strict=True)}
    inside = [(kind, int(number)) in at for kind, number in zip(edges["kind"], edges["src"], strict=True)]
    drawn = edges[np.array(inside, dtype=bool)]
    xs = alt.Scale(domain=[-0.27, 1.27], nice=False)
    ys = alt.Scale(domain=[1.03, -0.03], nice=False)
    x, y = alt.X("x:Q", scale=xs, axis=None), alt.Y("y:Q", scale=ys, axis=None)
    width = alt.StrokeWidth(
        "weight:Q", legend=None, scale=alt.Scale(domain=[least, max(largest, least + 1e-9)], range=list(WIDTHS), clamp=True)
    )
    tips = [alt.Tooltip("from:N"), alt.Tooltip("to:N"), alt.Tooltip("weight:Q", format=".3f")]
    straight = drawn[drawn["kind"] == "input"]
    straight = straight.assign(
        x=0.0, x2=1.0, y=[at["input", int(s)] for s in straight["src"]], y2=[at["output", int(d)] for d in straight["dst"]]
    )
    lines = (
        alt.Chart(straight)
        .mark_rule(strokeCap="round", opacity=0.75, color=role["input line"])
        .encode(x=x, y=y, x2=alt.X2("x2:Q"), y2=alt.Y2("y2:Q"), strokeWidth=width, tooltip=tips)
    )
    curves = (
        alt.Chart(_bent(drawn[drawn["kind"] == "output"], at))
        .mark_line(strokeCap="round", opacity=0.85, color=role["output line"])
        .encode(x=x, y=y, detail=alt.Detail("edge:N"), order=alt.Order("order:Q"), strokeWidth=width, tooltip=tips)
    )
    picked = alt.selection_point(
        name="token", fields=["side", "number"], on="@dots_marks:click, @left_marks:click, @right_marks:click", empty=False
    )
    colours = alt.Scale(domain=list(role)[:5], range=[role[r] for r in list(role)[:5]])
    dots = (
        alt.Chart(placed, name="dots")
        .mark_circle(size=110, opacity=1, cursor="pointer", strokeWidth=1.4)
        .encode(
            x=x, y=y, color=alt.Color("role:N", legend=None, scale=colours),
            tooltip=[alt.Tooltip("label:N", title="token"), alt.Tooltip("side:N")],
            stroke=either(alt.StrokeValue, "datum.role == 'selected'", page.text, None),
        )
        .add_params(picked)
    )  # fmt: skip
    texts = alt.Chart(placed).encode(
        x=x, y=y, text=alt.Text("label:N"), tooltip=[alt.Tooltip("label:N", title="token"), alt.Tooltip("side:N")],
        color=either(alt.ColorValue, "datum.role == 'later'", page.muted, page.text),
        opacity=either(alt.OpacityValue, "datum.role == 'later'", 0.55, 1.0),
    )  # fmt: skip
    style: dict[str, Any] = {"fontSize": 12, "limit": 150, "cursor": "pointer"}
    left = texts.transform_filter("datum.side == 'input'").mark_text(align="right", dx=-11, **style).properties(name="left")
    right = texts.transform_filter("datum.side == 'output'").mark_text(align="left", dx=11, **style).properties(name="right")
    most = max(int((placed["side"] == side).sum()) for side in ("input", "output"))
    return layered(lines, curves, dots, left, right, height=max(240, _PITCH * most), width="container")


def _bent(edges: pd.DataFrame, at: dict[tuple[str, int], float]) -> pd.DataFrame:
    """Points of curves beside the right column, the wider apart the further their ends are."""
    t = np.linspace(0, 1, _POINTS)
    parts = []
    for number, edge in enumerate(edges.to_dict("records")):
        start, end = at["output", edge["src"]], at["output", edge["dst"]]
        bulge = 0.05 + 0.42 * abs(end - start)
        parts.append(
            pd.DataFrame({
                "edge": number, "order": range(_POINTS), "x": 1 - 2 * bulge * t * (1 - t), "y": start + (end - start) * t,
                "from": edge["from"], "to": edge["to"], "weight": edge["weight"],
            })
        )  # fmt: skip
    columns = ["edge", "order", "x", "y", "from", "to", "weight"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
