"""Room for texts at the ends of bars in a narrow picture: Vega finds it for axes and legends alone, and cuts these off."""

import html
import re
from typing import Any

_LETTER = 0.6
"""of its size, which a letter is wide"""
_MOST = 4.0
"""times as wide as it was, what is shown of the axis at most"""
_PLOT = re.compile(r'role-frame root".*?d="M0\.5,0\.5h([\d.]+)v')
_MARKS = re.compile(r'<g class="mark-text role-mark[^>]*>(.*?)</g>', re.S)
_TEXT = re.compile(
    r'<text [^>]*text-anchor="(start|end)" transform="translate\((-?[\d.]+),-?[\d.]+\)"[^>]*font-size="([\d.]+)px"[^>]*>([^<]*)<'
)


def widened(spec: dict[str, Any], svg: str) -> bool:
    """Show more of the x axis of a chart, drawn as `svg`, so that its texts stand in the picture; whether any stood out."""
    scales = [one["encoding"]["x"]["scale"] for one in spec.get("layer", [spec]) if _is_linear(one.get("encoding", {}))]
    plot = _PLOT.search(svg)
    if not scales or plot is None or any(scale["domain"] != scales[0]["domain"] for scale in scales):
        return False
    (low, high), wide = scales[0]["domain"], float(plot[1])
    texts = [
        (float(x) / wide, anchor, _LETTER * float(size) * len(html.unescape(text)) / wide)
        for anchor, x, size, text in _texts(svg)
    ]
    start, end = 0.0, 1.0
    for _ in range(50):  # what is added takes room from the rest
        over = max((_at(x, start, end) + long - 1 for x, anchor, long in texts if anchor == "start"), default=0.0)
        under = max((long - _at(x, start, end) for x, anchor, long in texts if anchor == "end"), default=0.0)
        if max(over, under) < 1e-3 or end - start > _MOST:
            break
        start, end = start - max(under, 0.0) * (end - start), end + max(over, 0.0) * (end - start)
    for scale in scales:
        scale["domain"] = [low + start * (high - low), low + end * (high - low)]
    return (start, end) != (0.0, 1.0)


def _texts(svg: str) -> list[tuple[str, str, str, str]]:
    return [found for marks in _MARKS.findall(svg) for found in _TEXT.findall(marks)]


def _at(x: float, start: float, end: float) -> float:
    return (x - start) / (end - start)


def _is_linear(encoding: dict[str, Any]) -> bool:
    """Whether the x axis is one of numbers between two ends that are said."""
    scale = encoding.get("x", {}).get("scale") or {}
    domain = scale.get("domain") or ()
    return scale.get("type", "linear") == "linear" and len(domain) == 2 and all(isinstance(end, int | float) for end in domain)
