"""What each patched run changes, as a map of layers by heads or positions."""

import altair as alt
import pandas as pd

from infoflow.charts import signed
from infoflow.charts.drawing import either
from infoflow.charts.palette import ink


def grid(table: pd.DataFrame, form: str, limit: float | None = None, dark: bool = False) -> alt.Chart:
    """Columns: row, column, change, live (what can not reach what is read is left out); with layer and head a click selects
    `head`, without heads `cell`. Where positions are apart what lies outside the causal cone of the cell that is clicked
    fades: earlier layers up to its position and later ones from it on are inside."""
    shown = table.assign(change=table["change"].where(table["live"]))
    drawn = signed.grid(shown, "column", "row", "change", form, limit, dark)
    if "head" not in table:
        drawn = drawn.add_params(alt.selection_point(name="cell", fields=["layer", "position"], empty=False))
    if (table["position"] >= 0).all():
        of, page = "head" if "head" in table else "cell", ink(dark)
        drawn = drawn.encode(
            opacity=either(alt.OpacityValue, _INSIDE.replace("picked", of), 1.0, FADED),
            stroke=either(alt.StrokeValue, _ITSELF.replace("picked", of), page.text, page.paper),
        )
    return drawn


FADED = 0.22
_ITSELF = (
    "isValid(picked.layer) && datum.layer === picked.layer[0] && datum.position === picked.position[0]"
    " && (!isValid(picked.head) || datum.head === picked.head[0])"
)
_INSIDE = (
    f"!isValid(picked.layer) || ({_ITSELF})"
    " || datum.layer > picked.layer[0] && datum.position >= picked.position[0]"
    " || datum.layer < picked.layer[0] && datum.position <= picked.position[0]"
)
"""whether a cell can change the one that is clicked, is it, or can be changed by it; all are where none is"""
