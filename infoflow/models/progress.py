"""How far the reading of weights is: transformers' own progress bar, turned into calls that can stop it."""

import contextlib
import contextvars
from collections.abc import Callable, Collection, Iterator
from typing import Any

from infoflow.models.transformers_names import tell_of_bars

_told: contextvars.ContextVar[Callable[[str, float], None] | None] = contextvars.ContextVar("_told", default=None)
"""who is told of the loading in this thread"""
_LOOPS = {
    "Loading weights": "Reading the weights", "Converting and de-quantizing GGUF tensors...": "Dequantising the weights",
}  # fmt: skip
"""what transformers calls its loops over weights, and what they are doing"""


@contextlib.contextmanager
def told_to(on_progress: Callable[[str, float], None]) -> Iterator[None]:
    """What is loaded in here is told of to this function."""
    tell_of_bars(bar)
    token = _told.set(on_progress)
    try:
        yield
    finally:
        _told.reset(token)


def bar(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Stands where transformers makes its progress bars: that of the loading loop tells of it, and can be stopped."""
    told = _told.get()
    if told is None:
        return make(*args, **kwargs)  # somebody else's
    doing = _LOOPS.get(str(kwargs.get("desc")))
    if doing is None or not args:
        return make(*args, **{**kwargs, "disable": True})
    things: Collection[Any] = args[0]

    def steps() -> Iterator[Any]:
        for i, thing in enumerate(things):
            told(doing, i / len(things))
            yield thing

    return steps()
