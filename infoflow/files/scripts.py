"""The Python that makes a result again, as a script and as a notebook: one call of the package's own functions."""

import inspect
from collections.abc import Sequence
from dataclasses import MISSING, fields
from enum import Enum
from importlib import import_module
from typing import Any

from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Request
from infoflow.files import strict
from infoflow.interventions import Intervention
from infoflow.models.spec import ModelSpec
from infoflow.studies.compare import Both

WIDTH = 100
"""so many columns before a call has a line for each argument"""
_TOLD = ("on_progress", "on_token")


def python_of(made: Provenance | Both) -> str:
    """A script that makes a result again, says it in sentences and keeps its table."""
    loads, makes = _made(made)
    name = made.function if isinstance(made, Both) else made.request.analysis
    return "\n".join([
        f'"""{_about(made)}"""', "", *loads, *makes, "print(result.summary())",
        f'result.to_frame().to_csv("{name}.csv", index=False)', "",
    ])  # fmt: skip


def notebook_of(made: Provenance | Both) -> bytes:
    """The same as a notebook, whose last cell shows the result's picture."""
    loads, makes = _made(made)
    code = ["\n".join(loads), "\n".join([*makes, "result"])]
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "metadata": {}, "source": _about(made)}]
    cells += [{"cell_type": "code", "metadata": {}, "source": one, "outputs": [], "execution_count": None} for one in code]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return strict.as_json({"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": kernel}, "cells": cells})


def _made(made: Provenance | Both) -> tuple[list[str], list[str]]:
    """Lines that import and load, and lines that make the result: of two that are compared, first each of them."""
    if isinstance(made, Provenance):
        return [*_imports(made.request), "", *_loads(made)], [f"result = {call_of(made.request)}"]
    one, other = _loads(made.a), _loads(made.b, "other_model")
    same = one == _loads(made.b)
    loads = [*_imports(made.a.request, made.b.request), "", *one, *([] if same else other)]
    options = [f"{name}={literal(value)}" for name, value in made.options.items()]
    return loads, [
        f"a = {call_of(made.a.request)}", f"b = {call_of(made.b.request, 'model' if same else 'other_model')}",
        f"result = infoflow.{made.function}({', '.join(['a', 'b', *options])})",
    ]  # fmt: skip


def call_of(request: Request[Any], model: str = "model") -> str:
    """The call of the package's function that gives what a request asks for, of the model of that name. What is as it is by
    default is left out."""
    given, parts = request.arguments(), [model]
    for name, parameter in _parameters(request).items():
        value = given.get(name, parameter.default)
        if parameter.default is inspect.Parameter.empty:
            plain = name in ("prompt", "clean", "question", "correction")
            parts.append(literal(value) if plain else f"{name}={_broken(value)}")
        elif name in given and not _same(value, parameter.default):
            parts.append(f"{name}={_broken(value)}")
    line = f"infoflow.{request.function}({', '.join(parts)})"
    if len(line) <= WIDTH and "\n" not in line:
        return line
    return "\n".join([f"infoflow.{request.function}(", *[f"    {part}," for part in parts], ")"])


def _broken(value: Any) -> str:
    """A value; interventions that are too long for a line, one a line."""
    line = literal(value)
    if len(line) <= WIDTH or not (isinstance(value, tuple | list) and any(isinstance(one, Intervention) for one in value)):
        return line
    return "\n".join(["(", *[f"        {literal(one)}," for one in value], "    )"])


def literal(value: Any) -> str:
    """A value as Python writes it: plain values, choices as their texts, interventions as they are made."""
    if isinstance(value, Enum):
        return repr(value.value)
    if isinstance(value, Intervention):
        shown = [f for f in fields(value) if f.name != "kind" and not _is_default(f, getattr(value, f.name))]
        return f"{type(value).__name__}({', '.join(f'{f.name}={literal(getattr(value, f.name))}' for f in shown)})"
    if isinstance(value, tuple | list):
        inside = ", ".join(literal(one) for one in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return repr(value)


def _is_default(field: Any, value: Any) -> bool:
    return field.default is not MISSING and _same(value, field.default)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return list(one) == list(other)
    return (
        type(one) is type(other)
        and bool(one == other)
        or (isinstance(one, str) and isinstance(other, str) and str(one) == str(other))
    )


def _parameters(request: Request[Any]) -> dict[str, inspect.Parameter]:
    """What its function takes beside the model and what is told of progress."""
    function = getattr(import_module("infoflow"), request.function)
    found = dict(inspect.signature(function).parameters)
    return {name: parameter for name, parameter in found.items() if name not in ("model", *_TOLD)}


def _imports(*requests: Request[Any]) -> list[str]:
    names = sorted({type(one).__name__ for request in requests for one in _interventions(request.arguments().values())})
    return ["import infoflow", *([f"from infoflow.interventions import {', '.join(names)}"] if names else [])]


def _interventions(values: Any) -> Sequence[Intervention]:
    found: list[Intervention] = []
    for value in values:
        if isinstance(value, Intervention):
            found.append(value)
        elif isinstance(value, tuple | list):
            found.extend(_interventions(value))
    return found


def _loads(made: Provenance, model: str = "model") -> list[str]:
    """How the model of that name is loaded. The revision of weights that have none is their fingerprint, and is only told."""
    spec: ModelSpec = made.request.model
    said = [repr(spec.name)]
    pinned = bool(spec.revision) and ":" not in spec.revision
    said += [f"revision={spec.revision!r}"] if pinned else []
    said += [f"dtype={spec.dtype!r}"] if spec.dtype != "auto" and not spec.hosted else []
    said += [f"device={spec.device!r}"] if spec.device not in ("auto", "cpu") and not spec.hosted else []
    said += ["remote=True", f"host={spec.host!r}"] if spec.hosted else []
    weights = [] if pinned or not spec.revision else [f"# its weights were {_in_line(spec.revision)}"]
    return [*weights, f"{model} = infoflow.load_model({', '.join(said)})"]


def _about(made: Provenance | Both) -> str:
    """What it is, in a line, with nothing in it that ends a docstring."""
    if isinstance(made, Both):
        of = [f"{one.prompt!r} on {_in_line(one.model)}" for one in (made.a, made.b)]
        what = f"{made.function}() of {made.a.request.function}() of {of[0]} and of {of[1]}, infoflow {_in_line(made.a.infoflow)}"
    else:
        what = f"{made.request.function}() of {made.prompt!r} on {_in_line(made.model)}, infoflow {_in_line(made.infoflow)}"
    return what.replace("\\", "/").replace('"', "'")


def _in_line(text: str) -> str:
    """A text of a file, which may be anything, with nothing in it that ends a line of Python."""
    return repr(text)[1:-1]
