"""What the app's server serves beside its pages: the routes for programs, and the headers of everything that it sends.

It is imported before Streamlit's runtime is there, and before its secrets are in the environment: neither the app's caches nor
the settings are touched before something is asked.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, TypedDict

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Report, Request
from infoflow.errors import NotAllowed
from infoflow.models.catalog import MODELS
from infoflow.server import metrics, running
from infoflow.server.headers import Headers
from infoflow.server.http import routes
from infoflow.server.service import Service
from infoflow.settings import settings
from infoflow.ui.streamlit_names import deaf_to_developers, inline_scripts


class Parts(TypedDict):
    """What `st.App` takes beside the script."""

    routes: list[BaseRoute]
    middleware: list[Middleware]
    lifespan: Any


def parts() -> Parts:
    """What the app's server is made of beside Streamlit's own; nothing heavy is imported for it."""
    deaf_to_developers()
    base = "/".join(["", *str(st.get_option("server.baseUrlPath") or "").strip("/").split("/")]).rstrip("/")
    service = Service(perform=perform, models=models, alone=_alone, base=base)
    headers = Middleware(Headers, scripts=inline_scripts(), api=f"{base}/api/")
    served = routes(service, [metrics.route(_figures, _owner)])
    return {"routes": served, "middleware": [headers], "lifespan": _until_stopped}


@contextlib.asynccontextmanager
async def _until_stopped(app: Any) -> AsyncIterator[None]:
    with running.stopped_by_signals():
        yield


def _figures() -> bytes:
    from infoflow.ui import owner

    return owner.figures()


def _owner(token: str) -> bool:
    from infoflow.ui import cache

    return cache.owner(token)


def _alone() -> bool:
    from infoflow.ui import cache

    return cache.for_this_machine_alone()


def perform(request: Request[Any], key: str, say: Report) -> Performed[Any]:
    """What comes of a program's request: as on the pages, from what is kept or from the model.

    Raises:
        InfoflowError: as `cache.results`. NotAllowed: something that is for whoever runs the app alone.
    """
    from infoflow.ui import cache

    now = settings()
    if request.model.hosted and request.model.host.rstrip("/") != now.host:
        raise NotAllowed(f"Runs go to {now.host} alone. Give that as the model's host, or '' for this machine.")
    lens = getattr(request, "lens", None)
    if lens is not None and not cache.folders_allowed():
        from infoflow.models import lenses  # torch loads with it

        request = replace(request, lens=lenses.hub_only(lens))  # type: ignore[call-arg]
    if request.model.hosted and not key and cache.key_is_shared():
        key = now.key.get_secret_value()
    return cache.results(request, key, say)


def models() -> list[dict[str, Any]]:
    """The models that may be asked: of a hosted app those of its list, else those of the catalogue, beside which any other on the
    hub may be named."""
    now = settings()
    known = {entry.name: vars(entry) for entry in MODELS}
    if not now.hosted:
        return [{**entry, "host": ""} for entry in known.values()]
    here = [{**known.get(name, {"name": name}), "host": ""} for name in now.listed]
    return [*here, *({**known.get(name, {"name": name}), "host": now.host} for name in now.listed_on_ndif)]
