"""The tables of a changed run beside the unchanged one."""

import numpy as np
import pandas as pd

from infoflow.analyses.attention import Attention
from infoflow.analyses.flow import Flow
from infoflow.analyses.generation import Generation
from infoflow.analyses.location import Location
from infoflow.analyses.logit_lens import Lens
from infoflow.text.rows import row_label
from infoflow.text.tokens import clean, unique, visible

LEAST = 0.001
"""a smaller change of a probability is none to the eye"""
SHOWN = 8
"""so many of the likeliest of each run are compared"""


def next_tokens(before: Generation, after: Generation) -> pd.DataFrame:
    """The likeliest next tokens of both runs: name (unique), before, after, change (probabilities; what was not read is less than
    all that was, and counts 0), rank_before and rank_after from 1 (none where it was not read), id. Those that changed most come
    first."""
    parts = []
    for gen in (before, after):
        ids = gen.token_ids[0].tolist()
        parts.append({i: (float(p), rank + 1) for rank, (i, p) in enumerate(zip(ids, gen.probs[0], strict=True))})
    ids = list(dict.fromkeys([*before.token_ids[0, :SHOWN].tolist(), *after.token_ids[0, :SHOWN].tolist()]))
    names = {**before.names, **after.names}
    rows = [(i, *parts[0].get(i, (0.0, None)), *parts[1].get(i, (0.0, None))) for i in ids]
    table = pd.DataFrame(rows, columns=["id", "before", "rank_before", "after", "rank_after"])
    table = table.astype({"rank_before": "Int64", "rank_after": "Int64"})
    table.insert(0, "name", unique([visible(names[i]) for i in ids]))
    table["change"] = table["after"] - table["before"]
    return table.sort_values("change", key=np.abs, ascending=False, ignore_index=True, kind="stable")


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """Those of `next_tokens` whose change can be seen, and the two largest whatever they are."""
    return table[(table["change"].abs() >= LEAST) | (table.index < 2)].head(SHOWN)


def said(before: Generation, after: Generation) -> str:
    """What became of the answer, in a sentence."""
    first, other = int(before.token_ids[0, 0]), int(after.token_ids[0, 0])
    name = visible(before.names[first])
    found = next_tokens(before, after).set_index("id").loc[first]
    was, now = float(found["before"]), float(found["after"])
    if abs(now - was) < LEAST:
        moved = f"“{name}” stays at {_percent(now)}"
    else:
        moved = f"“{name}” {'rises' if now > was else 'falls'} from {_percent(was)} to {_percent(now)}"
    if other == first:
        return f"{moved}, and is still the likeliest."
    return f"{moved}; the likeliest is now “{visible(after.names[other])}” ({_percent(float(after.probs[0, 0]))})."


def _percent(p: float) -> str:
    return f"{p:.1%}" if p >= LEAST else f"less than {LEAST:.1%}"


def followed(before: Lens, after: Lens) -> str:
    """What became of the tokens that were followed, at the output of the last position, in a line."""
    said = []
    for number, token in enumerate(before.targets):
        was, now = (float(run.target_probs[-1, -1, number]) for run in (before, after))
        said.append(f"“{visible(before.names[token])}” {_percent(was)} → {_percent(now)}")
    return "; ".join(said)


def lens(before: Lens, after: Lens) -> pd.DataFrame:
    """Change of each followed token's probability at the last position: row, token, where, change."""
    change = (after.target_probs - before.target_probs)[:, -1].astype(float)
    row, token = np.indices(change.shape).reshape(2, -1)
    names = unique([visible(before.names[i]) for i in before.targets])
    table = pd.DataFrame({
        "row": [row_label(before.rows[i]) for i in row], "token": np.array(names, dtype=object)[token], "change": change.ravel(),
    })  # fmt: skip
    return table.assign(where=table["token"] + " at " + table["row"])


def heads(before: Attention, after: Attention) -> pd.DataFrame:
    """How much of the last position's attention each head moved: layer, head, row, column, moved (half the sum of |change|,
    0 to 1)."""
    moved = np.abs(after.pattern[:, :, -1] - before.pattern[:, :, -1]).sum(-1) / 2
    layer, head = np.indices(moved.shape).reshape(2, -1)
    return pd.DataFrame({
        "layer": layer, "head": head, "row": [f"L{i}" for i in layer], "column": [f"H{i}" for i in head], "moved": moved.ravel(),
    })  # fmt: skip


def row(before: Attention, after: Attention, layer: int, head: int) -> pd.DataFrame:
    """One head's last position before and after: label, change."""
    change = after.pattern[layer, head, -1] - before.pattern[layer, head, -1]
    return pd.DataFrame({"label": list(before.position_labels), "change": change.astype(float)})


def shares(before: Flow, after: Flow, position: int) -> pd.DataFrame:
    """What one position's residual is made of after every layer, after less before: layer, row, source, change (of the share by
    norm, the first source aside where it is one of many). Sources that one of the runs alone has count nothing in the other."""
    labels = list(dict.fromkeys([*before.source_labels, *after.source_labels]))
    parts = []
    for run in (before, after):
        found = run.shares(hidden=[0] if run.first_is_one_of_many() and position > 0 else [])[:, position]
        whole = np.zeros((len(found), len(labels)))
        whole[:, [labels.index(name) for name in run.source_labels]] = found
        parts.append(whole)
    change = parts[1] - parts[0]
    layer, source = np.indices(change.shape).reshape(2, -1)
    table = pd.DataFrame({
        "layer": layer, "row": [f"L{i}" for i in layer], "source": np.array(labels, dtype=object)[source],
        "change": change.ravel(),
    })  # fmt: skip
    return table[table.groupby("source")["change"].transform(lambda of: bool(of.any())).astype(bool)].reset_index(drop=True)


def cells(before: Location, after: Location) -> pd.DataFrame:
    """What each residual holds of the answer's logit after, less before: row, token, where, change; rows after the MLP alone."""
    kept = [i for i, row in enumerate(before.rows) if not row.endswith(".mid")]
    change = (after.by_cell - before.by_cell)[kept]
    row, position = np.indices(change.shape).reshape(2, -1)
    names = [before.rows[i].removesuffix(".post") for i in kept]
    table = pd.DataFrame({
        "row": np.array(names, dtype=object)[row], "token": np.array(before.position_labels, dtype=object)[position],
        "change": change.ravel(),
    })  # fmt: skip
    return table.assign(where=table["row"] + ", " + table["token"])


def weightiest(before: Generation) -> int | None:
    """The position whose token adds most to the answer's logit, but for the first and the last; None where there is no other."""
    parts = before.by_source[0, 1 : before.n_prompt - 1]
    return int(parts.argmax()) + 1 if len(parts) and parts.max() > 0 else None


def writes_most(found: Attention) -> tuple[int, int]:
    """The layer and head that adds most to the likeliest token's logit itself."""
    layer, head = np.unravel_index(int(found.head_logits.argmax()), found.head_logits.shape)
    return int(layer), int(head)


def label(gen: Generation, position: int) -> str:
    """A token of the prompt as pictures call it."""
    return clean(gen.pieces[position])
