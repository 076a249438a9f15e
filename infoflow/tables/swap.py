"""The table of a swap ratio as bars."""

import pandas as pd

from infoflow.studies.swap import SwapRatio


def bands(found: SwapRatio) -> pd.DataFrame:
    """One row a band, the latest first: name (with its layers and ratio), a, b, difference, ratio."""
    table = found.to_frame()
    names = [
        f"{row.band} (L{row.first}" + (f"–{row.last})" if row.last > row.first else ")") + f": ×{row.ratio:.2f}"
        for row in table.itertuples()
    ]
    return table.assign(name=names)[::-1].reset_index(drop=True)[["name", "a", "b", "difference", "ratio"]]
