"""Where an answer is, as a map of rows by positions."""

from infoflow.analyses.location import Location
from infoflow.charts import location as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import answer as tables

MOVES = 8
"""so many moves are drawn at first"""
HINDSIGHT = (
    "Hindsight is in it: part of what a cell holds would be there for any other text, since the paths are those of the finished "
    "run."
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
) -> Picture:
    """Rows of the stream by position; `chosen` is the number of a row and a position that are marked from the beginning."""
    rows = tables.shown_rows(found, mids)
    first, last = positions or (0, len(found.labels) - 1)
    cells, way = tables.cells(found, rows), tables.way(found, rows)
    moves = tables.moves(found, rows, most)
    within = moves["source"].between(first, last) & moves["dest"].between(first, last)
    at = None if chosen is None or chosen[0] not in rows else (rows.index(chosen[0]), chosen[1])
    part = "" if last - first + 1 == len(found.labels) else f" Positions {first} to {last} of {len(found.labels)}."
    made = found.provenance
    return Picture(
        chart=charts.answer_map(
            cells[cells["position"].between(first, last)], tables.sums(found, rows),
            way[way["position"].between(first, last)], moves[within], dark, at,
        ),
        frame=found.to_frame(),
        title=f"Where the answer is: {tables.what(found)} after “{short(made.prompt)}”, {made.whose}",
        note=f"Each row sums to {found.total:+.2f}, its biases included; the worst is off by {found.max_error:.0e}. "
        f"The line goes through the cells that hold most; the {len(moves)} largest moves with their heads.{part}"
        + f" {found.note}" * bool(found.note) + f" {HINDSIGHT}",
    )  # fmt: skip
