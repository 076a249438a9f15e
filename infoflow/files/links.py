"""The address of the page that shows what is asked: path and query, as the pages bind them.

A page knows a model by its name, on which device and in which type weights are held is the reader's own; and it may read more
than was asked, such as the lens, whose page has the last positions where one was asked for. It offers some groupings of
sources by name; of another one it shows tokens.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode

from pydantic import TypeAdapter

from infoflow.analyses.request import Request
from infoflow.interventions import AnyIntervention
from infoflow.models.spec import ModelSpec

MOST = 8_000
"""bytes of a prompt, as an address spells it: servers and proxies refuse addresses that are much longer"""
Query = list[tuple[str, str]]


def _flow(asked: Any) -> Query:
    return [("run_by", asked.sources)] if isinstance(asked.sources, str) and asked.sources != "tokens" else []


def _answer(asked: Any) -> Query:
    found = [(name, _token(getattr(asked, name))) for name in ("target", "against") if getattr(asked, name) is not None]
    more = [("contrast", asked.contrast)] if isinstance(asked.contrast, str) else []
    return [*found, *more, *([("answer_centred", "true")] if asked.centred else [])]


def _written(asked: Any) -> Query:
    return [(name, _token(getattr(asked, name))) for name in ("target", "against") if getattr(asked, name) is not None]


def _lens(asked: Any) -> Query:
    return [("lens_follow", str(token)) for token in asked.targets if isinstance(token, str)]


_PAGES: dict[str, tuple[str, Callable[[Any], Query]]] = {
    "flow": ("/", _flow), "location": ("/answer", _answer), "attention": ("/attention", lambda asked: []),
    "logit_lens": ("/logit_lens", _lens), "attribution": ("/circuits", _written), "direct": ("/circuits", _written),
}  # fmt: skip
"""analysis -> the page that shows it, and what of the request is in its address beside model and prompt"""


def link(request: Request[Any]) -> str:
    """The page's path and query; '' where there is no such page, or the prompt is blank, or no text that fits in an address.

    Of an attribution without a token to hold it against the page is Circuits, which takes a rival of its own.
    """
    found = _PAGES.get(request.analysis)
    prompt = request.prompt
    if found is None or not isinstance(prompt, str) or not prompt.strip() or not fits(prompt):
        return ""
    path, of = found
    query: Query = [("prompt", prompt), *model(request.model), *of(request)]
    query += [("change", spelled(one)) for one in request.interventions]
    return f"{path}?{urlencode(query, errors='replace')}"


def fits(prompt: str) -> bool:
    """Whether a prompt can be part of an address."""
    return len(quote_plus(prompt, errors="replace")) <= MOST


def model(spec: ModelSpec) -> Query:
    """A model as an address names it, with the commit of the hub where one is known."""
    here = spec.hosted or Path(spec.name).expanduser().exists()  # weights of a folder have a fingerprint, and no commit
    of_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", spec.name) and re.fullmatch(r"[\w./-]+", spec.revision)
    name = f"{spec.name}@{spec.revision}" if of_hub and not here else spec.name
    return [*([("model", name)] if name != "demo" else []), *([("where", "on NDIF")] if spec.hosted else [])]


@cache
def changes() -> Any:
    """What writes an intervention into an address, and reads it."""
    return TypeAdapter(AnyIntervention)


def spelled(one: Any) -> str:
    """An intervention as an address has it."""
    return str(changes().dump_json(one, exclude_none=True).decode())


def named(request: Request[Any], spec: ModelSpec) -> Request[Any]:
    """The same of the model as it was asked for: a loaded one has weights' fingerprints where names have branches."""
    return replace(request, model=spec)


def _token(token: int | str | None) -> str:
    """A token's id as the pages hold it, else its text."""
    return f"#{token}" if isinstance(token, int) else str(token)
