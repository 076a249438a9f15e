"""Lenses of several kinds side by side: the same cell, the same token through the rows, and how far each can be believed."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from infoflow.analyses.logit_lens import Lens
from infoflow.text.rows import row_label
from infoflow.text.tokens import visible

MEASURES = {
    "names the output": "share of positions at which the row names the output's token",
    "KL to output": "nats, mean over positions: what is lost by taking the reading for the output",
    "entropy": "nats, mean over positions: how unsure the reading is",
    "changes": "total variation, mean over positions, between the reading and that of the contrast's state: what stays the same "
    "whatever is read is no news of this prompt",
}
"""what tells how far a lens can be believed"""


def cell(lenses: Mapping[str, Lens], row: str, position: int) -> pd.DataFrame:
    """One cell by every lens that reads its row: lens, reads (the likeliest token), probability, KL to output, entropy, contrast
    reads, changes (empty without a contrast)."""
    found = []
    for kind, lens in lenses.items():
        if row not in lens.rows:
            continue
        here = lens.rows.index(row), lens.column(position)
        other, change = lens.other_ids, lens.change
        found.append({
            "lens": kind, "reads": visible(lens.names[int(lens.token_ids[here][0])]), "probability": float(lens.probs[here][0]),
            "KL to output": float(lens.kl[here]), "entropy": float(lens.entropy[here]),
            "contrast reads": "" if other is None else visible(lens.names[int(other[here][0])]),
            "changes": np.nan if change is None else float(change[here]),
        })  # fmt: skip
    return pd.DataFrame(found)


def trust(lenses: Mapping[str, Lens]) -> pd.DataFrame:
    """How far each row of each lens can be believed: lens, order, row, measure, value. Orders are those of all rows of the model,
    so that lenses that have fewer rows lie beside those that have more."""
    order = _orders(lenses)
    parts = []
    for kind, lens in lenses.items():
        values = {"names the output": lens.agrees, "KL to output": lens.kl.mean(1), "entropy": lens.entropy.mean(1)}
        if lens.change is not None:
            values["changes"] = lens.change.mean(1)
        for measure, value in values.items():
            parts.append(pd.DataFrame({
                "lens": kind, "order": [order[row] for row in lens.rows], "row": [row_label(row) for row in lens.rows],
                "measure": measure, "value": value.astype(float),
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def through(lenses: Mapping[str, Lens], position: int) -> pd.DataFrame:
    """The probability of the output's likeliest token at a position, row by row, as each lens reads it: lens, order, row, token,
    probability, shared (whether the contrast's state reads the same)."""
    order, parts = _orders(lenses), []
    for kind, lens in lenses.items():
        column = lens.column(position)
        answer = int(lens.answers[column, 0])
        held = lens.hindsight
        shared = np.zeros(len(lens.rows), bool) if held is None else held[:, column]
        parts.append(pd.DataFrame({
            "lens": kind, "order": [order[row] for row in lens.rows], "row": [row_label(row) for row in lens.rows],
            "token": visible(lens.names[answer]), "probability": lens.answer_probs[:, column, 0].astype(float),
            "shared": shared & (lens.token_ids[:, column, 0] == answer),
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def known_from(lens: Lens, position: int, beyond: bool = False) -> str:
    """The first row from which a lens names the output's token at a position for good; with `beyond`, and the contrast's state
    there does not."""
    column = lens.column(position)
    says = lens.token_ids[:, column, 0] == lens.answers[column, 0]
    if beyond and lens.hindsight is not None:
        says = says & ~lens.hindsight[:, column]
    silent = np.nonzero(~says)[0]
    first = int(silent[-1]) + 1 if len(silent) else 0
    return lens.rows[min(first, len(lens.rows) - 1)]


def _orders(lenses: Mapping[str, Lens]) -> dict[str, int]:
    """The number of each row among all that any of them has."""
    rows = max((lens.rows for lens in lenses.values()), key=len)
    every = [row for row in rows] + sorted({r for lens in lenses.values() for r in lens.rows} - set(rows))
    return {row: number for number, row in enumerate(every)}
