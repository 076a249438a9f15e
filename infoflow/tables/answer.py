"""The tables of where an answer is: cells, the sums of rows, the way of the largest part, what moved it."""

import numpy as np
import pandas as pd

from infoflow.analyses.location import Location
from infoflow.text.rows import row_label, row_title
from infoflow.text.tokens import visible

LEAST = 0.1
"""of the largest of all cells: a row whose largest is less has no place on the way"""
MOST_HEADS = 2
"""so many heads of one move are named in the picture"""


def what(found: Location) -> str:
    """What is located, as a caption names it."""
    target = f"“{visible(found.target_name)}”"
    if found.against_name is not None:
        return f"{target} over “{visible(found.against_name)}”"
    return f"{target}, its logit over the mean" if found.centred else f"the logit of {target}"


def shown_rows(found: Location, mids: bool) -> list[int]:
    """The rows that are drawn, from the embeddings up. Those after attention hold what those after the MLP hold, but for what
    the MLP's biases add, and are drawn on request."""
    return [i for i, row in enumerate(found.rows) if mids or not row.endswith(".mid")]


def held(found: Location, quantity: str = "own") -> np.ndarray:
    """What cells hold: their own, or with a contrast what is specific, or hindsight."""
    of = {"own": found.by_cell, "specific": found.specific, "hindsight": found.hindsight}[quantity]
    return found.by_cell if of is None else of


def cells(found: Location, rows: list[int], quantity: str = "own") -> pd.DataFrame:
    """One per cell: order (of its row in the picture), row, where, position, label, logit."""
    n = len(found.labels)
    order = np.repeat(np.arange(len(rows)), n)
    both = any(found.rows[r].endswith(".mid") for r in rows)
    names = (
        [row_label(found.rows[r]) if both else found.rows[r].removesuffix(".post") for r in rows],
        [row_title(found.rows[r]) for r in rows],
    )
    return pd.DataFrame({
        "order": order, "row": np.array(names[0], dtype=object)[order], "where": np.array(names[1], dtype=object)[order],
        "position": np.tile(np.arange(n), len(rows)),
        "label": np.tile(np.array(found.position_labels, dtype=object), len(rows)), "logit": held(found, quantity)[rows].ravel(),
    })  # fmt: skip


def sums(found: Location, rows: list[int], quantity: str = "own") -> pd.DataFrame:
    """Each row's sum, as order, total, and beside it: of its own with the bias, which is the logit, how far it is from the
    model's (off by); of what is specific, the share of what swapping the row does (seen)."""
    total = held(found, quantity)[rows].sum(1, dtype=np.float64)
    if quantity == "own":
        beside = [f"{error:.0e}".replace("e-0", "e-").replace("e+0", "e+") for error in found.row_error[rows].tolist()]
        return pd.DataFrame(
            {
                "order": range(len(rows)),
                "total": total + found.bias[rows] + found.put_in[rows],
                "beside": beside,
                "head": "off by",
            }
        )
    seen = np.full(len(rows), np.nan) if found.seen is None else found.seen[rows]
    share = [f"{one:.0%}" if quantity == "specific" and np.isfinite(one) else "" for one in seen.tolist()]
    return pd.DataFrame({"order": range(len(rows)), "total": total, "beside": share, "head": "seen" if any(share) else ""})


def way(found: Location, rows: list[int], quantity: str = "own") -> pd.DataFrame:
    """Which position holds most, row by row, of the rows where one holds much: order, position."""
    of = held(found, quantity)[rows]
    much = of.max(1) >= LEAST * np.abs(of).max()
    return pd.DataFrame({"order": np.arange(len(rows))[much], "position": of.argmax(1)[much]})


def moves(found: Location, rows: list[int], most: int) -> pd.DataFrame:
    """The largest moves from a position to another, all heads of a layer together: layer, head (the largest), source, dest, from,
    to, logit, heads (the largest by name), short (the largest alone), every (all of them), order (of the row that it starts
    from)."""
    every = found.moves_frame()
    if every.empty:
        return every.assign(heads="", short="", every="", order=0)
    of = ["layer", "source", "dest"]
    every = every.assign(name=every["layer"].astype(str) + "." + every["head"].astype(str))
    one = every.groupby(of, sort=False)
    frame = one.agg({"head": "first", "from": "first", "to": "first", "logit": "sum", "name": list}).reset_index()
    frame = frame.sort_values("logit", key=np.abs, ascending=False, ignore_index=True, kind="stable").head(most)
    more = [f" +{len(names) - MOST_HEADS}" if len(names) > MOST_HEADS else "" for names in frame["name"]]
    named = [", ".join(names[:MOST_HEADS]) for names in frame["name"]]
    short = [names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "") for names in frame["name"]]
    frame = frame.assign(
        short=short,
        heads=[name + rest for name, rest in zip(named, more, strict=True)],
        every=[", ".join(names) for names in frame["name"]],
    ).drop(columns="name")
    before = [found.row_after(layer) - 1 for layer in frame["layer"]]
    return frame.assign(order=[rows.index(row) for row in before])


def moved(found: Location, row: int, position: int) -> pd.DataFrame:
    """What changed a cell at the attention of the layer that wrote its row: what, logit, layer, head (-1 where it is no one)."""
    layer = found.layer_of(row)
    frame = found.moved_at(layer, position)
    frame = frame[frame["logit"] != 0]
    words = {"in": "from", "out": "to"}
    names = [
        f"head {layer}.{head} {words[kind]} {visible(token)}" if kind in words else _REST[kind]
        for kind, head, token in zip(frame["kind"], frame["head"], frame["token"], strict=True)
    ]
    return pd.DataFrame({"name": names, "logit": frame["logit"].to_numpy(), "layer": layer, "head": frame["head"].to_numpy()})


_REST = {"other in": "all others, in", "other out": "all others, out", "bias": "biases", "intervention": "interventions"}
