"""The tables of what a head or an MLP writes and of what reads it, beside `Readers.to_frame`."""

import numpy as np
import pandas as pd

from infoflow.analyses.readers import Readers
from infoflow.text.tokens import visible


def parts(found: Readers, most: int = 6) -> pd.DataFrame:
    """What goes directly, through the `most` readers of the largest part, and through all others together: name, logit. They sum
    to the total."""
    table = found.to_frame()
    direct, readers = table[table["kind"] == "direct"], table[table["kind"] != "direct"]
    order = readers["logit"].abs().sort_values(ascending=False, kind="stable").index
    few, rest = readers.loc[order[:most]], readers.loc[order[most:]]
    rows = [direct, few[few["logit"] != 0]]
    if len(rest):
        name = f"{len(rest)} other{'s' * (len(rest) > 1)}"
        rows.append(pd.DataFrame({"name": [name], "logit": [float(rest["logit"].sum())]}))
    return pd.concat([row[["name", "logit"]] for row in rows], ignore_index=True)


def written(found: Readers, most: int = 4) -> pd.DataFrame:
    """The `most` tokens that the write promotes most, and as many that it suppresses, the most promoted first: name, logit."""
    table = found.written_frame()
    some = table[["token", "logit"]].rename(columns={"token": "name"}).assign(name=[quoted(text) for text in table["token"]])
    few = min(most, -(-len(some) // 2))
    shown = pd.concat([some[:few], some[max(few, len(some) - few) :]], ignore_index=True)
    again = shown.groupby("name").cumcount()
    return shown.assign(name=shown["name"] + again.map(lambda n: " " * n))  # two tokens may look the same


def quoted(text: str) -> str:
    """A token as it stands among others."""
    return f"“{visible(text)}”"


def moves(found: Readers) -> pd.DataFrame:
    """What a head brings from each position to each, as far as it is something: dest, src, dest_token, src_token, weight (signed,
    in logits). Empty of an MLP."""
    amounts = np.zeros((0, 0)) if found.moves is None else found.moves
    dest, src = np.nonzero(amounts)
    names = np.array(found.position_labels, dtype=object)
    return pd.DataFrame({
        "dest": dest, "src": src, "dest_token": names[dest], "src_token": names[src], "weight": amounts[dest, src],
    })  # fmt: skip
