"""The tables of what blocks promoted and suppressed, beside `Promotions.to_frame`."""

import numpy as np
import pandas as pd

from infoflow.analyses.promotions import Promotions
from infoflow.text.rows import row_label
from infoflow.text.tokens import visible

LEAST = 1e-4
"""a change of probability below this is not shown as a move"""


def moved(found: Promotions, row: int) -> pd.DataFrame:
    """What the block that leads to a row promoted and suppressed: token, change (of probability), rank (before and after, 1 is
    the likeliest); the largest change first, none below 0.01 %."""
    ranks = zip((found.rank_before[row] + 1).tolist(), (found.rank_after[row] + 1).tolist(), strict=True)
    table = pd.DataFrame({
        "token": [visible(found.names[i]) for i in found.token_ids[row].tolist()], "change": found.gained[row],
        "rank": [f"{a} → {b}" for a, b in ranks], "id": found.token_ids[row],
    })  # fmt: skip
    table = table.drop_duplicates("id").drop(columns="id")
    return table[table["change"].abs() >= LEAST].sort_values(
        "change", key=np.abs, ascending=False, ignore_index=True, kind="stable"
    )


def largest(found: Promotions, most: int) -> pd.DataFrame:
    """The largest moves of all blocks: name (block and token), change."""
    parts = [moved(found, row).assign(row=row_label(name)) for row, name in enumerate(found.rows) if row]
    table = pd.concat(parts, ignore_index=True).sort_values("change", key=np.abs, ascending=False, kind="stable").head(most)
    return pd.DataFrame({"name": table["row"] + ": " + table["token"], "change": table["change"]}).reset_index(drop=True)
