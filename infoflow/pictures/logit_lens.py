"""A lens as its table of words."""

from infoflow.analyses.logit_lens import Lens
from infoflow.charts import logit_lens as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import logit_lens as tables
from infoflow.text.contrasts import BANK
from infoflow.text.tokens import visible


def picture(lens: Lens, dark: bool = False) -> Picture:
    """The whole table by probability."""
    return table(lens, dark=dark)


def table(
    lens: Lens, colour: str = "probability", mids: bool = True, dark: bool = False, chosen: tuple[int, int] | None = None
) -> Picture:
    """Rows of the stream by position; `chosen` is the number of a row and a position that are marked from the beginning."""
    cells = tables.grid(lens, colour, 0, mids)
    names = [visible(lens.names[t]) for t in lens.targets[: tables.FOLLOWED.get(colour, 0)]]
    first, last = lens.positions[0], lens.positions[-1]
    part = "" if len(lens.positions) == len(lens.tokens) else f" Positions {first} to {last} of {len(lens.tokens)}."
    whose = f" of {' over '.join(names)}" if names else ""
    pale = f" Pale: {tables.OTHER_TEXT[lens.contrast == BANK]} reads the same there." if lens.contrast is not None else ""
    sums = " Read at the last position: with what is not read and the biases, a row's readings sum to the logits."
    at_end = sums if lens.read == "last" else ""
    return Picture(
        chart=charts.table(cells, colour, dark, chosen), frame=lens.to_frame(),
        title=f"{tables.NAMES[lens.kind]} on “{short(lens.provenance.prompt)}”, {lens.provenance.whose}",
        note=f"Colour: {colour}{whose}, {tables.COLOURS[colour]}.{pale}{at_end}{part}",
    )  # fmt: skip
