"""Pairs of heads patched together, as a map."""

import numpy as np

from infoflow.analyses.pairs import Pairs
from infoflow.charts import signed
from infoflow.pictures.picture import Picture, short
from infoflow.tables import pairs as tables
from infoflow.tables.patching import FORMS

READ = {
    tables.BEYOND: "Off the diagonal: what both change, less what each changes alone; 0 where they act side by side. Of heads "
    "that bring the answer back, negative: one acts through the other, or either is enough; positive: each needs the other.",
    tables.TOGETHER: "Off the diagonal: what both change, patched together.",
}  # fmt: skip


def picture(found: Pairs, dark: bool = False, metric: str = "recovery", shown: str = tables.BEYOND) -> Picture:
    """What each pair changes, or how far that departs from the sum of the two; on the diagonal what one changes."""
    table, made = tables.cells(found, metric, shown), found.provenance
    off = table.loc[table["first"] != table["second"], "change"].abs()
    largest = float(np.nan_to_num(off.max()))
    over = table.loc[table["first"] == table["second"], "change"].abs().max() > largest
    full = " Its colours end where the scale does." if over and largest else ""
    return Picture(
        chart=signed.grid(table, "second", "first", "change", FORMS[metric], largest or None, dark),
        frame=found.to_frame(),
        title=f"Pairs of the {len(found.heads)} strongest heads ({found.site}) in “{short(made.prompt)}”, {made.whose}",
        note=f"{READ[shown]} On the diagonal: what one changes alone.{full} Change of {metric.replace('_', ' ')}.",
    )
