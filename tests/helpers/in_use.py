"""A model that another reader's run has."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import infoflow


@contextmanager
def in_use(model: infoflow.Model) -> Iterator[None]:
    """Another thread has the model's lock, as a long run has."""
    has, end = threading.Event(), threading.Event()

    def hold() -> None:
        with model.lock:
            has.set()
            assert end.wait(60)

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert has.wait(20)
        try:
            yield
        finally:
            end.set()
            held.result(20)
