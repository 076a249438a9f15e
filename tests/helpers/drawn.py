"""What Vega draws of a chart: its marks with their places in pixels, and what its axes say."""

from dataclasses import dataclass
from typing import Any

import altair as alt
import vl_convert


@dataclass(frozen=True)
class Mark:
    """The items of one layer, with Vega's own keys: x, y, width, height, fill, text."""

    kind: str
    """rect, text, symbol, line or rule"""
    name: str
    items: list[dict[str, Any]]


@dataclass(frozen=True)
class Drawing:
    """A chart as it is drawn. Pixels count from the top left of the plot."""

    width: float
    height: float
    marks: list[Mark]
    axes: dict[str, list[tuple[float, str]]]
    """by side (left, right, top, bottom): where each label stands along the axis, and what it says"""

    def of(self, kind: str, name: str = "") -> list[dict[str, Any]]:
        """Items of all layers of a kind, or of the one whose name begins so."""
        return [item for mark in self.marks if mark.kind == kind and mark.name.startswith(name) for item in mark.items]


def drawing(chart: alt.TopLevelMixin, width: int = 400, **chosen: dict[str, Any]) -> Drawing:
    """The chart in a plot of `width` pixels; `chosen` are fields and values that a reader has clicked, by selection."""
    spec = chart.to_dict()
    if spec.get("width") == "container":
        spec["width"] = width
    vega = vl_convert.vegalite_to_vega(spec)
    for data in vega["data"]:
        picked = chosen.get(data["name"].removesuffix("_store"))
        if picked:
            fields = [{"type": "E", "field": field} for field in picked]
            data["values"] = [{"unit": "", "fields": fields, "values": list(picked.values())}]
    scene = vl_convert.vega_to_scenegraph(vega)["scenegraph"]
    marks: list[Mark] = []
    axes: dict[str, list[tuple[float, str]]] = {}
    plot: dict[str, Any] = {}

    def visit(node: dict[str, Any], side: str = "") -> None:
        role = node.get("role")
        if role == "axis-label":
            along = "x" if side in ("top", "bottom") else "y"
            axes.setdefault(side, []).extend((i[along], i["text"]) for i in node["items"] if i.get("opacity", 1) > 0)
        elif role == "mark" and node["marktype"] != "group":
            marks.append(Mark(node["marktype"], node.get("name", ""), node["items"]))
        else:
            for item in node.get("items", []):
                if role == "frame" and not plot:
                    plot.update(item)
                if role != "legend":
                    visit(item, item.get("orient", side) if role == "axis" else side)

    visit(scene)
    return Drawing(plot["width"], plot["height"], marks, axes)
