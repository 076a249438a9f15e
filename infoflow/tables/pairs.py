"""Tables of pairs of heads."""

import numpy as np
import pandas as pd

from infoflow.analyses.pairs import Pairs
from infoflow.analyses.sweeps import Direction

TOGETHER, BEYOND = "both together", "beyond their sum"
LESS: dict[str, str] = {
    Direction.DENOISING: "one acts through the other, or either is enough",
    Direction.NOISING: "one acts through the other, or each needs the other",
}  # fmt: skip
"""why two heads that go one way do less than the sum: brought back, either may be enough; of two that need each other the first
that is taken away has broken what both did"""
MORE: dict[str, str] = {Direction.DENOISING: "each needs the other", Direction.NOISING: "either is enough"}


def cells(found: Pairs, metric: str, shown: str) -> pd.DataFrame:
    """One row per cell of the map, the strongest head at the top left: first, second, change (on the diagonal one head's alone;
    else that of both, or the interaction)."""
    change = found.change(metric)
    values = np.where(np.eye(len(change), dtype=bool), change, found.interaction(metric) if shown == BEYOND else change)
    n = len(values)
    first, second = np.repeat(np.arange(n)[::-1], n), np.tile(np.arange(n), n)
    names = np.array(found.names, dtype=object)
    return pd.DataFrame({"first": names[first], "second": names[second], "change": values[first, second]})


def strongest(found: Pairs, metric: str, most: int = 10) -> pd.DataFrame:
    """Pairs that depart most from their sum: name, first alone, second alone, together, interaction."""
    change, apart = found.change(metric), found.interaction(metric)
    first, second = np.triu_indices(len(change), 1)
    order = np.argsort(-np.nan_to_num(np.abs(apart[first, second])), kind="stable")[:most]
    first, second = first[order], second[order]
    return pd.DataFrame({
        "pair": [f"{found.names[a]} and {found.names[b]}" for a, b in zip(first, second, strict=True)],
        "first": change[first, first], "second": change[second, second], "together": change[first, second],
        "beyond their sum": apart[first, second],
    })  # fmt: skip
