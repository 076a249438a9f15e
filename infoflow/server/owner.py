"""Who owns the app: who knows INFOFLOW_OWNER_TOKEN; where none is set and the app listens to this machine alone, its reader."""

import hmac
import threading
import time
from collections import deque
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from infoflow.errors import Busy, NotAllowed
from infoflow.server.problems import when_again
from infoflow.settings import settings
from infoflow.text.amounts import duration

WRONG = 20
"""tokens that may be wrong in a minute, of all who try: then no short one opens"""
LONG = 20
"""characters of a token that nobody guesses: it opens whatever others try, who would lock its owner out else"""
MINUTE = 60.0
UNSET = """Others can reach this app, and it has no owner's token: there is nothing to see here. Whoever runs it can set
INFOFLOW_OWNER_TOKEN to a long random text and start it again."""


class Door:
    """Lets the owner in."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._lock = now, threading.Lock()
        self._wrong: deque[float] = deque()

    def opens(self, given: str, alone: bool) -> bool:
        """Whether a token opens it; `alone`: the app listens to this machine alone.

        Raises:
            NotAllowed: others reach the app, and no token is set. Busy: too many wrong ones came.
        """
        token = settings().owner_token.get_secret_value()
        if not token:
            if alone:
                return True
            raise NotAllowed(UNSET.replace("\n", " "))
        if not given:
            return False
        with self._lock:
            now = self._now()
            while self._wrong and self._wrong[0] <= now - MINUTE:
                self._wrong.popleft()
            right = hmac.compare_digest(given.encode(), token.encode())
            if len(self._wrong) >= WRONG and not (right and len(token) >= LONG):
                soon = self._wrong[0] + MINUTE - now
                raise Busy(f"{WRONG} wrong tokens were given in a minute. Try again in {duration(soon)}.", soon)
            if right:
                return True
            self._wrong.append(now)
            return False


def refusal(received: Request, let_in: Callable[[str], bool]) -> Response | None:
    """What is answered to whoever shows no owner's token; None for the owner. `let_in(token)` says whether that of a header, ''
    for none, is the owner's; it raises Busy where too many wrong ones came, and NotAllowed where there is nobody to let in."""
    kind, _, given = received.headers.get("authorization", "").partition(" ")
    try:
        if let_in(given.strip() if kind.lower() == "bearer" else ""):
            return None
        wanted = {"WWW-Authenticate": "Bearer"}
        return PlainTextResponse("The owner's token is needed: Authorization: Bearer TOKEN.\n", 401, wanted)
    except NotAllowed as error:
        return PlainTextResponse(f"{error}\n", 404)
    except Busy as error:
        return PlainTextResponse(f"{error}\n", 429, when_again(error))


class Behind:
    """Puts a path of somebody else's behind the door."""

    def __init__(self, app: ASGIApp, path: str, let_in: Callable[[str], bool]) -> None:
        self._app, self._path, self._let_in = app, path, let_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["path"].rstrip("/") == self._path
        no = await run_in_threadpool(refusal, Request(scope), self._let_in) if asked else None
        await (no or self._app)(scope, receive, send)
