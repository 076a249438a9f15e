"""Two runs and their difference as three panels of one view: one scale for all three, so that a colour or a length means the same
in each."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from infoflow.charts.drawing import layered
from infoflow.charts.labels import by_value
from infoflow.charts.palette import Ink, ink, signed_ramp, signs

PANELS = ("a", "b", "difference")
HIGHEST = 560
"""pixels of a map"""
_CELL = 0.5
"""units of a column, of which an exported picture has 46 pixels each"""
_WIDE = 1.1
"""the same of a column with numbers in it"""
_LETTERS = 34
"""pixels that a number in a cell needs; where cells are narrower it is in the tooltip alone"""
_UNIT = 7.0
"""units of a full bar"""
_TOLD = 3.0
"""units beside the difference, for its largest part in words"""
_GAP = 0.9
"""units between panels"""


def maps(
    cells: pd.DataFrame,
    titles: Sequence[str],
    columns: pd.DataFrame,
    form: str = "+.3f",
    root: bool = False,
    dark: bool = False,
) -> alt.LayerChart:
    """Three maps of signed values side by side, the last row on top; all coloured from the largest value of any. `root`: by the
    square root, so that small values show. Few columns have their numbers in the cells.

    Columns: of `cells` order, place, row, column, a, b, difference; of `columns` (one for each place) a, b (its labels), differs.
    """
    page = ink(dark)
    rows = cells.drop_duplicates("order").sort_values("order")
    n, wide = len(columns), len(columns) <= 8
    step = _WIDE if wide else _CELL
    high = len(rows)
    line = max(13.0 if wide else 11.0, min(24.0 if wide else 30.0, HIGHEST / (high + 1)))
    largest = float(np.nan_to_num(cells[list(PANELS)].to_numpy()).__abs__().max()) or 1.0
    starts = [number * (n * step + _GAP) for number in range(3)]
    parts: list[pd.DataFrame] = []
    places: list[float] = []
    names: list[str] = []
    marked: list[float] = []
    for start, panel in zip(starts, PANELS, strict=True):
        x = start + cells["place"] * step
        parts.append(
            cells.assign(panel=titles[len(parts)], value=cells[panel], x=x, x2=x + step, y=cells["order"], y2=cells["order"] + 1)
        )
        for label in columns.itertuples():
            places.append(round(start + (label.Index + 0.5) * step, 3))
            names.append(_label(panel, label))
            if label.differs:
                marked.append(places[-1])
    drawn = pd.concat(parts, ignore_index=True).drop(columns=list(PANELS))
    x_axis = _axis(page, places, names, marked)
    y_axis = alt.Axis(
        title=None, grid=False, ticks=False, domain=False, labelOverlap=False, labelColor=page.muted, labelFontSize=10,
        labelLimit=90, values=[o + 0.5 for o in rows["order"]],
        labelExpr=by_value([o + 0.5 for o in rows["order"]], rows["row"].tolist()),
    )  # fmt: skip
    end = starts[-1] + n * step
    x_of = alt.X("x:Q", scale=alt.Scale(domain=[0, end], nice=False, zero=False), axis=x_axis)
    y_of = alt.Y("y:Q", scale=alt.Scale(domain=[0, high + 1], nice=False, zero=False), axis=y_axis)
    legend = alt.Legend(
        title=None, orient="bottom", direction="horizontal", labelColor=page.muted, gradientLength=180, gradientThickness=8,
        format=form, values=[-largest, 0, largest],
    )  # fmt: skip
    kind: dict[str, Any] = {"type": "pow", "exponent": 0.5} if root else {}
    scale = alt.Scale(domain=[-largest, 0, largest], range=list(signed_ramp(dark)), clamp=True, interpolate="rgb", **kind)
    tips = [
        alt.Tooltip("panel:N", title="run"), alt.Tooltip("row:N"), alt.Tooltip("column:N"), alt.Tooltip("value:Q", format=form),
    ]  # fmt: skip
    ground = (
        alt.Chart(drawn, name="cells")
        .mark_rect(stroke=page.paper, strokeWidth=1 if n < 40 else 0)
        .encode(
            x=x_of, x2=alt.X2("x2:Q"), y=y_of, y2=alt.Y2("y2:Q"), color=alt.Color("value:Q", legend=legend, scale=scale),
            tooltip=tips,
        )
    )  # fmt: skip
    heads = pd.DataFrame({"x": starts, "y": high + 0.42, "text": list(titles)})
    title = alt.Chart(heads, name="titles").mark_text(align="left", fontSize=12, fontWeight="bold", color=page.text, clip=False)
    layers = [ground, title.encode(x=x_of, y=y_of, text=alt.Text("text:N"))]
    if wide:
        middle = drawn.assign(x=(drawn["x"] + drawn["x2"]) / 2, y=drawn["y"] + 0.5)
        text = alt.Chart(middle, name="numbers").mark_text(
            fontSize=10, color=page.text, opacity=alt.ExprRef(expr=f"width < {3 * n * _LETTERS} ? 0 : 1")
        )
        layers.append(text.encode(x=x_of, y=y_of, text=alt.Text("value:Q", format=form), tooltip=tips))
    return layered(*layers, height=int(line * (high + 1)) + 110, width="container")


def stacks(table: pd.DataFrame, titles: Sequence[str], colours: Sequence[str], dark: bool = False) -> alt.LayerChart:
    """What a residual is made of after each layer, as one bar a run, the last layer on top; beside them what is more in the
    second (right of the line) and what is less (left), a share as long as in the bars.

    Columns: layer, row, source (a number of `colours`), source_label, a, b, difference.
    """
    page = ink(dark)
    rows = table.drop_duplicates("layer").sort_values("layer")
    high = len(rows)
    scale = max(1.0, *(float(table.groupby("layer")[run].agg(lambda of: of.clip(lower=0).sum()).max()) for run in ("a", "b")))
    unit = _UNIT / scale
    below = max(float((-table[run]).clip(lower=0).groupby(table["layer"]).sum().max()) for run in ("a", "b")) * unit
    more, less = (
        float((sign * table["difference"]).clip(lower=0).groupby(table["layer"]).sum().max()) * unit for sign in (1, -1)
    )
    zeros = [below, below + _UNIT + _GAP + below]
    zeros.append(zeros[1] + _UNIT + _GAP + max(less, 1.2))
    end = zeros[2] + max(more, 1.2)
    parts = [_stacked(table, panel, zero, unit, title) for panel, zero, title in zip(PANELS, zeros, titles, strict=True)]
    drawn = pd.concat(parts, ignore_index=True)
    drawn = drawn[drawn["value"].abs() >= 0.0005]
    y_axis = alt.Axis(
        title=None, grid=False, ticks=False, domain=False, labelOverlap=high > 40, labelColor=page.muted, labelFontSize=10,
        values=[layer + 0.5 for layer in rows["layer"]],
        labelExpr=by_value([layer + 0.5 for layer in rows["layer"]], rows["row"].tolist()),
    )  # fmt: skip
    x_of = alt.X("x:Q", scale=alt.Scale(domain=[0, end + _TOLD], nice=False, zero=False), axis=None)
    y_of = alt.Y("y:Q", scale=alt.Scale(domain=[0, high + 1], nice=False, zero=False), axis=y_axis)
    numbers = sorted(drawn["source"].unique().tolist())
    called = drawn.drop_duplicates("source").set_index("source")["source_label"]
    # pixels of the longest name: a legend that is wider than the window is cut off
    room = 30 + 7 * min(15, max(len(str(name)) for name in called))
    across, most_rows = f"clamp(floor(width / {room}), 2, 9)", max(6, -(-len(numbers) // 6))
    columns, limit = alt.ExprRef(expr=across), alt.ExprRef(expr=f"{most_rows} * {across}")  # else it takes the bars' height
    legend = alt.Legend(
        title=None, orient="bottom", columns=columns, symbolLimit=limit, symbolType="square", labelColor=page.text,
        labelLimit=110, symbolSize=90,
        labelExpr=by_value(numbers, [str(called[number]) for number in numbers]),
    )  # fmt: skip
    shown = alt.Scale(domain=numbers, range=[colours[number] for number in numbers])
    bars = (
        alt.Chart(drawn, name="bars")
        .mark_rect()
        .encode(
            x=x_of, x2=alt.X2("x2:Q"), y=y_of, y2=alt.Y2("y2:Q"), color=alt.Color("source:O", legend=legend, scale=shown),
            tooltip=[
                alt.Tooltip("panel:N", title="run"), alt.Tooltip("row:N", title="layer"),
                alt.Tooltip("source_label:N", title="source"), alt.Tooltip("value:Q", title="share", format="+.1%"),
            ],
        )
    )  # fmt: skip
    most = table.loc[table.groupby("layer")["difference"].agg(lambda of: of.abs().idxmax())]
    most = most[most["difference"].abs() >= 0.005]
    texts = [f"{_signed(line.difference, '+.0%')} {line.source_label}" for line in most.itertuples()]
    told = pd.DataFrame({"x": end, "y": most["layer"].to_numpy() + 0.5, "text": texts})
    words = alt.Chart(told, name="largest").mark_text(align="left", fontSize=10, color=page.muted, limit=150)
    zero = alt.Chart(pd.DataFrame({"x": [zeros[2]], "y": [0.0], "y2": [float(high)]}), name="zero").mark_rule(color=page.muted)
    heads = pd.DataFrame({"x": [zeros[0], zeros[1], zeros[2] - max(less, 1.2)], "y": high + 0.45, "text": list(titles)})
    title = alt.Chart(heads, name="titles").mark_text(align="left", fontSize=12, fontWeight="bold", color=page.text)
    layers = [bars, zero.encode(x=x_of, y=y_of, y2=alt.Y2("y2:Q")), title.encode(x=x_of, y=y_of, text=alt.Text("text:N"))]
    layers.append(words.encode(x=x_of, y=y_of, text=alt.Text("text:N")))
    line = min(34.0, max(14.0, HIGHEST / (high + 1)))
    return layered(*layers, height=int(line * (high + 1)) + 20 + 20 * -(-len(numbers) // 9), width="container")


def _stacked(table: pd.DataFrame, panel: str, zero: float, unit: float, title: str) -> pd.DataFrame:
    """Rectangles of one panel: what is positive goes right from zero, what is negative left."""
    value = table[panel]
    size = value.abs() * unit
    ends = np.where(
        value >= 0,
        size.where(value >= 0, 0).groupby(table["layer"]).cumsum(),
        size.where(value < 0, 0).groupby(table["layer"]).cumsum(),
    )
    sign = np.where(value >= 0, 1, -1)
    x, x2 = zero + sign * (ends - size), zero + sign * ends
    return table[["layer", "row", "source", "source_label"]].assign(
        panel=title, value=value, x=np.minimum(x, x2), x2=np.maximum(x, x2), y=table["layer"] + 0.08, y2=table["layer"] + 0.92
    )


def bars(table: pd.DataFrame, titles: Sequence[str], form: str = ".1%", dark: bool = False) -> alt.LayerChart:
    """Two runs' numbers by name, and their difference, as bars of one scale; none of what is NaN. Columns: name, a, b,
    difference."""
    page, (up, down) = ink(dark), signs(dark)
    high = len(table)
    largest = float(table[["a", "b"]].abs().fillna(0).to_numpy().max()) or 1.0
    unit, room = _UNIT / largest, 2.4
    less, more = (float((sign * table["difference"]).fillna(0).clip(lower=0).max()) * unit for sign in (-1, 1))
    zeros = [0.0, _UNIT + room + _GAP, 2 * (_UNIT + room + _GAP) + less + room]
    parts = []
    for panel, zero, title in zip(PANELS, zeros, titles, strict=True):
        value = table[panel].astype(float)
        signed = form if panel != "difference" or form.startswith("+") else f"+{form}"
        parts.append(pd.DataFrame({
            "name": table["name"], "panel": title, "value": value, "order": high - 1 - np.arange(high),
            "x": np.minimum(zero, zero + value * unit), "x2": np.maximum(zero, zero + value * unit),
            "colour": page.accent if panel != "difference" else np.where(value >= 0, up, down),
            "said": [_signed(v, signed) for v in value], "left": (value < 0) & (panel == "difference"),
        }))  # fmt: skip
    drawn = pd.concat(parts, ignore_index=True)
    drawn = drawn.assign(y=drawn["order"] + 0.2, y2=drawn["order"] + 0.8, middle=drawn["order"] + 0.5)
    rows, drawn = drawn.drop_duplicates("order"), drawn.dropna(subset="value")
    y_axis = alt.Axis(
        title=None, grid=False, ticks=False, domain=False, labelOverlap=False, labelColor=page.text, labelLimit=200,
        labelPadding=6, values=rows["middle"].tolist(), labelExpr=by_value(rows["middle"].tolist(), rows["name"].tolist()),
    )  # fmt: skip
    x_of = alt.X("x:Q", scale=alt.Scale(domain=[0, zeros[2] + more + room], nice=False, zero=False), axis=None)
    y_of = alt.Y("y:Q", scale=alt.Scale(domain=[0, high + 1], nice=False, zero=False), axis=y_axis)
    tips = [alt.Tooltip("name:N"), alt.Tooltip("panel:N", title="run"), alt.Tooltip("said:N", title="value")]
    marks = alt.Chart(drawn, name="bars").mark_rect().encode(
        x=x_of, x2=alt.X2("x2:Q"), y=y_of, y2=alt.Y2("y2:Q"), color=alt.Color("colour:N", scale=None), tooltip=tips
    )  # fmt: skip
    layers = [marks]
    for align, at, some in (("left", "x2", ~drawn["left"]), ("right", "x", drawn["left"])):
        beside = drawn[some].assign(x=drawn[at], y=drawn["middle"])
        style: dict[str, Any] = {"align": align, "dx": 4 if align == "left" else -4, "fontSize": 11, "color": page.text}
        text = alt.Chart(beside, name=f"numbers_{align}").mark_text(**style)
        layers.append(text.encode(x=x_of, y=y_of, text=alt.Text("said:N"), tooltip=tips))
    heads = pd.DataFrame({"x": [zeros[0], zeros[1], zeros[2] - less], "y": high + 0.45, "text": list(titles)})
    title = alt.Chart(heads, name="titles").mark_text(align="left", fontSize=12, fontWeight="bold", color=page.text)
    layers.append(title.encode(x=x_of, y=y_of, text=alt.Text("text:N")))
    return layered(*layers, height=26 * (high + 1) + 16, width="container")


def _signed(value: float, form: str) -> str:
    """A number as Vega writes it."""
    return f"{value:{form}}".replace("-", "−")


def _label(panel: str, label: Any) -> str:
    """A column's name in a panel: each run has its own token there, the difference both."""
    if panel == "difference":
        return str(label.a) if label.a == label.b else f"{label.a} | {label.b}"
    return str(getattr(label, panel))


def _axis(page: Ink, places: Sequence[float], names: Sequence[str], marked: Sequence[float]) -> alt.Axis:
    """Names of columns; those that differ between the runs stand out."""
    colour: Any = {"condition": {"test": f"indexof({list(marked)}, datum.value) >= 0", "value": page.final}, "value": page.text}
    weight: Any = {"condition": {"test": f"indexof({list(marked)}, datum.value) >= 0", "value": "bold"}, "value": "normal"}
    return alt.Axis(
        title=None, grid=False, ticks=False, domain=False, labelOverlap=False, labelAngle=-55, labelLimit=110, labelFontSize=10,
        values=list(places), labelExpr=by_value(list(places), list(names)), labelColor=colour, labelFontWeight=weight,
    )  # fmt: skip
