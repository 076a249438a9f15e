"""Along which paths a logit came: a column a position, a row a layer; lines are what stays and what is moved."""

from typing import Any

import altair as alt
import pandas as pd

from infoflow.charts.drawing import either, layered
from infoflow.charts.labels import beside, by_value
from infoflow.charts.palette import Ink, ink, signed_ramp, signs

HIGHEST = 560
"""pixels of the rows"""
_WIDEST, _THINNEST = 8.0, 0.8
"""pixels of the largest edge, and of one of nothing"""
_LARGEST, _SMALLEST = 150.0, 10.0
"""square pixels of the largest dot, and of one of nothing"""
_BELOW, _ABOVE = 30.0, 26.0
"""pixels for what arrives from each token, and for what is followed back"""
_MOST = 16
"""so many moves have their heads beside them"""
_COLUMN, _LETTER = 46.0, 5.4
"""pixels of a column, and of a letter: for names, which shall not stand on each other"""


def paths(
    nodes: pd.DataFrame, edges: pd.DataFrame, sources: pd.DataFrame, rows: pd.DataFrame, end: dict[str, Any], dark: bool = False
) -> alt.LayerChart:
    """The graph, the output on top. A click on a dot selects `cell` (order and position).

    Columns: of `nodes` order, where, position, label, amount, place, column, turn; of `edges`, the largest first, layer, kind,
    from, to, amount, share, heads, short, place, place_to, column, column_to; of `sources` column, label, kept, every, there; of
    `rows` place, name, low, high. `end`: column, and text (what is followed back).
    """
    page, n, top = ink(dark), len(sources), float(rows["place"].max())
    line = max(16.0, min(54.0, HIGHEST / top))
    x_scale = alt.Scale(domain=[0, n], nice=False, zero=False)
    y_scale = alt.Scale(domain=[-_BELOW / line, top + _ABOVE / line], nice=False, zero=False)
    plain: dict[str, Any] = {"title": None, "grid": False, "ticks": False, "domain": False, "labelOverlap": False}
    middles, there = [c + 0.5 for c in sources["column"]], [c + 0.5 for c in sources["column"][sources["there"]]]
    muted: Any = {"condition": {"test": f"indexof({there}, datum.value) >= 0", "value": page.text}, "value": page.muted}
    x_axis = alt.Axis(
        **plain, values=middles, labelAngle=-55, labelLimit=90, labelExpr=by_value(middles, sources["label"].tolist()),
        labelColor=muted,
    )  # fmt: skip
    places = [-0.6 * _BELOW / line, *rows["place"].tolist()]
    y_axis = alt.Axis(
        **plain, values=places, labelColor=page.muted, labelFontSize=10, labelExpr=by_value(places, ["arrives", *rows["name"]])
    )
    x, y = alt.X("x:Q", scale=x_scale, axis=x_axis), alt.Y("y:Q", scale=y_scale, axis=y_axis)
    parts = [*_ground(sources, rows, n, x, y, page), *_edges(edges, x, y, dark), _dots(nodes, x, y, dark)]
    named = edges[(edges["kind"] == "move")].head(_MOST)
    parts += _names(named, line, x, y, page) if len(named) else []
    parts.append(_arrives(sources.assign(y=places[0]), x, y, dark))
    parts.append(_end(end, n, top + 0.6 * _ABOVE / line, x, y, page))
    return layered(*parts, height=int(line * top + _BELOW + _ABOVE), width="container")


def _ground(sources: pd.DataFrame, rows: pd.DataFrame, n: int, x: alt.X, y: alt.Y, page: Ink) -> list[alt.Chart]:
    """A hairline a position, and a band where rows are drawn together."""
    lines = pd.DataFrame({"x": sources["column"] + 0.5, "y": 0.0, "y2": float(rows["place"].max())})
    bands = rows.dropna().assign(x=0, x2=n)
    band = alt.Chart(bands.assign(y=bands["low"] + 0.2, y2=bands["high"] - 0.2), name="quiet")
    thin = alt.Chart(lines, name="ground").mark_rule(color=page.line, strokeWidth=0.6, aria=False)
    return [
        band.mark_rect(color=page.empty, aria=False).encode(x=x, x2=alt.X2("x2:Q"), y=y, y2=alt.Y2("y2:Q")),
        thin.encode(x=x, y=y, y2=alt.Y2("y2:Q")),
    ]


def _edges(edges: pd.DataFrame, x: alt.X, y: alt.Y, dark: bool) -> list[alt.Chart]:
    """What stays, pale, under what is moved; the thinner ones over the wider."""
    largest = float(edges["amount"].abs().max()) or 1.0
    placed = edges.assign(
        x=edges["column"] + 0.5, x2=edges["column_to"] + 0.5, y=edges["place"], y2=edges["place_to"],
        width=_THINNEST + (_WIDEST - _THINNEST) * edges["amount"].abs() / largest,
    )  # fmt: skip
    tips = [
        alt.Tooltip("layer:Q"), alt.Tooltip("kind:N"), alt.Tooltip("from:N"), alt.Tooltip("to:N"),
        alt.Tooltip("amount:Q", format="+.3f"), alt.Tooltip("share:Q", title="of the logit", format="+.1%"),
    ]  # fmt: skip
    parts, pale = [], signed_ramp(dark)
    for kind, (raises, lowers), more in (("stay", (pale[2], pale[0]), []), ("move", signs(dark), [alt.Tooltip("heads:N")])):
        lines = alt.Chart(placed[placed["kind"] == kind], name=f"{kind}s").mark_rule(
            strokeCap="square" if kind == "stay" else "butt"
        )
        parts.append(
            lines.encode(
                x=x, y=y, x2=alt.X2("x2:Q"), y2=alt.Y2("y2:Q"), strokeWidth=alt.StrokeWidth("width:Q", scale=None),
                color=either(alt.Color, "datum.amount >= 0", raises, lowers), tooltip=[*tips, *more],
            )
        )  # fmt: skip
    return parts


def _dots(nodes: pd.DataFrame, x: alt.X, y: alt.Y, dark: bool) -> alt.Chart:
    """The cells where something happens."""
    page, (up, down) = ink(dark), signs(dark)
    largest = float(nodes["amount"].abs().max()) or 1.0
    placed = nodes[nodes["turn"]].assign(
        x=nodes["column"] + 0.5, y=nodes["place"], size=_SMALLEST + (_LARGEST - _SMALLEST) * nodes["amount"].abs() / largest
    )
    picked = alt.selection_point(name="cell", fields=["order", "position"], on="@cells_marks:click", empty=False)
    tips = [
        alt.Tooltip("where:N", title="row"), alt.Tooltip("label:N", title="position"),
        alt.Tooltip("amount:Q", title="holds", format="+.3f"),
    ]  # fmt: skip
    dots = alt.Chart(placed, name="cells").mark_point(filled=True, opacity=1, strokeWidth=1)
    return dots.encode(
        x=x, y=y, size=alt.Size("size:Q", scale=None), color=either(alt.Color, "datum.amount >= 0", up, down),
        stroke=either(alt.StrokeValue, picked, page.text, page.paper), tooltip=tips,
    ).add_params(picked)  # fmt: skip


def _names(moves: pd.DataFrame, line: float, x: alt.X, y: alt.Y, page: Ink) -> list[alt.Chart]:
    """The heads that do most of a move, beside its start."""
    starts = pd.DataFrame({
        "x": moves["column"] + 0.72, "y": moves["place"] + 0.22 / (moves["column_to"] - moves["column"]),
        "across": moves["column_to"] - moves["column"], "up": moves["place_to"] - moves["place"],
        "long": moves["short"].str.len() * _LETTER,
    })  # fmt: skip
    across, up = beside(starts, line, _COLUMN, below=True)  # where no line that rises gets in its way
    named = alt.Chart(moves.assign(x=across, y=up))
    style: dict[str, Any] = {"align": "left", "baseline": "middle", "fontSize": 9.5, "color": page.text}
    under = named.mark_text(**style, stroke=page.paper, strokeWidth=2, aria=False)
    return [part.encode(x=x, y=y, text=alt.Text("short:N")) for part in (under, named.mark_text(**style))]


def _arrives(sources: pd.DataFrame, x: alt.X, y: alt.Y, dark: bool) -> alt.Chart:
    """What of each token arrives, under it."""
    up, down = signs(dark)
    some = sources[sources["there"]]
    tips = [
        alt.Tooltip("label:N", title="token"), alt.Tooltip("kept:Q", title="along kept paths", format="+.3f"),
        alt.Tooltip("every:Q", title="along all paths", format="+.3f"),
    ]  # fmt: skip
    text = alt.Chart(some.assign(x=some["column"] + 0.5), name="arrives").mark_text(fontSize=10, fontWeight="bold")
    return text.encode(
        x=x, y=y, text=alt.Text("kept:Q", format="+.2f"), color=either(alt.Color, "datum.kept >= 0", up, down), tooltip=tips
    )


def _end(end: dict[str, Any], n: int, height: float, x: alt.X, y: alt.Y, page: Ink) -> alt.Chart:
    """What is followed back, over the cell that it is read off."""
    right = end["column"] >= n / 2
    placed = pd.DataFrame({"x": [end["column"] + (0.75 if right else 0.25)], "y": height, "text": end["text"]})
    style: dict[str, Any] = {"align": "right" if right else "left", "fontSize": 11, "fontWeight": "bold", "color": page.text}
    return alt.Chart(placed, name="end").mark_text(**style).encode(x=x, y=y, text=alt.Text("text:N"))
