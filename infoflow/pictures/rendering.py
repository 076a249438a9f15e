"""A chart as PNG, SVG, PDF, one-file HTML or Vega-Lite, and as what a notebook shows. Everything works offline."""

import base64
import contextlib
import html
import json
import math
import re
from dataclasses import replace
from typing import Any

import altair as alt
import pandas as pd

from infoflow.analyses.provenance import UNSUPPORTED
from infoflow.charts.palette import ink
from infoflow.errors import InfoflowError
from infoflow.pictures import fitting
from infoflow.pictures.converter import CONVERTER
from infoflow.pictures.picture import background, picture_of

VEGALITE = f"application/vnd.vegalite.{alt.SCHEMA_VERSION.split('.')[0]}+json"
"""what notebooks call a chart of Altair's"""


def chart_png(chart: alt.TopLevelMixin, background: str, scale: float = 2.0) -> bytes:
    """The chart as a picture, for a page of `background`."""
    return _converted(chart, background, "png", scale=scale)


def chart_svg(chart: alt.TopLevelMixin, background: str) -> bytes:
    """The same as lines and text; what glyphs a viewer may lack are in it."""
    return _converted(chart, background, "svg")


def chart_pdf(chart: alt.TopLevelMixin, background: str) -> bytes:
    """The same for a paper."""
    return _converted(chart, background, "pdf")


def chart_html(chart: alt.TopLevelMixin, background: str, title: str = "infoflow") -> bytes:
    """One file that opens offline, with the library in it and the chart still interactive.

    The converter writes token texts into a script as they are, where `</script>` would end it: every `<` of the chart
    travels as a private character and arrives as its JavaScript escape.
    """
    given = _as_text(_sized(chart, background)).decode().replace("<", _STAND_IN).encode()
    page = CONVERTER.convert("html", given).decode().replace(_STAND_IN, "\\u003c")
    named = f"<title>{html.escape(title)}</title>"
    return re.sub(r"<title>[^<]*</title>|(?=</head>)", lambda _: named, page, count=1).encode()


def chart_vegalite(chart: alt.TopLevelMixin, background: str) -> bytes:
    """The chart as Vega-Lite draws it, its tables inside: for the Vega editor, and every program that reads Vega-Lite."""
    return _as_text(_sized(chart, background))


def chart_fitted(chart: alt.TopLevelMixin, background: str, width: int) -> bytes:
    """The chart as SVG, with its axes, legends and texts no wider than `width` pixels."""
    spec = _sized(chart, background, width)
    svg = CONVERTER.convert("svg", _as_text(spec))
    return CONVERTER.convert("svg", _as_text(spec)) if fitting.widened(spec, svg.decode()) else svg


def svg_converted(svg: bytes, kind: str, scale: float = 1.0, ppi: float = 72.0) -> bytes:
    """An SVG as PDF, or as PNG of so many pixels an inch.

    Raises:
        InfoflowError: it could not be drawn.
    """
    return CONVERTER.convert("svg_as_pdf", svg) if kind == "pdf" else CONVERTER.convert("svg_as_png", svg, scale=scale, ppi=ppi)


def library() -> bytes:
    """Vega, Vega-Lite and Vega Embed in one script, which defines `vegaEmbed`: for pages with several charts."""
    return CONVERTER.convert("library", b"")


def embedded(chart: alt.TopLevelMixin) -> tuple[dict[str, Any], int]:
    """The chart for a page that has a place for it: Vega-Lite that is as wide as the place, and how many pixels it needs."""
    spec: dict[str, Any] = inlined(chart).to_dict(validate=False)  # tests hold that charts pass
    wide = _needs(spec) if spec.get("width") == "container" else 0
    plain: dict[str, Any] = json.loads(_as_text(spec))
    return plain, wide


_STAND_IN = "\ue0f0"


def _converted(chart: alt.TopLevelMixin, background: str, job: str, **how: float) -> bytes:
    return CONVERTER.convert(job, _as_text(_sized(chart, background)), **how)


def _as_text(spec: dict[str, Any]) -> bytes:
    return json.dumps(_plain(spec), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """JSON has no number that is none: null, which Vega takes for it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _sized(chart: alt.TopLevelMixin, background: str, width: int | None = None) -> dict[str, Any]:
    """Outside a page `width: container` has no meaning: give the chart the width its columns need, or all of it `width`."""
    spec: dict[str, Any] = inlined(chart).to_dict(validate=False)  # tests hold that charts pass
    if width is not None:
        spec["width"] = width
        fit = spec.get("config", {}).get("autosize", {}).get("type") == "fit"
        spec["autosize"] = {"type": "fit" if fit else "fit-x", "contains": "padding"}
    if spec.get("width") == "container":
        spec["width"] = _needs(spec)
    config = spec.setdefault("config", {})
    config["background"] = background
    if background == ink(True).paper:  # else title and note are black
        config["title"] = {"color": ink(True).text, "subtitleColor": ink(True).text, **config.get("title", {})}
    return spec


def _needs(spec: dict[str, Any]) -> int:
    """Pixels that the columns of a chart need."""
    x = spec.get("layer", [spec])[0].get("encoding", {}).get("x", {})
    domain = (x.get("scale") or {}).get("domain") or (0, 20)
    ends = len(domain) == 2 and not any(isinstance(end, str) for end in domain)  # of numbers; else there is one a column
    return max(560, int(46 * (domain[1] - domain[0] if ends else len(domain))))


def inlined(chart: Any) -> Any:
    """The same with its tables written into it. Altair would do that under a limit of 5,000 rows, which can be lifted for the
    whole process alone, where others draw at the same time."""
    out = chart.copy(deep=False)
    if isinstance(out.data, pd.DataFrame):
        out.data = {"values": alt.to_values(out.data)["values"]}  # no object of Altair's, which would check every value
    if isinstance(out, alt.LayerChart):
        out.layer = [inlined(part) for part in out.layer]
    return out


def in_notebook(result: Any) -> dict[str, Any]:
    """What a notebook shows of a result, by MIME type: the chart itself, and a PNG for viewers that draw none."""
    drawn = picture_of(result)
    refused = getattr(getattr(result, "provenance", None), "verdict", "") == UNSUPPORTED
    note = f"The self-test refused this model: do not rely on it. {drawn.note}" if refused else drawn.note
    chart = replace(drawn, note=note).with_words()
    shown: dict[str, Any] = {VEGALITE: inlined(chart).to_dict()}
    with contextlib.suppress(InfoflowError):  # the chart itself is there
        shown["image/png"] = base64.b64encode(chart_png(chart, background(), scale=1.0)).decode()
    return shown
