"""Names of axis values (axes are keyed by number, since tokens repeat, and show what it stands for), and names beside lines."""

import json
from collections.abc import Sequence

import pandas as pd


def by_value(keys: Sequence[float] | Sequence[int], names: Sequence[str]) -> str:
    """A Vega expression that gives the name of an axis value: names may repeat, values don't."""
    named = {str(int(k) if k == int(k) else k): n for k, n in zip(keys, names, strict=True)}  # as JavaScript writes numbers
    return f"{json.dumps(named)}[datum.value]"


def beside(lines: pd.DataFrame, height: float, width: float, below: bool = False) -> tuple[list[float], list[float]]:
    """Where the names of lines stand, beside their starts: the first place along each, above it (`below`: rather below) or on the
    other side, that no name has taken.

    Columns: x and y of the start, across and up (how far the line goes), long (pixels of the name, which is written the way that
    the line goes). `height` and `width`: pixels of one unit.
    """
    sides = (-9.0, 9.0) if below else (9.0, -9.0)
    taken: list[tuple[float, float, float]] = []  # left, right, middle, in pixels
    across, up = [], []
    for line in lines.itertuples():
        for along, off in [(a, o) for a in (0.0, 0.2, 0.4, 0.6) for o in sides]:
            x = line.x + along * line.across
            y = line.y + along * line.up + off / height
            left = x * width - (0 if line.across > 0 else line.long)
            if not any(
                left < right and start < left + line.long and abs(y * height - middle) < 12 for start, right, middle in taken
            ):
                break
        taken.append((left, left + line.long, y * height))
        across.append(x)
        up.append(y)
    return across, up
