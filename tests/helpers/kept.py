"""What stays as it is while tests run, looked up once."""

import functools
import inspect
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any


def sources() -> None:
    """Where the source of a function stands: each hosted run asks it of two dozen functions."""
    inspect.getsourcelines = _kept(inspect.getsourcelines)


def components() -> None:
    """Which installed packages have components for Streamlit: `AppTest` looks through all of them for each page under test, which
    takes longer than most pages do."""
    from streamlit.components.v2 import manifest_scanner  # a process that only asks for sources need not load it

    manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


def _kept(find: Callable[[Any], tuple[list[str], int]]) -> Callable[[Any], tuple[list[str], int]]:
    found: dict[int, tuple[CodeType, tuple[list[str], int]]] = {}

    def of(thing: Any) -> tuple[list[str], int]:
        if not isinstance(bare := inspect.unwrap(thing), FunctionType):
            return find(thing)
        code = bare.__code__
        if id(code) not in found:
            found[id(code)] = code, find(thing)  # with the code, whose number is no other's as long as it lives
        return found[id(code)][1]

    return of
