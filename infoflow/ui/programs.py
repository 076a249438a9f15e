"""What programs ask of this app: the same caches, and the same rules, as pages."""

from dataclasses import replace
from typing import Any

from starlette.applications import Starlette

from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Report, Request
from infoflow.errors import NotAllowed
from infoflow.models.catalog import MODELS
from infoflow.server import metrics
from infoflow.server.http import programs
from infoflow.server.service import Service
from infoflow.settings import settings
from infoflow.ui import cache, owner


def served(base: str) -> Starlette:
    """All that stands under /api of the app, which stands under `base`."""
    service = Service(perform=perform, models=models, alone=cache.for_this_machine_alone, count=cache.count, base=base)
    return programs(service, [metrics.route(owner.figures, cache.owner)])


def perform(request: Request[Any], key: str, say: Report) -> Performed[Any]:
    """What comes of a program's request: as on the pages, from what is kept or from the model.

    Raises:
        InfoflowError: as `cache.results`. NotAllowed: something that is for whoever runs the app alone.
    """
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
