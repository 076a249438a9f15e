"""Attention: one map of weights, all heads by a number, all maps of a layer side by side, and arcs between tokens."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from infoflow.charts.drawing import FIT, alone, either, layered
from infoflow.charts.labels import by_value
from infoflow.charts.palette import ink, ramp, signs

_KINDS = {"previous token": "P", "duplicate token": "D", "induction": "I", "diffuse": "", "too few positions": ""}


def heatmap(table: pd.DataFrame, title: str, dark: bool = False) -> alt.Chart:
    """Weights from destination (rows, top to bottom) to source (columns). Columns: dest, src, dest_token, src_token, weight.

    Colour by the square root, so that small weights show. A click selects `cell`: its dest and src.
    """
    page = ink(dark)
    tokens = table.drop_duplicates("dest").sort_values("dest")
    names = by_value(tokens["dest"].tolist(), tokens["dest_token"].tolist())
    n = len(tokens)
    axis: dict[str, Any] = {
        "labelExpr": names,
        "ticks": False,
        "domain": False,
        "labelOverlap": n > 60,
        "labelLimit": 80,
        "labelColor": page.text,
    }
    largest = max(float(table["weight"].max()), 1e-12)
    band = alt.Scale(paddingInner=0.04 if n <= 40 else 0)
    return alone(
        alt.Chart(table)
        .add_params(alt.selection_point(name="cell", fields=["dest", "src"], empty=False))
        .mark_rect()
        .encode(
            x=alt.X("src:O", title=None, axis=alt.Axis(orient="top", labelAngle=-60, **axis), scale=band),
            y=alt.Y("dest:O", title=None, axis=alt.Axis(**axis), scale=band),
            color=alt.Color(
                "weight:Q",
                scale=alt.Scale(type="sqrt", domain=[0, largest], range=ramp(dark)),
                legend=alt.Legend(
                    title=None, orient="bottom", direction="horizontal", gradientLength=160, gradientThickness=8, tickCount=3,
                    labelColor=page.muted, format=".3~g",
                ),
            ),
            tooltip=[
                alt.Tooltip("dest_token:N", title="at"),
                alt.Tooltip("src_token:N", title="looks at"),
                alt.Tooltip("weight:Q", title=title, format=".3f"),
            ],
        ),
        height=min(760, max(120, 31 * n)) + 110, width="container", config=FIT,
    )  # fmt: skip


def overview(table: pd.DataFrame, title: str, chosen: tuple[int, int], dark: bool = False) -> alt.LayerChart:
    """Layers x heads by a number, with the letter of each head's kind. Columns: layer, head, value, kind, and scores."""
    page = ink(dark)
    marked = table.assign(letter=table["kind"].map(_KINDS), chosen=(table["layer"] == chosen[0]) & (table["head"] == chosen[1]))
    picked = alt.selection_point(name="head", fields=["layer", "head"], empty=False)
    largest = max(float(table["value"].max()), 1e-12)
    plain: dict[str, Any] = {"ticks": False, "domain": False, "labelColor": page.muted, "titleColor": page.muted, "labelAngle": 0}
    n_heads, n_layers = table["head"].nunique(), table["layer"].nunique()
    base = alt.Chart(marked).encode(
        x=alt.X("head:O", title="head", axis=alt.Axis(labelOverlap=n_heads > 32, **plain), scale=alt.Scale(paddingInner=0.06)),
        y=alt.Y(
            "layer:O", title="layer", sort="descending", axis=alt.Axis(labelOverlap=n_layers > 40, **plain),
            scale=alt.Scale(paddingInner=0.06),
        ),
        tooltip=[
            alt.Tooltip("layer:O"), alt.Tooltip("head:O"), alt.Tooltip("kind:N"),
            alt.Tooltip("value:Q", title=title, format=".3f"),
            *(alt.Tooltip(f"{kind}:Q", format=".2f") for kind in _KINDS if kind in table),
        ],
    )  # fmt: skip
    cells = base.mark_rect(cornerRadius=2).encode(
        color=alt.Color("value:Q", legend=None, scale=alt.Scale(domain=[0, largest], range=ramp(dark))),
        stroke=either(alt.StrokeValue, "datum.chosen", page.final, None),
        strokeWidth=alt.StrokeWidthValue(2.2),
    )
    letters = base.mark_text(fontSize=11).encode(
        text=alt.Text("letter:N"),
        color=either(alt.ColorValue, f"datum.value > {0.45 * largest}", ramp(dark)[0], page.text),
    )
    return layered(cells.add_params(picked), letters, height=min(560, 26 * n_layers) + 50, width="container", config=FIT)


def small_maps(maps: np.ndarray, names: list[str], columns: int, dark: bool = False) -> alt.LayerChart:
    """Maps side by side, each from its own largest weight: [map, dest, src] with a name each. Weights below a hundredth of it
    are left out."""
    columns = min(columns, len(maps))
    page = ink(dark)
    n = maps.shape[-1]
    dest, src = np.tril_indices(n)
    tables, titles = [], []
    step = n + max(1.5, n / 8)
    for i, (weights, name) in enumerate(zip(maps, names, strict=True)):
        x, y = (i % columns) * step, (i // columns) * (step + n / 6)
        share = np.sqrt(np.clip(weights[dest, src] / max(float(weights.max()), 1e-12), 0, 1))
        tables.append(
            pd.DataFrame({"x": x + src, "x2": x + src + 1, "y": y + dest, "y2": y + dest + 1, "share": share, "map": name})
        )
        titles.append((x, y - n / 24, name))
    drawn = pd.concat(tables, ignore_index=True)
    heading = pd.DataFrame(titles, columns=["x", "y", "map"])
    rows = -(-len(maps) // columns)
    xs = alt.Scale(domain=[0, columns * step], nice=False)
    ys = alt.Scale(domain=[-n / 6, rows * (step + n / 6)], nice=False, reverse=True)
    cells = (
        alt.Chart(drawn[drawn["share"] >= 0.1])
        .mark_rect()
        .encode(
            x=alt.X("x:Q", scale=xs, axis=None), x2=alt.X2("x2:Q"), y=alt.Y("y:Q", scale=ys, axis=None), y2=alt.Y2("y2:Q"),
            color=alt.Color("share:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=ramp(dark))),
            tooltip=[alt.Tooltip("map:N")],
        )
    )  # fmt: skip
    text = (
        alt.Chart(heading)
        .mark_text(align="left", baseline="bottom", fontSize=11, color=page.muted)
        .encode(x=alt.X("x:Q", scale=xs), y=alt.Y("y:Q", scale=ys), text=alt.Text("map:N"))
    )
    return layered(cells, text, height=min(900, int(rows * 960 / columns * 1.15)), width="container")


def arcs(table: pd.DataFrame, tokens: list[str], colours: list[str] | None, least: float, dark: bool = False) -> alt.LayerChart:
    """Weights between tokens as arcs above the prompt, those of `least` or more by size, the thickest the largest; in the colours
    of their sources, or by their sign where there are none. Columns: dest, src, dest_token, src_token, weight."""
    page = ink(dark)
    shown = table[(table["weight"].abs() >= least) & (table["dest"] != table["src"])]
    largest = max(0.0 if table.empty else float(table["weight"].abs().max()), 1e-12)
    turn = np.linspace(0, np.pi, 24)
    drawn = [
        pd.DataFrame({
            "edge": i, "x": (e.src + e.dest) / 2 - (e.dest - e.src) / 2 * np.cos(turn), "y": (e.dest - e.src) / 2 * np.sin(turn),
            "order": range(len(turn)), "src": e.src, "weight": e.weight, "size": abs(e.weight),
            "from": e.src_token, "to": e.dest_token,
        }) for i, e in enumerate(shown.itertuples())
    ]  # fmt: skip
    n = len(tokens)
    empty = pd.DataFrame({c: [] for c in ("edge", "x", "y", "order", "src", "weight", "size", "from", "to")})
    lines_of = pd.concat(drawn, ignore_index=True) if drawn else empty
    highest = float(lines_of["y"].max()) if drawn else 1.0
    xs = alt.X("x:Q", scale=alt.Scale(domain=[-0.6, n - 0.4], nice=False), axis=None)
    ys = alt.Scale(domain=[-highest * 0.32, highest * 1.03], nice=False)
    by_source = alt.Color("src:O", legend=None, scale=alt.Scale(domain=list(range(n)), range=colours or [page.muted] * n))
    colour = by_source if colours else either(alt.ColorValue, "datum.weight >= 0", *signs(dark))
    lines = (
        alt.Chart(lines_of)
        .mark_line(opacity=0.75)
        .encode(
            x=xs, y=alt.Y("y:Q", scale=ys, axis=None), detail=alt.Detail("edge:N"), order=alt.Order("order:Q"), color=colour,
            strokeWidth=alt.StrokeWidth("size:Q", legend=None, scale=alt.Scale(domain=[0, largest], range=[0.4, 9])),
            tooltip=[alt.Tooltip("from:N"), alt.Tooltip("to:N"), alt.Tooltip("weight:Q", format=".3f" if colours else "+.3f")],
        )
    )  # fmt: skip
    words = pd.DataFrame({"x": range(n), "src": range(n), "text": tokens, "y": -highest * 0.03})
    base = alt.Chart(words).encode(x=xs, y=alt.Y("y:Q", scale=ys))
    marks = base.mark_circle(size=46, opacity=1).encode(color=by_source)
    text = base.mark_text(angle=300, align="right", baseline="middle", dx=-5, dy=6, fontSize=11, color=page.text).encode(
        text=alt.Text("text:N")
    )
    return layered(lines, marks, text, height=340, width="container")
