"""The routes for programs in this process, without the app's pages."""

import asyncio
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

import infoflow
from infoflow.analyses.perform import Performed, perform
from infoflow.analyses.request import Report, Request
from infoflow.server.http import programs
from infoflow.server.service import Service

Perform = Callable[[Request[Any], str, Report], Performed[Any]]


def on(model: "infoflow.Model") -> Perform:
    """Any request is run on this model."""
    return lambda request, key, say: perform(request, lambda spec, told: nullcontext(model), say)


def app_of(run: Perform) -> Starlette:
    """The routes, with runs made by `run`."""
    return Starlette(routes=[Mount("/api", app=programs(Service(perform=run, models=lambda: [{"name": "demo"}])))])


def client_of(run: Perform) -> TestClient:
    return TestClient(app_of(run))


def failing(error: BaseException) -> Perform:
    """Every run fails with this."""

    def run(request: Request[Any], key: str, say: Report) -> Performed[Any]:
        raise error

    return run


def events_of(text: str) -> list[tuple[str, Any]]:
    """What a stream of server-sent events says: name and data of each."""
    found = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            data = "\n".join(value for name, _, value in lines if name == "data")
            found.append((next(value for name, _, value in lines if name == "event"), json.loads(data)))
    return found


class Client:
    """One that speaks ASGI by hand, and leaves when it is told to."""

    def __init__(self, app: Starlette) -> None:
        self.app, self.sent = app, []
        self.leaves, self.heard = asyncio.Event(), asyncio.Event()

    async def post(self, path: str, body: dict[str, Any], query: str = "") -> None:
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "root_path": "", "headers": [(b"content-type", b"application/json")], "client": ("1.2.3.4", 5),
            "server": ("test", 80), "scheme": "http", "http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.3"},
        }  # fmt: skip
        told = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

        async def receive() -> Any:
            for message in told:
                return message
            await self.leaves.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.sent.append(message)
            if message.get("body"):
                self.heard.set()

        await self.app(scope, receive, send)
