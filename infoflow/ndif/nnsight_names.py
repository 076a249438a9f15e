"""What is used of nnsight that it does not promise to keep, in one place.

`tests/ndif/test_adapter.py` fails when an upgrade moves any of it. Importing this module undoes the one thing that
importing nnsight does to the rest of the process: it gives every object a `.save`, which breaks the web server's imports.
"""

from collections.abc import Callable
from typing import Any

import nnsight  # noqa: F401  mounts it
from nnsight._c import unmount
from nnsight.intervention.backends.remote import RemoteBackend, RemoteError
from nnsight.modeling.huggingface import _ID_CACHE
from nnsight.schema.response import ResponseModel, Status

__all__ = ["RemoteBackend", "RemoteError", "ResponseModel", "Status", "environment_of", "module_of", "name_there"]

if unmount is not None:
    unmount("save")


def environment_of(traced: Any) -> Any:
    """What the service is told of the packages here."""
    return traced._remoteable_get_env()


def module_of(traced: Any) -> Any:
    """The model that nnsight wraps, without weights where the service has them."""
    return traced._module


def name_there(name: str, ask: Callable[[], str]) -> str:
    """The name by which the service knows a model: what `ask` gives, once a process. nnsight's own question has no limit."""
    return _ID_CACHE.get(name) or _ID_CACHE.setdefault(name, ask())
