"""A request of a body: how large, how deep and of what type it may be, and which analysis; all else `from_dict` checks."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from infoflow.analyses.request import Request, from_dict
from infoflow.errors import BadPrompt, Cancelled
from infoflow.server.problems import Problem
from infoflow.server.service import COMPARED, METHODS

JSON = "application/json"
LARGEST = 1024 * 1024
"""bytes of a body: a direction of 8,192 numbers is a sixth of it"""
TOO_LONG = f"The body has more than {LARGEST:,} bytes. Ask for less at once."
DEEPEST = 32
"""levels of values in values: a request has fewer than ten"""


async def read(headers: Headers, chunks: AsyncIterator[bytes]) -> bytes:
    """The body, as far as it is one.

    Raises:
        Problem: no JSON by its type, or too large. Cancelled: the client has left.
    """
    kind, _, more = headers.get("content-type", "").partition(";")
    if kind.strip().lower() != JSON or "charset" in more.lower() and "utf-8" not in more.lower():
        raise Problem(415, f"The body must be JSON in UTF-8, and say so: Content-Type: {JSON}.", headers={"Accept-Post": JSON})
    length = headers.get("content-length", "")
    data = bytearray()
    if length.isdecimal() and int(length[:20]) > LARGEST:
        raise Problem(413, TOO_LONG)
    try:
        async for chunk in chunks:
            data += chunk
            if len(data) > LARGEST:
                raise Problem(413, TOO_LONG)
    except ClientDisconnect:
        raise Cancelled("The client has left.") from None
    return bytes(data)


def values_of(body: bytes) -> dict[str, Any]:
    """The body as plain values.

    Raises:
        Problem: no JSON object; BadPrompt: one that holds what no request does.
    """
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_no_number)
        _check(found)
    except UnicodeDecodeError:
        raise Problem(400, "The body is no text in UTF-8. Send JSON in UTF-8.") from None
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"The body is no JSON ({str(error)[:200]}). Send one JSON object.") from None
    if not isinstance(found, dict):
        raise BadPrompt('The body is no JSON object. Send the fields of the request: {"prompt": ...}.')
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _check(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [item for one in level for item in (_below(one) if isinstance(one, dict | list) else ())]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {DEEPEST} levels")


def _below(value: dict[str, Any] | list[Any]) -> list[Any]:
    """What is in it; of an object, names too."""
    found = [*value, *value.values()] if isinstance(value, dict) else value
    for one in found:
        if isinstance(one, str):
            try:
                one.encode()
            except UnicodeEncodeError:
                raise ValueError("it holds half a character") from None
        elif isinstance(one, float) and one in (float("inf"), float("-inf")):
            raise ValueError("it holds a number that is too large")
    return found


def asked(method: str, values: dict[str, Any]) -> Request[Any]:
    """The request that a method's body is.

    Raises:
        BadPrompt: none, or one with a field that is wrong.
    """
    if "analysis" in values:
        raise BadPrompt("The address says which analysis it is. Leave out 'analysis'.")
    return from_dict({**values, "analysis": METHODS[method]})


@dataclass(frozen=True)
class Pair:
    """Two requests of one analysis, and how their results are compared."""

    a: Request[Any]
    b: Request[Any]
    quantity: str = ""
    align: str = "none"

    def second(self, first: Any) -> Request[Any]:
        """What is asked after the first gave its result: of `locate`, the same logit of both."""
        if self.b.analysis != "location" or getattr(self.b, "target", None) is not None:
            return self.b
        return replace(self.b, target=first.target, against=first.against)  # type: ignore[call-arg]


def pair_of(values: dict[str, Any]) -> Pair:
    """The comparison that a body asks for: {"analysis": "flow", "a": request, "b": request, "quantity": ..., "align": ...}.

    Raises:
        BadPrompt: it asks for none.
    """
    unknown = values.keys() - {"analysis", "a", "b", "quantity", "align"}
    if unknown:
        raise BadPrompt(f"A comparison has no field '{min(unknown)[:40]}'. It has analysis, a, b, quantity and align.")
    method, quantity, align = values.get("analysis", "flow"), values.get("quantity", ""), values.get("align", "none")
    if not isinstance(method, str) or method not in COMPARED:
        raise BadPrompt(f"There is no {json.dumps(method)[:40]} to compare. Use one of: {', '.join(COMPARED)}.")
    if align not in ("none", "start", "end") or not isinstance(quantity, str):
        raise BadPrompt("'align' is none, start or end, and 'quantity' is a text.")
    a, b = values.get("a"), values.get("b")
    if not isinstance(a, dict) or not isinstance(b, dict):
        raise BadPrompt("A comparison is of two requests: 'a' and 'b', each with the fields of the analysis.")
    return Pair(asked(method, a), asked(method, b), quantity, str(align))
