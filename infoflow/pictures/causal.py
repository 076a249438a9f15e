"""Contributions beside what removals do, as pairs of bars."""

from infoflow.analyses.causal import Causal
from infoflow.charts import causal as charts
from infoflow.pictures.picture import Picture, short

WAYS = {
    "block": "attention to it from the others is cut",
    "mean": "its embeddings become the mean over the prompt",
    "swap": "its embeddings become those of a neutral text",
    "zero": "its embeddings are taken away",
}
"""how a source is removed"""


def picture(found: Causal, dark: bool = False) -> Picture:
    """Two bars a source: what it contributes along frozen paths, and what goes when it is removed."""
    frame, made = found.to_frame(), found.provenance
    what = "logit difference" if found.against is not None else "logit"
    return Picture(
        chart=charts.paired(frame.rename(columns={"source_label": "label"}), what, dark), frame=frame,
        title=f"Contribution and removal after “{short(made.prompt)}”, {made.whose}",
        note=f"The {what} is {found.total:+.2f} with every source. A source is removed so: {WAYS[found.by]}. {found.agreement}",
    )  # fmt: skip
