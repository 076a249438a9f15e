"""Errors in words for programs: application/problem+json (RFC 9457), with the sentence that a page would show.

413 is what asks for too much, in bytes, tokens or memory: all three are mended by asking for less. 499 is read by nobody: the
client has left.
"""

import logging
import traceback
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from infoflow.errors import (
    BadFile,
    BadLens,
    BadPrompt,
    Busy,
    Cancelled,
    InfoflowError,
    NotAllowed,
    RemoteRunError,
    TooLarge,
    UnsupportedModel,
)
from infoflow.files import strict

MEDIA = "application/problem+json"
LEFT = 499
"""nginx's number for a client that closed the connection; it has no name of its own"""
STATUS: dict[type[InfoflowError], int] = {
    BadPrompt: 422, BadLens: 422, BadFile: 422, UnsupportedModel: 422, TooLarge: 413, NotAllowed: 403, Busy: 429,
    RemoteRunError: 502, Cancelled: LEFT,
}  # fmt: skip
"""of each kind of error; another one that a reader can mend is 422"""
BUG = "This is a bug of the app, and its log says more. Whoever runs it can look there."
SAID = {
    401: "A token is needed: Authorization: Bearer TOKEN.",
    404: "There is nothing at this address. /api/openapi.json lists what there is.",
    405: "This address takes another method; the header Allow says which.",
}
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Problem(Exception):
    """Why there is no answer, as it is told."""

    status: int
    detail: str
    error: str = ""
    """what kind it is: that of the package's errors, as the command line tells it too"""
    more: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> bytes:
        """What is sent."""
        title = "Client Closed Request" if self.status == LEFT else HTTPStatus(self.status).phrase
        kind = {"error": self.error} if self.error else {}
        return strict.as_json(
            {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail, **kind, **self.more}
        )

    def response(self) -> Response:
        """The whole answer."""
        return Response(self.as_json(), self.status, {**self.headers, "Cache-Control": "no-store"}, MEDIA)


def when_again(error: Busy) -> dict[str, str]:
    """The header that says so: in whole seconds, and none too few."""
    return {"Retry-After": str(max(1, ceil(error.retry_after)))}


def problem_of(error: BaseException) -> Problem:
    """What is told of an error: its own sentence where a reader can mend it, else that it is a bug, and the log has it."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, InfoflowError):
        kind = next((k for k in type(error).__mro__ if k in STATUS), None)
        more = {"cause": error.kind} if isinstance(error, RemoteRunError) else {}
        headers = when_again(error) if isinstance(error, Busy) else {}
        return Problem(STATUS[kind] if kind else 422, str(error), type(error).__name__, more, headers)
    if isinstance(error, HTTPException):
        return Problem(error.status_code, SAID.get(error.status_code, error.detail), headers=dict(error.headers or {}))
    _log.error("A request over HTTP failed; this is a bug.\n%s", "".join(traceback.format_exception(error)))
    return Problem(500, BUG)


async def answered(request: Request, error: Exception) -> Response:
    """What Starlette calls for an error that nobody handled."""
    return problem_of(error).response()
