"""Types and shapes of the package are checked as it runs: by beartype alone where no shape is named, else with jaxtyping."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import jaxtyping
from beartype import beartype


def check(modules: Sequence[str]) -> None:
    """What these modules define, once they are imported."""
    jaxtyping.jaxtyped = _lighter(jaxtyping.jaxtyped)  # what the hook writes above every function and class
    jaxtyping.install_import_hook(modules, "beartype.beartype")


def _lighter(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """The same checks. jaxtyping binds arguments and sizes at every call, which costs more than most calls do."""

    def checked(*context: Any, typechecker: Any = None) -> Any:
        if context:  # sizes that are held together for a while, where the package itself asks for it
            return jaxtyped(*context)
        whole = jaxtyped(typechecker=typechecker)

        def of(thing: Any) -> Any:
            if not isinstance(thing, type):
                return whole(thing) if _shaped(thing) else _typed(thing)
            if dataclasses.is_dataclass(thing) and "__init__" in vars(thing):
                thing.__init__ = whole(thing.__init__) if _shaped(thing.__init__) else _typed(thing.__init__)  # type: ignore[misc]
            return thing

        return of

    return checked


def _shaped(function: Callable[..., Any]) -> bool:
    return any("jaxtyping" in repr(hint) for hint in _hints(function).values())


def _typed(function: Callable[..., Any]) -> Callable[..., Any]:
    written, function.__annotations__ = function.__annotations__, _hints(function)
    checked = beartype(function)
    function.__annotations__ = checked.__annotations__ = written
    return checked


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Those that can be told: a name that is imported for the type checker alone can't be, by jaxtyping neither."""
    found = {}
    for name, hint in function.__annotations__.items():
        try:
            found[name] = get_type_hints(_Holder(name, hint), function.__globals__, include_extras=True)[name]
        except NameError:
            continue
    return found


class _Holder:
    def __init__(self, name: str, hint: Any) -> None:
        self.__annotations__ = {name: hint}
