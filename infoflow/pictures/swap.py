"""A group's share of a residual in two runs, layer by layer."""

import math

from infoflow.charts import compare as charts
from infoflow.pictures.compare import sides
from infoflow.pictures.picture import Picture
from infoflow.studies.swap import SwapRatio
from infoflow.tables import swap as tables


def picture(found: SwapRatio, dark: bool = False) -> Picture:
    """Shares by thirds of the depth, and the ratio of each in the title."""
    table = tables.bands(found)
    ours, theirs = found.group
    whose = "all positions after it" if found.position is None else f"position {found.position}" if found.position >= 0 else (
        "the last position" if found.position == -1 else f"position {found.position} from the end"
    )  # fmt: skip
    ratios = ", ".join(f"{band} {'none' if math.isnan(ratio) else f'{ratio:.2f}'}" for band, ratio in found.ratios.items())
    return Picture(
        chart=charts.bars(table, (f"“{ours}” in A", f"“{theirs}” in B", "B − A"), ".1%", dark), frame=found.to_frame(),
        title=f"How much of the residual is “{ours}” or “{theirs}”, {sides(found.provenance)}",
        note=f"Share by {found.metric} of {whose}, geometric mean over a third of the layers. A over B: {ratios}.",
    )  # fmt: skip
