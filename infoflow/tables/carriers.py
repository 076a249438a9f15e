"""The tables of who carried a source into a cell, and of where it goes."""

from typing import Any

import numpy as np
import pandas as pd

from infoflow.analyses.carriers import Carriers


def carried(found: Carriers, most: int) -> pd.DataFrame:
    """The largest carriers with a name each: name, share, layer, head; -1 where there is none."""
    table = found.to_frame().head(most)
    names = [_carrier(found, row) for row in table.itertuples()]
    return pd.DataFrame({"name": names, "share": table["share"], "layer": table["layer"], "head": table["head"]})


def _carrier(found: Carriers, row: Any) -> str:
    if row.kind == "head":
        return f"L{row.layer} head {row.head} from {row.position} {row.token}"
    if row.kind == "MLP":
        return f"L{row.layer} MLP"
    return "its own embedding" if row.kind == "embedding" else "biases"


def arrived(found: Carriers) -> pd.DataFrame:
    """How much of each later residual comes from the cell: row (layer), label (position), share; from the cell's position on."""
    first = found.layer + (found.stage == "post")
    layers = range(first, len(found.arrives))
    places = range(found.position, len(found.tokens))
    rows = [(f"L{n}", found.position_labels[p], float(found.arrives[n, p])) for n in layers for p in places]
    return pd.DataFrame(rows, columns=["row", "label", "share"])


def readers(found: Carriers, most: int) -> pd.DataFrame:
    """The heads that carried most of it on to other positions: name, share of the residual there."""
    order = np.argsort(-np.abs(found.reads), axis=None, kind="stable")[:most]
    layer, head, position = np.unravel_index(order[found.reads.ravel()[order] != 0], found.reads.shape)
    return pd.DataFrame({
        "name": [f"L{a} head {h} to {p} {found.position_labels[p]}" for a, h, p in zip(layer, head, position, strict=True)],
        "share": found.reads[layer, head, position],
    })  # fmt: skip
