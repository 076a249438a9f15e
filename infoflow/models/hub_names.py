"""What is used of the hub's library that it does not promise to keep, in one place.

`tests/models/test_adapters.py` fails when an upgrade moves any of it.
"""

import contextlib
import threading
from collections.abc import Iterator

from huggingface_hub import constants


def address() -> str:
    """Where the hub is."""
    return str(constants.ENDPOINT)


def cache_folder() -> str:
    """Where downloads are kept."""
    return str(constants.HF_HUB_CACHE)


_lock = threading.Lock()
_plain, _before = [0], [False]


@contextlib.contextmanager
def plain_downloads() -> Iterator[None]:
    """In here the hub's files come by plain HTTP, block by block: its other transfers run in native threads that no exception
    of a progress report stops."""
    with _lock:
        if not _plain[0]:
            _before[0] = constants.HF_HUB_DISABLE_XET
        _plain[0] += 1
        constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        with _lock:
            _plain[0] -= 1
            if not _plain[0]:
                constants.HF_HUB_DISABLE_XET = _before[0]
