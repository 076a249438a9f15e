"""How sources' contributions point through the layers."""

from infoflow.analyses.stability import Stability
from infoflow.charts import activations as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import stability as tables

MOST = 6


def picture(found: Stability, dark: bool = False) -> Picture:
    """Each source's contribution after every layer beside that after the last."""
    table, made = tables.to_the_end(found, MOST), found.provenance
    where = f"position {found.position} ({found.position_labels[found.position]})"
    return Picture(
        chart=charts.lines(table, "cosine with the end", signed=True, dark=dark), frame=found.to_frame(),
        title=f"Directions of contributions to {where} of “{short(made.prompt)}”, {made.whose}",
        note=f"cos(C[layer, s], C[last, s]) of the {min(MOST, len(found.source_labels))} sources that are longest at the end.",
    )  # fmt: skip
