"""Tables of the Patching page."""

import numpy as np
import pandas as pd

from infoflow.analyses.patching import Patching
from infoflow.analyses.sweeps import Direction
from infoflow.metrics.effects import measured

SIGNED = ("logit_diff", "recovery", "logit", "probability")
"""metrics whose change is drawn; of ranks and divergences the values themselves"""
FORMS = {"logit_diff": "+.2f", "recovery": "+.2f", "logit": "+.2f", "probability": "+.1%", "rank": "+.0f", "kl": "+.3f"}


def cells(found: Patching, metric: str) -> pd.DataFrame:
    """One row per patched run: row and column as they are drawn, layer, head and position (-1 where together), live, change."""
    change = found.change(metric)
    layer, head, at = (axis.ravel() for axis in np.indices(change.shape))
    layers = np.array(found.layers)[layer]
    heads = np.array(found.heads)[head] if found.heads else np.full(len(layer), -1)
    places = np.array(found.positions)[at] if found.positions else np.full(len(layer), -1)
    both = bool(found.heads and found.positions)
    row = [f"{i}.{h}" for i, h in zip(layers, heads, strict=True)] if both else [f"layer {i}" for i in layers]
    column = [found.position_labels[p] if p >= 0 else str(h) if h >= 0 else "all" for h, p in zip(heads, places, strict=True)]
    live = found.live[at] if found.positions else np.ones(len(layer), dtype=bool)
    table = pd.DataFrame({
        "row": row, "column": column, "layer": layers, "head": heads, "position": places, "live": live, "change": change.ravel(),
    })  # fmt: skip
    return table if found.heads else table.drop(columns="head")


def cone_said(found: Patching, layer: int, position: int) -> str:
    """How many cells of a map can change the one at a layer and position, and how many it can, and where they are: what a layer
    computes is read by later layers, there and at later positions."""
    reaching = [p for p, live in zip(found.positions, found.live, strict=True) if live]
    heads = len(found.heads) or 1
    before = heads * sum(i < layer for i in found.layers) * sum(p <= position for p in reaching)
    after = heads * sum(i > layer for i in found.layers) * sum(p >= position for p in reaching)
    at = found.position_labels[position]
    return (
        f"Layer {layer} at “{at}” can change {after} of the cells: those of later layers from there on; {before} can change it: "
        "those of earlier layers up to there. The others are faded."
    )


def strongest(found: Patching, metric: str, most: int = 10) -> pd.DataFrame:
    """The largest changes: name, change, and layer and head where heads are apart."""
    table = cells(found, metric)
    table = table[table["live"]]
    order = table["change"].abs().sort_values(ascending=False, kind="stable").index[:most]
    table = table.loc[order]
    heads = table["head"] if found.heads else [-1] * len(table)
    return table.assign(name=[name(found, *row) for row in zip(table["layer"], heads, table["position"], strict=True)])


def name(found: Patching, layer: int, head: int, position: int) -> str:
    """A patched run in words."""
    what = f"{layer}.{head}" if head >= 0 else f"layer {layer}"
    return f"{what} at {found.position_labels[position]}" if position >= 0 else what


def two_runs(found: Patching) -> pd.DataFrame:
    """What the two runs say, a row a metric: clean, corrupted."""
    rows = [
        {
            "metric": metric,
            "clean": float(measured(found.clean, metric, found.clean, found.corrupted)),
            "corrupted": float(measured(found.corrupted, metric, found.clean, found.corrupted)),
        }
        for metric in ("logit_diff", "logit", "probability", "rank", "kl")
    ]
    return pd.DataFrame(rows)


def side_by_side(found: Patching) -> pd.DataFrame:
    """The two prompts token by token: position, run again, taken from, differs."""
    denoising = found.direction == Direction.DENOISING
    again, other = found.position_labels, found.other_labels
    shift = len(other) - len(again) if len(other) != len(again) and found.provenance.request.to_dict()["align"] == "end" else 0
    there = [other[p + shift] if 0 <= p + shift < len(other) else "" for p in range(len(again))]
    clean, corrupted = (there, again) if denoising else (again, there)
    return pd.DataFrame({"position": range(len(again)), "clean": clean, "corrupted": corrupted, "differs": found.differs})
