"""What raises a logit, as signed bars."""

from infoflow.analyses.attribution import Attribution
from infoflow.charts import signed as charts
from infoflow.pictures.picture import Picture, short


def picture(found: Attribution, dark: bool = False) -> Picture:
    """One bar per token, in reading order; the bias last."""
    frame = found.to_frame()
    shown = frame if found.bias else frame.iloc[:-1]
    what = "logit difference" if found.against is not None else "centred logit" if found.centred else "logit"
    made = found.provenance
    return Picture(
        chart=charts.columns(shown.rename(columns={"token": "label"}), title=what, dark=dark), frame=frame,
        title=f"What raises a {what} after “{short(made.prompt)}”, {made.whose}",
        note=f"All {len(shown)} parts together give the {what}: {found.total:+.2f}; error {found.max_error:.0e}."
        + f" {found.note}" * bool(found.note),
    )  # fmt: skip
