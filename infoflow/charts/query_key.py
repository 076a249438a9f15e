"""A score by the sources of its query and of its key: a map of signed parts."""

import altair as alt
import pandas as pd

from infoflow.charts import signed
from infoflow.charts.palette import ink


def source_map(table: pd.DataFrame, dark: bool = False) -> alt.Chart:
    """Sources of the query downward, those of the key to the right. Columns: query_source (last first), key_source, part."""
    chart = signed.grid(table, "key_source", "query_source", "part", "+.2f", dark=dark)
    for channel, title in ((chart.encoding.x, "source of the key"), (chart.encoding.y, "source of the query")):
        channel["title"] = title
        channel["axis"]["titleColor"] = ink(dark).muted
        channel["axis"]["titleFontWeight"] = "normal"
    return chart
