"""What blocks promoted and suppressed, as the largest of those moves."""

from infoflow.analyses.promotions import Promotions
from infoflow.charts import signed as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import promotions as tables

MOST = 12


def picture(found: Promotions, dark: bool = False) -> Picture:
    """The largest moves."""
    made = found.provenance
    return Picture(
        chart=charts.ranking(tables.largest(found, MOST), "change", dark=dark), frame=found.to_frame(),
        title=f"Promoted and suppressed at position {found.position} of “{short(made.prompt)}”, {made.whose}",
        note=f"Changes of probability from one row of the logit lens to the next; the largest {MOST}.",
    )  # fmt: skip
