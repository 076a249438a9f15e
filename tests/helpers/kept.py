"""What stays as it is while tests run, looked up once; and a wait that does not hold up what it waits for."""

import functools
import inspect
import os
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


def scripts() -> None:
    """What a page is compiled to: `AppTest` reads and compiles it for each test."""
    from streamlit.runtime.scriptrunner.script_cache import ScriptCache

    compiled, found = ScriptCache.get_bytecode, dict[tuple[str, int], CodeType]()

    def of(cache: ScriptCache, path: str) -> CodeType:
        key = path, os.stat(path).st_mtime_ns
        if key not in found:
            found[key] = compiled(cache, path)
        return found[key]

    ScriptCache.get_bytecode = of


def quiet() -> None:
    """`AppTest` asks a thousand times a second whether a page has run, which holds the page up each time. It is told once."""
    from streamlit.testing.v1 import local_script_runner

    has_run = local_script_runner.require_widgets_deltas

    def told(runner: local_script_runner.LocalScriptRunner, timeout: float = 3) -> None:
        thread = runner._script_thread
        if thread is not None:
            thread.join(timeout)
        has_run(runner, timeout if thread is None or not thread.is_alive() else 0.0)

    local_script_runner.require_widgets_deltas = told


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
