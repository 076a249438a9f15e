"""Where an answer is, as a map of rows by positions."""

from infoflow.analyses.location import Location
from infoflow.charts import location as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import answer as tables
from infoflow.text.contrasts import named

MOVES = 8
"""so many moves are drawn at first"""
HINDSIGHT = (
    "Hindsight is in it: part of what a cell holds would be there for any other text, since the paths are those of the finished "
    "run; a contrast tells the two apart."
)


def picture(found: Location, dark: bool = False) -> Picture:
    """The whole map, a row a layer."""
    return answer_map(found, dark=dark)


def answer_map(
    found: Location,
    mids: bool = False,
    most: int = MOVES,
    positions: tuple[int, int] | None = None,
    chosen: tuple[int, int] | None = None,
    dark: bool = False,
    quantity: str = "own",
) -> Picture:
    """Rows of the stream by position; `chosen` is the number of a row and a position that are marked from the beginning.
    `quantity`: own, or with a contrast specific or hindsight, which have no moves."""
    quantity = "own" if found.specific is None else quantity
    most = most if quantity == "own" else 0
    rows = tables.shown_rows(found, mids)
    first, last = positions or (0, len(found.labels) - 1)
    cells, way = tables.cells(found, rows, quantity), tables.way(found, rows, quantity)
    moves = tables.moves(found, rows, most)
    within = moves["source"].between(first, last) & moves["dest"].between(first, last)
    at = None if chosen is None or chosen[0] not in rows else (rows.index(chosen[0]), chosen[1])
    part = "" if last - first + 1 == len(found.labels) else f" Positions {first} to {last} of {len(found.labels)}."
    made, of = found.provenance, "" if quantity == "own" else f", {quantity}"
    return Picture(
        chart=charts.answer_map(
            cells[cells["position"].between(first, last)], tables.sums(found, rows, quantity),
            way[way["position"].between(first, last)], moves[within], dark, at,
        ),
        frame=found.to_frame(),
        title=f"Where the answer is{of}: {tables.what(found)} after “{short(made.prompt)}”, {made.whose}",
        note=f"{_said(found, quantity, len(moves))}{part}" + f" {found.note}" * bool(found.note),
    )  # fmt: skip


def _said(found: Location, quantity: str, moves: int) -> str:
    line = "The line goes through the cells that hold most"
    against = "" if found.contrast is None else named(found.contrast)
    if quantity == "own":
        whole = f"Each row sums to {found.total:+.2f}, its biases included; the worst is off by {found.max_error:.0e}."
        there = HINDSIGHT if found.specific is None else f"What {against} would say too is in it."
        return f"{whole} {line}; the {moves} largest moves with their heads. {there}"
    if quantity == "hindsight":
        return f"What the residuals of {against} would say here too, along the paths of this run. {line}."
    does = f"takes the logit from {found.total:+.2f} to {found.contrast_total:+.2f}"
    return (
        f"What each residual says beyond that of {against}. Swapping a whole row {does}; at the side, how much of that frozen "
        f"paths see: the rest is in gates and patterns. {line}."
    )
