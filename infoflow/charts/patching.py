"""What each patched run changes, as a map of layers by heads or positions."""

import altair as alt
import pandas as pd

from infoflow.charts import signed


def grid(table: pd.DataFrame, form: str, limit: float | None = None, dark: bool = False) -> alt.Chart:
    """Columns: row, column, change, live (what is outside the causal cone is left out); with layer and head a click
    selects `head`, without heads `cell`."""
    shown = table.assign(change=table["change"].where(table["live"]))
    drawn = signed.grid(shown, "column", "row", "change", form, limit, dark)
    if "head" not in table:
        drawn = drawn.add_params(alt.selection_point(name="cell", fields=["layer", "position"], empty=False))
    return drawn
