"""Headers of everything that the server sends, pages too: what a browser may do with it.

Scripts come from the app itself, or are one of those few that are known here by their hash: a script that found its way into a
page by a prompt or a file would not run. Open are, for Streamlit's front end: styles (made as it runs), scripts of blobs
(components that are handed over as text), WebAssembly, and pictures and fonts of data.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infoflow.errors import InfoflowError
from infoflow.settings import settings

API = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""of what programs are answered: nothing in it is a page"""
ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # an address holds the prompt
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@lru_cache(maxsize=8)
def policy(scripts: tuple[str, ...], frames: tuple[str, ...]) -> str:
    """The content policy of pages: `scripts` are those that stand in a page itself, as text; `frames` the hosts, beside the app's
    own, whose pages may show the app in a frame."""
    known = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts)
    return "; ".join((
        "default-src 'self'", f"script-src 'self' 'wasm-unsafe-eval' blob: {known}", "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:", "font-src 'self' data:", "media-src 'self' data: blob:", "worker-src 'self' blob:",
        "connect-src 'self' data: blob:", "object-src 'none'", "base-uri 'self'", "form-action 'self'",
        " ".join(("frame-ancestors 'self'", *frames)),
    ))  # fmt: skip


class Headers:
    """Adds them to every answer that does not bring its own."""

    def __init__(self, app: ASGIApp, scripts: Sequence[str] = (), api: str = "/api/") -> None:
        self._app, self._scripts, self._api = app, tuple(scripts), api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            frames = settings().framed_by
        except InfoflowError:  # every page will say so
            frames = ()
        headers = _encoded(API if scope["path"].startswith(self._api) else policy(self._scripts, frames))

        async def sends(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in headers if name not in there]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await self._app(scope, receive, sends)


@lru_cache(maxsize=8)
def _encoded(content: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in {**ALWAYS, "content-security-policy": content}.items()]
