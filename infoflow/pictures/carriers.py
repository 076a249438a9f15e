"""Who carried a source into a cell, as a ranking."""

from infoflow.analyses.carriers import Carriers
from infoflow.charts import signed as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import carriers as tables
from infoflow.text.rows import ROW_NAMES

MOST = 12


def picture(found: Carriers, dark: bool = False) -> Picture:
    """The largest carriers."""
    frame = found.to_frame()
    made, place = found.provenance, f"layer {found.layer} {ROW_NAMES[found.stage]}, position {found.position}"
    return Picture(
        chart=charts.ranking(tables.carried(found, MOST), dark=dark), frame=frame,
        title=f"Who carried {found.source} to {place}, “{short(made.prompt)}”, {made.whose}",
        note=f"The largest {min(MOST, len(frame))} of {len(frame)} carriers, in shares of what {found.source} is there.",
    )  # fmt: skip
