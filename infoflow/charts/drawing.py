"""How charts are put together. Each of Altair's methods copies the whole chart, a layered one twice, and a shorthand or a
condition given as text is looked for among all of its classes: on a page, which draws at every click, that was most of a redraw.
So a chart is finished here in one step, and channels are given as objects."""

from collections.abc import Iterable
from typing import Any

import altair as alt

FIT = {"autosize": alt.AutoSizeParams(type="fit", contains="padding")}
"""a configuration: axes find room inside the given size"""


class _Finished(alt.LayerChart):
    """A layered chart put together by `layered`; a shallow copy of it, as every drawing takes one, is not once more."""

    def copy(self, deep: bool | Iterable[Any] = True, ignore: list[str] | None = None) -> "_Finished":
        if deep is not False:
            return super().copy(deep, ignore)
        twin = object.__new__(type(self))
        object.__setattr__(twin, "_args", self._args)
        object.__setattr__(twin, "_kwds", dict(self._kwds))
        return twin


def layered(*parts: alt.Chart, **properties: Any) -> alt.LayerChart:
    """Parts drawn over each other, made here and by nobody else held; without a frame. `properties` are those of the whole.

    What Altair does of each part's data and parameters, with copies and checks of all, is done here in one go: data that all have
    stand in the whole, and so do parameters, a selection with the name of the part that it listens to.
    """
    shared: dict[str, Any] = {"data": parts[0].data} if all(part.data is parts[0].data for part in parts) else {}
    params: dict[str, Any] = {}
    for number, part in enumerate(parts):
        if shared:
            part.data = alt.Undefined
        for param in [] if part.params is alt.Undefined else part.params:
            if not isinstance(param, alt.VariableParameter):
                part.name = f"part_{number}" if part.name is alt.Undefined else part.name
                param = alt.TopLevelSelectionParameter(**{**param._kwds, "views": [part.name]})
            params.setdefault(str(param.name), param)
        part.params = alt.Undefined
    whole = object.__new__(_Finished)
    lifted: dict[str, Any] = {"params": list(params.values())} if params else {}
    alt.TopLevelLayerSpec.__init__(whole, layer=list(parts), **shared, **lifted, **_plain(properties))
    return whole


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
