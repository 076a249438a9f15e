"""Tables of the Circuits page."""

import numpy as np
import pandas as pd

from infoflow.analyses.attribution import Attribution
from infoflow.analyses.circuits import MLP, Circuit
from infoflow.analyses.direct import DirectAttribution
from infoflow.studies.roles import Roles

Writers = Attribution | DirectAttribution
"""what has direct contributions"""


def sums(found: Writers) -> pd.DataFrame:
    """What all parts of a kind write directly, which sum to the logit: part, logit."""
    rows = {
        "heads": float(found.by_head.sum()), "MLPs": float(found.by_mlp.sum()), "embedding": found.embedding,
        "biases": found.direct_bias,
    }  # fmt: skip
    if found.direct_put_in:
        rows["interventions"] = found.direct_put_in
    return pd.DataFrame({"part": [*rows, "sum"], "logit": [*rows.values(), sum(rows.values())]})


def path(found: Writers, most: int) -> pd.DataFrame:
    """The heads of each layer that write most of the answer, `most` a layer: layer, head, logit, rank within the layer."""
    rows = []
    for layer, written in enumerate(found.by_head):
        for rank, head in enumerate(np.argsort(-written, kind="stable")[:most]):
            if written[head] > 0:
                rows.append((layer, int(head), float(written[head]), rank))
    return pd.DataFrame(rows, columns=["layer", "head", "logit", "rank"])


def edges(found: Writers, most: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Lines from each of those heads to those of the next layer that has some."""
    table = path(found, most)
    layers = sorted(set(table["layer"]))
    of = {
        layer: [(int(i), int(h)) for i, h in table.loc[table["layer"] == layer, ["layer", "head"]].to_numpy()] for layer in layers
    }
    return [(a, b) for low, high in zip(layers, layers[1:], strict=False) for a in of[low] for b in of[high]]


def members(found: Circuit) -> pd.DataFrame:
    """Every head and MLP as a map: row, column, knocked (what it takes from the lead alone), layer, head, and in_circuit."""
    table = found.to_frame()
    column = np.where(table["head"] == MLP, "MLP", table["head"].astype(str))
    return table.assign(row="layer " + table["layer"].astype(str), column=column)


def played(found: Roles) -> pd.DataFrame:
    """Roles that somebody plays: role, parts, writes directly, left without."""
    table = found.to_frame()
    table = table[table["size"] > 0]
    return pd.DataFrame({
        "role": table["role"], "parts": table["members"], "writes directly": table["share"], "left without": table["left"],
        "needed": table["needed"],
    }).reset_index(drop=True)  # fmt: skip
