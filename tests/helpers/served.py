"""A server in a process of its own, for a fixture."""

from collections.abc import Iterator
from pathlib import Path

from tests.helpers.app import started


def serve(log_folder: Path, command: list[str], environment: dict[str, str] | None = None) -> Iterator[str]:
    """The address of a freshly started server; `command` starts it, but for its port."""
    with started(log_folder / "log", command, environment or {}) as app:
        yield app.address
