"""The stream itself as lengths and angles through the layers."""

import pandas as pd

from infoflow.analyses.activations import Activations
from infoflow.charts import activations as charts
from infoflow.metrics.vectors import Norm
from infoflow.pictures.picture import Picture, short
from infoflow.tables import activations as tables

LENGTH = {
    Norm.L2: "L2 norm, √Σx²", Norm.L1: "L1 norm, Σ|x|", Norm.LARGEST: "L∞ norm, max |x|",
    Norm.COUNT: "L0 norm, entries above 1 % of the largest",
}  # fmt: skip


def picture(found: Activations, dark: bool = False) -> Picture:
    """Lengths at the last position."""
    return norms(found, len(found.tokens) - 1, dark=dark)


def norms(found: Activations, position: int | None, kind: str = Norm.L2, dark: bool = False) -> Picture:
    """How long the residual is and what was added to it, at one position or in the mean over all but the first."""
    where = (
        f"position {position} ({found.position_labels[position]})"
        if position is not None
        else "mean of all positions but the first"
    )
    return _picture(found, tables.norms(found, position, kind), f"{LENGTH[Norm(kind)]}; {where}.", kind, dark)


def angles(found: Activations, table: pd.DataFrame, note: str, dark: bool = False) -> Picture:
    """Cosines through the layers."""
    return _picture(found, table, note, "", dark)


def _picture(found: Activations, table: pd.DataFrame, note: str, kind: str, dark: bool) -> Picture:
    made = found.provenance
    chart = charts.lines(table, f"{kind} norm" if kind else "cosine", signed=not kind, dark=dark)
    title = f"{'Lengths' if kind else 'Angles'} in the residual stream of “{short(made.prompt)}”, {made.whose}"
    return Picture(chart=chart, frame=table, title=title, note=note)
