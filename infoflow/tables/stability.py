"""The tables of how sources' contributions point, beside `Stability.to_frame`."""

import numpy as np
import pandas as pd

from infoflow.analyses.stability import Stability


def to_the_end(found: Stability, most: int = 6) -> pd.DataFrame:
    """The cosine between each source's contribution after every layer and after the last: order, row, line, value. The `most`
    sources whose contribution is longest at the end, from the layer on in which each arrives."""
    last = found.dots.shape[1] - 1
    longest = [int(s) for s in np.argsort(-found.norms[:, last], kind="stable")[:most]]
    layers = [0, *range(2, last + 1, 2)]  # after MLPs
    rows = [
        (order, found.rows[row].removesuffix(".post"), found.source_labels[s], float(found.cosine[s, row, last]))
        for s in sorted(longest)
        for order, row in enumerate(layers)
        if found.norms[s, row] > 0
    ]
    return pd.DataFrame(rows, columns=["order", "row", "line", "value"])
