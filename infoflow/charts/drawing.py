"""How charts are put together. Each of Altair's methods copies the whole chart, a layered one twice, and a shorthand or a
condition given as text is looked for among all of its classes: on a page, which draws at every click, that was most of a redraw.
So a chart is finished here in one step, and channels are given as objects."""

from collections.abc import Iterable
from typing import Any

import altair as alt

FIT = {"autosize": alt.AutoSizeParams(type="fit", contains="padding")}
"""a configuration: axes find room inside the given size"""


class _Finished(alt.LayerChart):
    """A layered chart of which a shallow copy, as every drawing takes one, is not put together once more."""

    def copy(self, deep: bool | Iterable[Any] = True, ignore: list[str] | None = None) -> "_Finished":
        if deep is not False:
            return super().copy(deep, ignore)
        twin = object.__new__(type(self))
        object.__setattr__(twin, "_args", self._args)
        object.__setattr__(twin, "_kwds", dict(self._kwds))
        return twin


def layered(*parts: alt.Chart, **properties: Any) -> alt.LayerChart:
    """Parts drawn over each other, without a frame; `properties` are those of the whole."""
    return _Finished(layer=list(parts), **_plain(properties))


def alone(chart: alt.Chart, **properties: Any) -> alt.Chart:
    """A chart of one part, made here and by nobody else held: without a frame, with these properties."""
    for name, value in _plain(properties).items():
        chart[name] = value
    return chart


def _plain(properties: dict[str, Any]) -> dict[str, Any]:
    more = properties.pop("config", {})
    return {**properties, "config": alt.Config(view=alt.ViewConfig(stroke="transparent"), background="transparent", **more)}


def either(channel: Any, test: Any, then: Any, other: Any) -> Any:
    """A channel with the value `then` (or the field of one) where the test holds, else the value `other`."""
    then = then if isinstance(then, alt.SchemaBase) else alt.value(then)
    return channel(**alt.condition(test, then, alt.value(other)))


def unchecked() -> None:
    """Let this process make charts without a check of every piece, which takes a fifth of a redraw: for an application whose
    tests check them."""
    alt.utils.schemapi.disable_debug_mode()
