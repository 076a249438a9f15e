"""The routes under /api: requests of the package over HTTP, each answered in JSON or with an error in words."""

import hmac
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as Received
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infoflow import __version__
from infoflow.analyses.request import Report, Request
from infoflow.errors import BadPrompt, InfoflowError
from infoflow.files import strict
from infoflow.server import answers, asking, events, limits
from infoflow.server.openapi import document
from infoflow.server.origins import check as check_origin
from infoflow.server.problems import SAID, Problem, answered, problem_of
from infoflow.server.running import Run, finished
from infoflow.server.service import METHODS, Service
from infoflow.settings import settings
from infoflow.text.examples import PRESETS
from infoflow.turns import as_visitor

KEY = "X-NDIF-Key"
"""the header in which a client's key for the hosted service comes: never in a body or an address, which are kept and logged"""
HEALTH = "/health"
"""what needs no token"""
Handler = Callable[[Received], Awaitable[Response]]
Work = Callable[[Report], bytes]
_log = logging.getLogger(__name__)
Asks = Callable[["Asking", bytes], Work]
_writing = threading.Lock()
_LOOK = 0.1
"""seconds"""
WISHES = {"GET": ("prompt", "model"), "POST": ("format", "dark", "events")}
"""what an address may say beside its path, by how it is asked"""


def programs(service: Service, more: Sequence[Route] = ()) -> Starlette:
    """All that stands under /api; `more` is what others put there, each with a check of its own."""

    def asks(method: str, **by_verb: Asks) -> Route:
        async def handler(received: Received) -> Response:
            return await _answer(Asking(service, received), by_verb["GET" if received.method == "HEAD" else received.method])

        return Route(f"/{method}", handler, methods=list(by_verb))

    found = [
        Route(HEALTH, _gives(lambda: {"alive": True, "version": __version__})),
        Route("/models", _gives(service.models)),
        Route("/presets", _gives(lambda: [vars(preset) for preset in PRESETS])),
        Route("/openapi.json", _gives(lambda: document(service.base))),
        asks("flow", GET=_norms, POST=partial(_one, "flow")),
        *(asks(method, POST=partial(_one, method)) for method in METHODS if method != "flow"),
        asks("compare", POST=_two),
    ]
    gate = Middleware(_Gate, open_paths=frozenset((HEALTH, *(route.path for route in more))), alone=service.alone)
    return Starlette(routes=[*more, *found], middleware=[Middleware(_Cors), gate], exception_handlers={HTTPException: answered})


class _Cors:
    """From which pages of other hosts a browser lets ask: none, unless some are named."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._of = lru_cache(maxsize=1)(self._letting)

    def _letting(self, origins: tuple[str, ...]) -> ASGIApp:
        headers = ["Authorization", "Content-Type", KEY]
        return CORSMiddleware(self._app, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            origins = settings().asked_from
        except InfoflowError:  # the answer will say so
            origins = ()
        await (self._of(origins) if origins else self._app)(scope, receive, send)


class _Gate:
    """Who may come in; and whatever goes wrong behind it, told in words."""

    def __init__(self, app: ASGIApp, open_paths: frozenset[str], alone: Callable[[], bool]) -> None:
        self._app, self._open, self._alone = app, open_paths, alone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sends(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            if scope["type"] == "http":
                self._check(Received(scope))
            await self._app(scope, receive, sends)
        except Exception as error:
            if begun:
                raise
            await problem_of(error).response()(scope, receive, send)

    def _check(self, received: Received) -> None:
        try:
            now = settings()
        except InfoflowError as error:  # of whoever runs the app, and not of who asks
            _log.error("Nothing can be asked before this is mended: %s", error)
            raise Problem(500, "The app's settings are wrong. Whoever runs it finds in its log which.") from None
        if not now.api:
            raise Problem(404, "This app serves no programs: whoever runs it has switched that off (INFOFLOW_API).")
        check_origin(received.headers, now.asked_from, self._alone())
        token = now.api_token.get_secret_value().encode()
        if not token or received.scope["path"].removeprefix(received.scope.get("root_path", "")) in self._open:
            return
        kind, _, given = received.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1", "replace"), token):
            raise Problem(401, SAID[401], headers={"WWW-Authenticate": "Bearer"})


def _gives(values: Callable[[], Any]) -> Handler:
    async def handler(received: Received) -> Response:
        found = await run_in_threadpool(values)
        return Response(strict.as_json(found), media_type=asking.JSON, headers={"Cache-Control": "no-store"})

    return handler


@dataclass(frozen=True)
class Asking:
    """Who asks for what, and how it shall be answered."""

    service: Service
    received: Received

    @property
    def kind(self) -> str:
        """The format of the answer."""
        return answers.check_format(self.received.query_params.get("format", "json"))

    @property
    def events(self) -> bool:
        """Whether the run is told of as it goes."""
        return self._flag("events") or events.MEDIA in self.received.headers.get("accept", "")

    @property
    def dark(self) -> bool:
        return self._flag("dark")

    def _flag(self, name: str) -> bool:
        given = self.received.query_params.get(name, "0")
        if given not in ("0", "1"):
            raise BadPrompt(f"'{name}' is '{given[:40]}'; it must be 1 or 0.")
        return given == "1"

    def result(self, request: Request[Any], say: Report) -> Any:
        """What comes of a request for this client."""
        with self._visitor():
            return self.service.perform(request, self.received.headers.get(KEY, ""), say).result

    def _visitor(self) -> AbstractContextManager[None]:
        return as_visitor(f"http:{self.received.client.host if self.received.client else ''}")

    def written(self, result: Any, say: Report) -> bytes:
        """A result as it is sent. One is written at a time: it takes many times what it is as numbers. What is drawn counts as a
        run, also of a result that was kept."""
        limits.check_answer(result)
        if self.kind != "json":
            with self._visitor():
                self.service.count(1)
        while not _writing.acquire(timeout=_LOOK):
            say("Waiting for another answer to be written …", 1.0)
        try:
            return answers.answer(result, self.kind, self.dark)
        finally:
            _writing.release()


async def _answer(asked: Asking, of: Asks) -> Response:
    """What a client is sent: the body is checked before anything runs, and the run is told of if that is wanted."""
    received = asked.received
    _check_wishes(received)
    body = await asking.read(received.headers, received.stream()) if received.method == "POST" else b""
    kind, told = asked.kind, asked.events
    if told and kind != "json":
        raise BadPrompt("Events end with a result in JSON. Leave out 'format', or ask without events.")
    work = await run_in_threadpool(of, asked, body)
    if told:
        return events.Events(lambda: Run(work))
    found = await finished(Run(work), received.receive)
    return Response(found, headers={"Cache-Control": "no-store", "Content-Type": answers.MEDIA[kind]})


def _check_wishes(received: Received) -> None:
    """Refuse what would be passed over in silence.

    Raises:
        BadPrompt: a name that the address can't have, or has twice.
    """
    known = WISHES["POST" if received.method == "POST" else "GET"]
    given = [name for name, _ in received.query_params.multi_items()]
    for number, name in enumerate(given):
        if name not in known:
            raise BadPrompt(
                f"The address says '{name[:40]}', which is none of: {', '.join(known)}. Other fields go into a POST's body."
            )
        if name in given[:number]:
            raise BadPrompt(f"The address says '{name}' twice. Say it once.")


def _one(method: str, asked: Asking, body: bytes) -> Work:
    request = asking.asked(method, asking.values_of(body))
    return lambda say: asked.written(asked.result(request, say), say)


def _two(asked: Asking, body: bytes) -> Work:
    pair = asking.pair_of(asking.values_of(body))

    def work(say: Report) -> bytes:
        from infoflow.studies.compare import compare

        first = asked.result(pair.a, say)
        return asked.written(compare(first, asked.result(pair.second(first), say), pair.quantity, align=pair.align), say)

    return work


def _norms(asked: Asking, body: bytes) -> Work:
    given = asked.received.query_params
    if "prompt" not in given:
        raise BadPrompt("No prompt was given: /api/flow?prompt=The+capital+of+France+is.")
    spec = {"name": given["model"]} if "model" in given else {}
    request = asking.asked("flow", {"prompt": given["prompt"], "model": spec})
    return lambda say: answers.first_shape(asked.result(request, say))
