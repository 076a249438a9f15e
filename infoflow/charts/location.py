"""Where an answer is: a map of rows by positions, each row's sum beside it, the way of the largest part, the largest moves."""

from typing import Any

import altair as alt
import pandas as pd

from infoflow.charts.drawing import either, layered
from infoflow.charts.labels import beside, by_value
from infoflow.charts.palette import Ink, ink, signed_ramp

HIGHEST = 600
"""pixels of the map"""
_SIDE = 0.03
_NARROW = 420
"""pixels of a map that has room for short names alone"""
_WIDE, _LETTER = 700.0, 5.8
"""pixels of a map beside its details, and of a letter in it: for the names of arrows, which shall not stand on each other"""


def answer_map(
    cells: pd.DataFrame,
    sums: pd.DataFrame,
    way: pd.DataFrame,
    moves: pd.DataFrame,
    dark: bool = False,
    chosen: tuple[int, int] | None = None,
) -> alt.LayerChart:
    """Signed cells, the output on top. A click selects `cell` (order and position).

    `chosen`: order and position of the cell that is marked from the beginning. Columns: of `cells` order, row, where, position,
    label, logit; of `sums` order, total, beside (in words),
    head (what is beside); of `way` order, position; of `moves` order, source, dest, from, to, logit,
    heads, short, every.
    """
    page = ink(dark)
    rows = cells.drop_duplicates("order").sort_values("order")
    columns = cells.drop_duplicates("position").sort_values("position")
    n, first, last = len(rows), int(columns["position"].min()), int(columns["position"].max())
    line = max(11.0, min(56.0, HIGHEST / (n + 1)))
    room = max(1.6, 0.16 * (last + 1 - first))  # for the sums
    x_scale = alt.Scale(domain=[first, last + 1 + room], nice=False, zero=False)
    y_scale = alt.Scale(domain=[0, n + 1], nice=False, zero=False)
    plain: dict[str, Any] = {"title": None, "grid": False, "ticks": False, "domain": False, "labelOverlap": False}
    x_axis = alt.Axis(
        **plain, values=[p + 0.5 for p in columns["position"]], labelColor=page.text, labelAngle=-55, labelLimit=90,
        labelExpr=by_value([p + 0.5 for p in columns["position"]], columns["label"].tolist()),
    )  # fmt: skip
    y_axis = alt.Axis(
        **plain, values=[o + 0.5 for o in rows["order"]], labelColor=page.muted, labelFontSize=10,
        labelExpr=by_value([o + 0.5 for o in rows["order"]], rows["row"].tolist()),
    )  # fmt: skip
    x, y = alt.X("x:Q", scale=x_scale, axis=x_axis), alt.Y("y:Q", scale=y_scale, axis=y_axis)
    largest = float(cells["logit"].abs().max()) or 1.0
    marked: dict[str, Any] = {} if chosen is None else {"value": [{"order": chosen[0], "position": chosen[1]}]}
    picked = alt.selection_point(name="cell", fields=["order", "position"], on="@cells_marks:click", empty=False, **marked)
    placed = cells.assign(
        x=cells["position"] + _SIDE, x2=cells["position"] + 1 - _SIDE, y=cells["order"] + _SIDE, y2=cells["order"] + 1 - _SIDE
    )
    ground = (
        alt.Chart(placed, name="cells")
        .mark_rect(clip=True)
        .encode(
            x=x, x2=alt.X2("x2:Q"), y=y, y2=alt.Y2("y2:Q"),
            color=alt.Color(
                "logit:Q",
                legend=alt.Legend(
                    title=None, orient="top", direction="horizontal", labelColor=page.muted, gradientLength=160,
                    gradientThickness=8, format="+.2~g", values=[-largest, 0, largest],
                ),
                scale=alt.Scale(domain=[-largest, 0, largest], range=list(signed_ramp(dark)), clamp=True, interpolate="rgb"),
            ),
            stroke=either(alt.StrokeValue, picked, page.text, None), strokeWidth=either(alt.StrokeWidthValue, picked, 2.2, 0),
            tooltip=[
                alt.Tooltip("where:N", title="row"), alt.Tooltip("label:N", title="position"),
                alt.Tooltip("logit:Q", title="holds", format="+.3f"),
            ],
        )
        .add_params(picked)
    )  # fmt: skip
    parts = [ground, *_way(way, x, y, page), *_sums(sums, n, last, room, x, y, page)]
    if len(moves):
        parts.extend(_moves(moves, x, y, page, (line, _WIDE / (last + 1 + room - first))))
    return layered(*parts, height=int(line * (n + 1)) + 40, width="container")


def _way(way: pd.DataFrame, x: alt.X, y: alt.Y, page: Ink) -> list[alt.Chart]:
    """A line through the cells that hold most."""
    placed = way.assign(x=way["position"] + 0.5, y=way["order"] + 0.5)
    line = alt.Chart(placed).mark_line(color=page.text, strokeWidth=1.6, opacity=0.55, strokeJoin="round", aria=False)
    dots = alt.Chart(placed).mark_point(filled=True, size=16, color=page.text, opacity=0.75, aria=False)
    return [line.encode(x=x, y=y, order=alt.Order("order:Q")), dots.encode(x=x, y=y)]


def _sums(sums: pd.DataFrame, n: int, last: int, room: float, x: alt.X, y: alt.Y, page: Ink) -> list[alt.Chart]:
    """The sum of each row, and its error, at the map's side."""
    places = (last + 1 + 0.5 * room, last + 1 + 0.97 * room)
    placed = sums.assign(y=sums["order"] + 0.5, x=places[0], x2=places[1])
    beside = str(sums["head"].iloc[0])
    tips = [alt.Tooltip("total:Q", title="sum", format="+.4f"), alt.Tooltip("beside:N", title=beside or "beside")]
    heads = pd.DataFrame({"x": places, "y": n + 0.5, "text": ["sum", beside]})
    said: dict[str, Any] = {"align": "right", "fontSize": 10}
    text = alt.Chart(placed).mark_text(**said, color=page.text).encode(
        x=x, y=y, text=alt.Text("total:Q", format="+.2f"), tooltip=tips
    )  # fmt: skip
    off = alt.Chart(placed.assign(x=places[1])).mark_text(**said, color=page.muted).encode(
        x=x, y=y, text=alt.Text("beside:N"), tooltip=tips
    )  # fmt: skip
    heads["short"] = heads["text"].str.removesuffix(" by")
    title = alt.Chart(heads).mark_text(**said, color=page.muted).transform_calculate(said=_fitting("text"))
    title = title.encode(x=x, y=y, text=alt.Text("said:N"))
    return [text, off, title]


def _fitting(name: str) -> str:
    """The field of a name, or where the map is narrow the short one."""
    return f"width < {_NARROW} ? datum.short : datum.{name}"


def _moves(moves: pd.DataFrame, x: alt.X, y: alt.Y, page: Ink, cell: tuple[float, float]) -> list[alt.Chart]:
    """Arrows from the cell that a part leaves to the one where it arrives, with the heads that move it. `cell`: pixels of its
    height and width."""
    largest = float(moves["logit"].abs().max()) or 1.0
    sign = (moves["dest"] > moves["source"]).map({True: 1, False: -1})
    placed = moves.assign(
        x=moves["source"] + 0.5, x2=moves["dest"] + 0.5 - 0.12 * sign, y=moves["order"] + 0.5, y2=moves["order"] + 1.5,
        width=0.8 + 2.6 * moves["logit"].abs() / largest, raises=moves["logit"] > 0,
        tip=moves["dest"] + 0.5 - 0.12 * sign, said=moves["source"] + 0.5 + 0.12 * sign,
    )  # fmt: skip
    tips = [
        alt.Tooltip("every:N", title="heads"), alt.Tooltip("from:N"), alt.Tooltip("to:N"),
        alt.Tooltip("logit:Q", title="moves", format="+.3f"),
    ]  # fmt: skip
    ends: dict[str, Any] = {"x": x, "y": y, "x2": alt.X2("x2:Q"), "y2": alt.Y2("y2:Q")}
    halo = alt.Chart(placed).mark_rule(color=page.paper, opacity=0.8, aria=False).encode(
        **ends, strokeWidth=alt.StrokeWidth("halo:Q", scale=None)
    ).transform_calculate(halo="datum.width + 2.4")  # fmt: skip
    dash = either(alt.StrokeDashValue, "datum.raises", [1, 0], [4, 3])
    lines = alt.Chart(placed).mark_rule(color=page.accent).encode(
        **ends, strokeWidth=alt.StrokeWidth("width:Q", scale=None), strokeDash=dash, tooltip=tips
    )  # fmt: skip
    at_end = alt.Chart(placed.assign(x=placed["tip"], y=placed["y2"]))
    tip = at_end.mark_point(filled=True, shape="circle", size=42, color=page.accent, opacity=1).encode(x=x, y=y, tooltip=tips)
    parts = [halo, lines, tip]
    text = alt.Text("called:N")
    starts = placed.assign(
        x=placed["said"], across=placed["dest"] - placed["source"], up=1.0, long=placed["heads"].str.len() * _LETTER
    )
    places = beside(starts, *cell)
    for align, forward in (("left", True), ("right", False)):  # towards the end
        of = placed.assign(x=places[0], y=places[1])[(sign > 0) == forward]
        if len(of):
            named = alt.Chart(of)
            style: dict[str, Any] = {
                "align": align,
                "fontSize": 10,
                "fontWeight": "bold",
                "color": page.text,
                "baseline": "middle",
            }
            named = named.transform_calculate(called=_fitting("heads"))
            under = named.mark_text(**style, stroke=page.paper, strokeWidth=3, aria=False)
            parts += [part.encode(x=x, y=y, text=text, tooltip=tips) for part in (under, named.mark_text(**style))]
    return parts
