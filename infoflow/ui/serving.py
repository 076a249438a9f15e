"""What the app's server serves beside its pages: the routes for programs, and the headers of everything that it sends.

It is imported before Streamlit's runtime is there, and before its secrets are in the environment: neither the app's caches nor
the settings are touched before something is asked, and nothing is imported here that a server would start later for.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypedDict

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from infoflow.models import memory
from infoflow.server import running
from infoflow.server.headers import Headers
from infoflow.server.owner import Behind
from infoflow.ui.streamlit_names import deaf_to_developers, few_uploads, inline_scripts


class Parts(TypedDict):
    """What `st.App` takes beside the script."""

    routes: list[BaseRoute]
    middleware: list[Middleware]
    lifespan: Any


def parts() -> Parts:
    """What the app's server is made of beside Streamlit's own."""
    deaf_to_developers()
    few_uploads(_for_others)
    memory.seldom_looked_through()  # Streamlit looks after every run of a page
    memory.few_arenas()  # many visitors are many threads
    base = "/".join(["", *str(st.get_option("server.baseUrlPath") or "").strip("/").split("/")]).rstrip("/")
    headers = Middleware(Headers, scripts=inline_scripts(), api=f"{base}/api/")
    # Streamlit tells anybody how many pages are open and what its caches hold
    figures = Middleware(Behind, path=f"{base}/_stcore/metrics", let_in=_owner)
    return {"routes": [Mount(f"{base}/api", app=_Programs(base))], "middleware": [headers, figures], "lifespan": _until_stopped}


def _for_others() -> bool:
    from infoflow.ui import cache

    return not cache.for_this_machine_alone()


def _owner(token: str) -> bool:
    from infoflow.ui import cache

    return cache.owner(token)


class _Programs:
    """The routes for programs, made when the first of them asks."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._made: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._made is None:
            self._made = await run_in_threadpool(self._make)
        await self._made(scope, receive, send)

    def _make(self) -> ASGIApp:
        from infoflow.ui import programs

        return programs.served(self._base)


@contextlib.asynccontextmanager
async def _until_stopped(app: Any) -> AsyncIterator[None]:
    with running.stopped_by_signals():
        yield
