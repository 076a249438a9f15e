"""The tables of two runs beside each other: a, b, and b - a."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from infoflow.analyses.result import Prediction
from infoflow.studies.compare import Comparison
from infoflow.text.rows import STAGES, row_label
from infoflow.text.tokens import unique, visible

LEAST = 0.001
"""a smaller change of a probability or a share is none to the eye"""
SHOWN = 8
"""so many of the likeliest of each run are compared"""


def next_tokens(found: Comparison) -> pd.DataFrame:
    """The likeliest next tokens of both runs: name (unique), a, b, difference (probabilities; what was not read is less than
    all that was, and counts 0), rank_a and rank_b from 1 (none where it was not read), id. Those that differ most come first."""
    parts = [{p.id: (p.probability, rank + 1) for rank, p in enumerate(top)} for top in found.top]
    ids = list(dict.fromkeys(p.id for top in found.top for p in top[:SHOWN]))
    names = {p.id: p.token for top in found.top for p in top}
    rows = [(i, *parts[0].get(i, (0.0, None)), *parts[1].get(i, (0.0, None))) for i in ids]
    table = pd.DataFrame(rows, columns=["id", "a", "rank_a", "b", "rank_b"]).astype({"rank_a": "Int64", "rank_b": "Int64"})
    table.insert(0, "name", unique([visible(names[i]) for i in ids]))
    table["difference"] = table["b"] - table["a"]
    return table.sort_values("difference", key=np.abs, ascending=False, ignore_index=True, kind="stable")


def drawn(table: pd.DataFrame) -> pd.DataFrame:
    """Those of `next_tokens` whose difference can be seen, and the two largest whatever they are."""
    return table[(table["difference"].abs() >= LEAST) | (table.index < 2)].head(SHOWN)


def percent(p: float) -> str:
    """A probability in a sentence."""
    return f"{p:.1%}" if p >= LEAST else f"less than {LEAST:.1%}"


def moved(top: tuple[Sequence[Prediction], Sequence[Prediction]]) -> str:
    """What became of the first run's likeliest token in the second, in a sentence."""
    first, other = (of[0] for of in top)
    was, now = first.probability, next((p.probability for p in top[1] if p.id == first.id), None)
    name = visible(first.token)
    if now is None:  # it was not read: it is no likelier than any that was, nor than what they leave
        most = max(LEAST, min(top[1][-1].probability, 1 - sum(p.probability for p in top[1])))
        said = f"“{name}” {'falls' if most < was else 'goes'} from {percent(was)} to less than {most:.1%}"
    elif abs(now - was) < LEAST:
        said = f"“{name}” stays at {percent(was)}"
    else:
        said = f"“{name}” {'rises' if now > was else 'falls'} from {percent(was)} to {percent(now)}"
    if other.id == first.id:
        return f"{said}, and is still the likeliest."
    return f"{said}; the likeliest is now “{visible(other.token)}” ({percent(other.probability)})."


def tokens(found: Comparison) -> pd.DataFrame:
    """The pairs of positions: order, a, b (their labels), differs."""
    ours, theirs = ([run.labels[pair[side]] for pair in found.places] for side, run in enumerate((found.a, found.b)))
    return pd.DataFrame({"order": range(len(ours)), "a": ours, "b": theirs, "differs": found.differs})


def _cells(
    up: Sequence[str], across: Sequence[str], a: np.ndarray, b: np.ndarray, kept: np.ndarray | None = None
) -> pd.DataFrame:
    """A map of both runs: order (of its row), place (of its column), row, column, where, a, b, difference."""
    order, place = (at.ravel() for at in np.indices(a.shape))
    table = pd.DataFrame({
        "order": order, "place": place, "row": np.array(up, dtype=object)[order],
        "column": np.array(across, dtype=object)[place], "a": a.ravel().astype(float), "b": b.ravel().astype(float),
    })  # fmt: skip
    table["difference"] = table["b"] - table["a"]
    table["where"] = table["row"] + ", " + table["column"]
    return table if kept is None else table[kept.ravel()].reset_index(drop=True)


def answer(found: Comparison) -> pd.DataFrame:
    """What each residual holds of the answer's logit, a cell each; rows after the MLP alone."""
    rows = found.axis("row").keys
    kept = [i for i, row in enumerate(rows) if not row.endswith(".mid")]
    names = [rows[i].removesuffix(".post") for i in kept]
    return _cells(names, found.axis("position").labels, found.values[0, kept], found.values[1, kept])


def heads(found: Comparison, place: int = -1) -> pd.DataFrame:
    """How much of one position's attention each head moved: layer, head, row, column, moved (half the sum of |difference|, of
    patterns 0 to 1)."""
    change = np.abs(found.difference[:, :, place]).sum(-1) / 2
    layer, head = np.indices(change.shape).reshape(2, -1)
    return pd.DataFrame({
        "layer": layer, "head": head, "row": [f"L{i}" for i in layer], "column": [f"H{i}" for i in head], "moved": change.ravel(),
    })  # fmt: skip


def head(found: Comparison, layer: int, number: int) -> pd.DataFrame:
    """One head's map, a cell for each pair that causality allows; rows are destinations, the last at the bottom."""
    labels = found.labels[::-1]
    turned = found.values[:, layer, number, ::-1]
    return _cells(labels, found.labels, turned[0], turned[1], found.kept[layer, number, ::-1])


def lens(found: Comparison, place: int = -1, mids: bool = True) -> pd.DataFrame:
    """A lens at one position, a cell for each row of the stream and token that both follow; of entropy or KL one a row."""
    rows = found.axis("row").keys
    kept = [i for i, row in enumerate(rows) if mids or not row.endswith(".mid")]
    values = found.values[:, kept, place].reshape(2, len(kept), -1)
    names = found.axes[2].keys if len(found.axes) > 2 else (found.quantity,)
    return _cells([row_label(rows[i]) for i in kept], names, values[0], values[1])


def residual(found: Comparison, place: int = -1, stage: str = "post") -> pd.DataFrame:
    """What one position's residual is made of after every layer: layer, row, source (number), source_label, a, b, difference (of
    the shares). Sources that neither has there are left out."""
    values = found.values[:, :, STAGES.index(stage), place]
    names = found.axis("source").keys
    layer, source = (at.ravel() for at in np.indices(values.shape[1:]))
    table = pd.DataFrame({
        "layer": layer, "row": [f"L{i}" for i in layer], "source": source, "source_label": np.array(names, dtype=object)[source],
        "a": values[0].ravel().astype(float), "b": values[1].ravel().astype(float),
    })  # fmt: skip
    table["difference"] = table["b"] - table["a"]
    there = table.groupby("source")[["a", "b"]].transform(lambda of: bool((of != 0).any())).any(axis=1)
    return table[there.astype(bool)].reset_index(drop=True)


def alike(table: pd.DataFrame) -> bool:
    """Whether no difference can be seen."""
    return bool(table.empty or table["difference"].abs().max() < LEAST)


def left_out(found: Comparison) -> str:
    """What has no counterpart and is in no picture, in a sentence; '' where all has one."""
    said = []
    for name, run, places in zip((found.names.a, found.names.b), (found.a, found.b), found.alone, strict=True):
        if places:
            said.append(f"of {name} “{''.join(run.tokens[p] for p in places).strip()}”")
    return f"Without counterpart, and left out: {', '.join(said)}." if said else ""


def largest(found: Comparison) -> tuple[str, dict[str, Any]]:
    """Where the two are farthest apart, in words, and the place by its axes."""
    place = found.largest
    words = {"layer": "in layer {}", "head": "head {}", "dest": "at “{}”", "src": "on “{}”", "position": "at “{}”",
             "row": "at {}", "source": "in the part of “{}”", "target": "for “{}”", "stage": "{}",
             "token": "for “{}”"}  # fmt: skip
    stage = {"mid": "after attention", "post": "after the MLP"}
    said = [words[axis.name].format(stage.get(place[axis.name], _row(axis.name, place[axis.name]))) for axis in found.axes]
    return ", ".join(said), place


def _row(name: str, key: Any) -> Any:
    return row_label(key) if name == "row" else key
