"""The logit lens: a table of predictions by row and position, tokens through the layers, how far rows can be trusted."""

from typing import Any

import altair as alt
import pandas as pd

from infoflow.charts.drawing import FIT, either, layered
from infoflow.charts.labels import by_value
from infoflow.charts.palette import ink, ramp, series, signed_ramp

_ROW = 21
PALE = 0.22
"""how much is left of the colour of a cell whose reading is no news of this prompt"""


def table(cells: pd.DataFrame, title: str, dark: bool = False, chosen: tuple[int, int] | None = None) -> alt.LayerChart:
    """One cell per row of the stream and position, the output on top; outlined where it already says the final answer, pale where
    the contrast's state says the same.

    `chosen`: order and position of the cell that is marked from the beginning. Columns: order, row, where, position, label, text,
    value, strength, final, likely, entropy, kl; and where there is a contrast shared, other.
    """
    page = ink(dark)
    rows = cells.drop_duplicates("order").sort_values("order")
    columns = cells.drop_duplicates("position").sort_values("position")
    names = by_value(rows["order"].tolist(), rows["row"].tolist())
    tokens = by_value(columns["position"].tolist(), columns["label"].tolist())
    y = alt.Y(
        "order:O",
        sort="descending",
        title=None,
        axis=alt.Axis(labelExpr=names, ticks=False, domain=False, labelColor=page.muted, labelFontSize=10, labelOverlap=False),
        scale=alt.Scale(paddingInner=0.09),
    )
    x = alt.X(
        "position:O",
        title=None,
        axis=alt.Axis(
            labelExpr=tokens, labelAngle=-60, labelLimit=90, ticks=False, domain=False, labelColor=page.text, labelOverlap=False
        ),
        scale=alt.Scale(paddingInner=0.05),
    )
    marked: dict[str, Any] = {} if chosen is None else {"value": [{"order": chosen[0], "position": chosen[1]}]}
    picked = alt.selection_point(name="cell", fields=["order", "position"], empty=False, **marked)
    tips = [
        alt.Tooltip("where:N", title="row"),
        alt.Tooltip("label:N", title="position"),
        alt.Tooltip("likely:N", title="likeliest"),
        alt.Tooltip("value:Q", title=title, format=".3~g"),
        alt.Tooltip("entropy:Q", format=".2f"),
        alt.Tooltip("kl:Q", title="KL to output", format=".2f"),
    ]
    held = "other" in cells and bool((cells["other"] != "").any())
    if held:
        tips.append(alt.Tooltip("other:N", title="the contrast reads"))
    base = alt.Chart(cells).encode(x=x, y=y)
    strong = alt.Scale(domain=[0, 1], range=ramp(dark))
    signed = alt.Scale(domain=[-1, 0, 1], range=list(signed_ramp(dark)), interpolate="rgb")
    outline = alt.when(picked).then(alt.value(page.text)).when("datum.final").then(alt.value(page.final))
    ground = base.mark_rect(cornerRadius=1.5).encode(
        color=alt.Color("strength:Q", legend=None, scale=signed if title == "lead" else strong),
        stroke=alt.StrokeValue(**outline.otherwise(alt.value(None))),
        strokeWidth=either(alt.StrokeWidthValue, picked, 2.2, 1.2),
        tooltip=tips,
        **({"fillOpacity": either(alt.FillOpacityValue, "datum.shared", PALE, 1.0)} if held else {}),
    )
    shared = "datum.shared ? false : " if held else ""
    dark_ground = "false" if title == "lead" else f"{shared}datum.strength > 0.45"
    text = base.mark_text(fontSize=9.5, limit=alt.ExprRef(expr=f"max(16, width / {len(columns)} - 3)"), clip=True).encode(
        text=alt.Text("text:N"), color=either(alt.ColorValue, dark_ground, ramp(dark)[0], page.text), tooltip=tips
    )
    return layered(
        ground.add_params(picked),
        text,
        height=_ROW * len(rows) + 80,
        width="container",
        config=FIT,
    )


def trajectories(table: pd.DataFrame, value: str = "probability", dark: bool = False) -> alt.LayerChart:
    """Tokens through the rows of the stream, followed ones solid. Columns: order, row, token, followed, and `value` (probability,
    or rank); run, where two are compared."""
    page = ink(dark)
    shown = table[table[value].notna()]
    rows = shown.drop_duplicates("order").sort_values("order")
    tokens = list(dict.fromkeys(shown["token"]))
    colour = alt.Color("token:N", legend=None, scale=alt.Scale(domain=tokens, range=series(len(tokens), dark)))
    x = _across(rows, page.muted)
    ranks = value == "rank"
    scale = alt.Scale(type="log", reverse=True, nice=False) if ranks else alt.Scale(domain=[0, 1])
    y = alt.Y(
        f"{value}:Q",
        title="rank" if ranks else None,
        scale=scale,
        axis=alt.Axis(
            format="~s" if ranks else "%", tickCount=4, gridColor=page.line, labelColor=page.muted, titleColor=page.muted,
            domain=False,
        ),
    )  # fmt: skip
    tips = [alt.Tooltip("token:N"), alt.Tooltip("row:N"), alt.Tooltip("probability:Q", format=".2%"), alt.Tooltip("rank:Q")]
    base = alt.Chart(shown).encode(x=x, y=y, color=colour, tooltip=tips)
    lines = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22)).encode(
        detail=alt.Detail("followed:N"), strokeDash=either(alt.StrokeDashValue, "datum.followed", [1, 0], [4, 3])
    )
    ends = shown[shown["order"] == shown["order"].max()].sort_values(value, ascending=not ranks)
    if "run" in ends:  # of two runs, this one's lines are named
        ends = ends[ends["run"] == "this"]
    names = (
        alt.Chart(_apart(ends, value, ranks)).mark_text(align="left", dx=10, fontSize=11)
        .encode(x=x, y=alt.Y("at:Q", scale=scale), text=alt.Text("token:N"), color=colour)
    )  # fmt: skip
    return layered(lines, names, height=230, width="container", padding={"left": 5, "right": 70, "top": 5, "bottom": 5})


def reliability(table: pd.DataFrame, dark: bool = False) -> alt.LayerChart:
    """How far rows agree with the output. Columns: order, row, kl, agrees."""
    page = ink(dark)
    x = _across(table, page.muted)
    axis: dict[str, Any] = {"tickCount": 4, "labelColor": page.muted, "titleColor": page.muted, "domain": False, "grid": False}
    tips = [alt.Tooltip("row:N"), alt.Tooltip("agrees:Q", format=".0%"), alt.Tooltip("kl:Q", title="KL to output", format=".2f")]
    base = alt.Chart(table).encode(x=x, tooltip=tips)
    share = base.mark_bar(color=page.accent, opacity=0.35).encode(
        y=alt.Y("agrees:Q", title="names the final token", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", **axis))
    )
    loss = base.mark_line(color=page.text, strokeWidth=1.6, point=alt.OverlayMarkDef(size=16, color=page.text)).encode(
        y=alt.Y("kl:Q", title="mean KL to output (nats)", axis=alt.Axis(orient="right", **axis))
    )
    return layered(share, loss, height=210, width="container", resolve=alt.Resolve(scale=alt.ScaleResolveMap(y="independent")))


def _across(rows: pd.DataFrame, colour: str) -> alt.X:
    """The rows of the stream from left to right. Columns: order, row."""
    names = by_value(rows["order"].tolist(), rows["row"].tolist())
    axis = alt.Axis(labelExpr=names, labelAngle=-60, ticks=False, domain=False, labelColor=colour, labelOverlap=True)
    return alt.X("order:O", title=None, axis=axis)


def _apart(ends: pd.DataFrame, value: str, ranks: bool) -> pd.DataFrame:
    """Where the names at the lines' ends go so that they do not lie on each other: at least 7 % of the height apart."""
    if ranks or ends.empty:
        return ends.assign(at=ends[value])
    at: list[float] = []
    for wanted in ends[value]:
        at.append(max(float(wanted), at[-1] + 0.07) if at else float(wanted))
    over = max(0.0, at[-1] - 1.0)
    return ends.assign(at=[max(0.0, a - over) for a in at])
