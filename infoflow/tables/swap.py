"""The table of a swap ratio as bars."""

import math
from typing import Any

import pandas as pd

from infoflow.studies.swap import SwapRatio


def shares(found: SwapRatio) -> pd.DataFrame:
    """One row a band, the earliest first: layers, a, b, ratio."""
    table = found.to_frame()
    return table.assign(layers=[_named(row) for row in table.itertuples()])[["layers", "a", "b", "ratio"]]


def bands(found: SwapRatio) -> pd.DataFrame:
    """One row a band, the latest first: name (with its layers and ratio), a, b, difference, ratio."""
    table = found.to_frame()
    names = [f"{_named(row)}: {'no ratio' if math.isnan(row.ratio) else f'×{row.ratio:.2f}'}" for row in table.itertuples()]
    return table.assign(name=names)[::-1].reset_index(drop=True)[["name", "a", "b", "difference", "ratio"]]


def _named(band: Any) -> str:
    return f"{band.band} (L{band.first}" + (f"–{band.last})" if band.last > band.first else ")")
