"""Where the source of a function stands, looked up once: each hosted run asks it of two dozen functions anew."""

import inspect
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any


def keep() -> None:
    inspect.getsourcelines = _kept(inspect.getsourcelines)


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
