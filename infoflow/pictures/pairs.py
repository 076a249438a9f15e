"""Pairs of heads patched together, as a map."""

import numpy as np

from infoflow.analyses.pairs import Pairs
from infoflow.analyses.sweeps import Direction
from infoflow.charts import signed
from infoflow.pictures.picture import Picture, short
from infoflow.tables import pairs as tables
from infoflow.tables.patching import FORMS

BEYOND = "Off the diagonal: what both change, less what each changes alone; 0 where they act side by side."
FALLING = ("rank", "kl")
"""metrics that fall as the answer comes back, of which signs mean the opposite and sums of two mean little"""
TOGETHER = "Off the diagonal: what both change, patched together."


def picture(found: Pairs, dark: bool = False, metric: str = "recovery", shown: str = tables.BEYOND) -> Picture:
    """What each pair changes, or how far that departs from the sum of the two; on the diagonal what one changes."""
    table, made = tables.cells(found, metric, shown), found.provenance
    off = table.loc[table["first"] != table["second"], "change"].abs()
    largest = float(np.nan_to_num(off.max()))
    over = table.loc[table["first"] == table["second"], "change"].abs().max() > largest
    heads = f"the {len(found.heads)} strongest heads" if found.swept else f"{len(found.heads)} heads"
    full = " Its colours end where the scale does." if over and largest else ""
    of = metric.replace("_", " ")
    return Picture(
        chart=signed.grid(table, "second", "first", "change", FORMS[metric], largest or None, dark),
        frame=found.to_frame(),
        title=f"Pairs of {heads} ({found.site}) in “{short(made.prompt)}”, {made.whose}",
        note=f"{_read(found, shown, metric)} On the diagonal: what one changes alone.{full} Change of {of}.",
    )


def _read(found: Pairs, shown: str, metric: str) -> str:
    """What the cells off the diagonal are, and what their signs mean of heads that go one way, of a metric that rises with the
    answer."""
    if shown == tables.TOGETHER:
        return TOGETHER
    if metric in FALLING:
        return BEYOND
    less, more = tables.LESS[found.direction], tables.MORE[found.direction]
    if found.direction == Direction.DENOISING:
        return f"{BEYOND} Of heads that bring the answer back, negative: {less}; positive: {more}."
    return f"{BEYOND} Of heads without which the answer breaks, positive: {less}; negative: {more}."
