"""Texts that would like to be more than text, and where on a page they stand as they were given."""

import json
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

MARK = "zqx"
HTML = f"<b class={MARK}>{MARK}</b><img src=x onerror=broken=1><script>globalThis.broken=1</script>"
MARKDOWN = f"**{MARK}** [{MARK}](javascript:broken=1) ![{MARK}](//127.0.0.1:9/{MARK}) `{MARK}` $x^{MARK}$ # {MARK}"
DIRECTIVES = f":red[{MARK}] :material/home: :smile: :streamlit: :green-badge[{MARK}]"
FORMULA = f"=1+1 @{MARK} -2+3"
EXPRESSION = f"' + datum.{MARK} + ' {{{{{MARK}}}}} ${{{MARK}}} \"]); broken=1;//"
PROMPT = f"{FORMULA} {HTML} {MARKDOWN}\n{DIRECTIVES} {EXPRESSION}"
SHORT = f":red[{MARK}]<b>{MARK}</b>**{MARK}**$ {MARK}"
"""for what may not be long: a title, a name"""
QUOTES = "'\"\\]"
"""what would end a text in a chart's code"""

_SIGNS = re.compile(
    rf"(?<!\\)(?:<b>|<b class=|<script|<img|\*\*{MARK}|:red\[{MARK}|\[{MARK}\]\(|`{MARK}`|\$x\^{MARK}|:material/home|:smile:)"
)
"""what is left of them where they were not written as text"""


def raw(text: str) -> bool:
    """Whether a text has any of it as it was given."""
    return bool(_SIGNS.search(text))


def texts(message: Message, above: str = "") -> Iterator[tuple[str, str]]:
    """Every text of what is sent to the browser, by its place."""
    for field, value in message.ListFields():
        place = f"{above}.{field.name}" if above else field.name
        for one in value if field.is_repeated else (value,):
            if field.type == FieldDescriptor.TYPE_STRING:
                yield place, one
            elif isinstance(one, Message):
                yield from texts(one, place)


def elements(app: AppTest) -> Iterator[tuple[str, Message]]:
    """All that is drawn, by its kind: elements, and what holds them."""

    def below(node: Any) -> Iterator[tuple[str, Message]]:
        proto = getattr(node, "proto", None)
        if isinstance(proto, Message):
            yield type(proto).__name__, proto
        for child in getattr(node, "children", {}).values():
            yield from below(child)

    yield from below(app._tree)


def unescaped(app: AppTest) -> set[str]:
    """The places on a page where a hostile text stands as it was given."""
    return {f"{kind}.{place}" for kind, proto in elements(app) for place, text in texts(proto) if raw(text)}


_CODE = ("expr", "test", "calculate", "filter", "signal", "labelExpr")


def expressions(spec: Any, inside: bool = False) -> Iterator[str]:
    """What a chart computes."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key not in ("datasets", "values"):
                yield from expressions(value, key in _CODE)
    elif isinstance(spec, list):
        for value in spec:
            yield from expressions(value, inside)
    elif inside and isinstance(spec, str):
        yield spec


def in_expressions(app: AppTest) -> list[str]:
    """Expressions of charts with a hostile text in them that is not data in quotes."""
    found = []
    for chart in app.get("vega_lite_chart"):
        for one in expressions(json.loads(chart.proto.spec)):
            if MARK in without_strings(one):
                found.append(one)
    return found


def without_strings(code: str) -> str:
    """Code without what stands in quotes."""
    out, quote, skip = [], "", False
    for sign in code:
        if skip:
            skip = False
        elif quote:
            skip, quote = sign == "\\", "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        else:
            out.append(sign)
    return "".join(out)
