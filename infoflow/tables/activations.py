"""The tables of the stream itself, beside `Activations.to_frame`: lengths and angles, layer by layer."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import pandas as pd

from infoflow.analyses.activations import Activations
from infoflow.metrics.vectors import Norm, norm


class Show(StrEnum):
    """What is asked of the stream."""

    NORMS = "norms"
    TURNS = "turn by layer"
    POSITIONS = "two positions"
    RUNS = "two runs"
    DIRECTION = "a direction"


PARTS = {"residual": "resid_post", "attention adds": "attn_out", "MLP adds": "mlp_out"}
"""what has a length, by the name of its field"""
ROW = "row"
EMBEDDING = "embed"


def norms(found: Activations, position: int | None = None, kind: str = Norm.L2) -> pd.DataFrame:
    """The lengths of the residual after each layer and of what attention and the MLP added there: order, row, line, value. At one
    position, or their mean over all but the first, which is often a sink hundreds of times as long."""
    some = slice(position, position + 1) if position is not None else slice(1 if len(found.tokens) > 1 else 0, None)
    tables = [_line(norm(getattr(found, part)[:, some], kind).mean(1), name, 1, found.n_layers) for name, part in PARTS.items()]
    start = _line(norm(found.resid_pre[:1, some], kind).mean(1), "residual", 0, found.n_layers)
    return pd.concat([start, *tables], ignore_index=True)


def turns(found: Activations, positions: Sequence[int]) -> pd.DataFrame:
    """The cosine between the residual before and after each layer, at some positions: order, row, line, value."""
    names = found.position_labels
    return pd.concat([_line(found.turns[:, p], names[p], 1, found.n_layers) for p in positions], ignore_index=True)


def cosines(found: Activations, values: np.ndarray, name: str) -> pd.DataFrame:
    """A cosine for each row, from the embedding to the output: order, row, line, value."""
    return _line(values, name, 0, found.n_layers)


def map_of(found: Activations, kind: str = Norm.L2) -> pd.DataFrame:
    """The length of the residual after every layer at every position: layer, position, label, value, and share of the longest."""
    values = norm(found.resid_post, kind)
    layer, position = (a.ravel() for a in np.indices(values.shape))
    names = np.array(found.position_labels, dtype=object)
    return pd.DataFrame({
        "layer": [f"L{i}" for i in layer], "label": names[position], "position": position, "value": values.ravel(),
        "share": values.ravel() / max(float(values.max()), 1e-30),
    })  # fmt: skip


def _line(values: np.ndarray, name: str, first: int, n_layers: int) -> pd.DataFrame:
    orders = np.arange(first, first + len(values))
    rows = [EMBEDDING, *(f"L{layer}" for layer in range(n_layers))]
    return pd.DataFrame({
        "order": orders, "row": [rows[order] for order in orders], "line": name, "value": np.asarray(values, dtype=float),
    })  # fmt: skip
