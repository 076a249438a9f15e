"""Patterns as the map of weights."""

import pandas as pd

from infoflow.analyses.attention import Attention, Weighting
from infoflow.charts import attention as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import attention as tables

UNITS: dict[str, str] = {
    Weighting.PATTERN: "",
    Weighting.VALUE: "A·|v|, in units of the head's values.",
    Weighting.CONTRIBUTION: "A·|W_O v|, in units of the residual stream.",
}


def picture(attn: Attention, dark: bool = False) -> Picture:
    """The mean of all maps."""
    return attention_map(attn, tables.view(attn, tables.Level.ALL, 0, 0, Weighting.PATTERN, tables.Sink.SHOWN), dark=dark)


def head_map(attn: Attention, table: pd.DataFrame, metric: str, chosen: tuple[int, int], dark: bool = False) -> Picture:
    """All heads by one of `tables.HEAD_METRICS`: `table` is that of `tables.head_map`."""
    made = attn.provenance
    return Picture(
        chart=charts.overview(table, metric, chosen, dark), frame=table,
        title=f"All heads by {metric} on “{short(made.prompt)}”, {made.whose}",
        note=f"{tables.HEAD_METRICS[metric]} Letters: P previous token, D duplicate token, I induction.",
    )  # fmt: skip


def attention_map(
    attn: Attention,
    found: tables.View,
    weighting: str = Weighting.PATTERN,
    tokens: tuple[int, int] | None = None,
    sinks: str = tables.Sink.SHOWN,
    dark: bool = False,
) -> Picture:
    """One map of weights; `tokens` are the first and last that are drawn."""
    first, last = tokens or (0, len(attn.tokens) - 1)
    part, names = found.weights[first : last + 1, first : last + 1], attn.position_labels[first : last + 1]
    frame = tables.matrix(part, names)
    sink = f"On average {found.sink:.0%} of a later row lies on {attn.position_labels[0]}; here it is {sinks}."
    none = f" {found.missing:.0%} lies on a sink that is no token." if found.missing > 1e-3 else ""
    return Picture(
        chart=charts.heatmap(frame, weighting, dark), frame=frame,
        title=f"Attention on “{short(attn.provenance.prompt)}”, {attn.provenance.whose}: {found.title}, {weighting}",
        note=f"{sink}{none} {UNITS[weighting]}".strip(),
    )  # fmt: skip
