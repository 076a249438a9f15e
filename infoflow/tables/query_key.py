"""The tables of a score that is split by the sources of its query and of its key."""

import numpy as np
import pandas as pd

from infoflow.analyses.query_key import QueryKey

OTHER = "(others)"
"""what sources are together that are not shown by themselves"""


def matrix(found: QueryKey, most: int = 24) -> pd.DataFrame:
    """The parts of the `most` sources of each side that have the largest, and of the others together: query_source (last first),
    key_source, part. Sources that have no part are left out."""
    parts, names = found.parts, list(found.source_labels)
    rows, columns = _kept(np.abs(parts).max(1), most), _kept(np.abs(parts).max(0), most)
    across = np.stack([parts[:, some].sum(1) for some in columns], 1)
    both = np.stack([across[some].sum(0) for some in rows])
    up, along = ([names[some[0]] if len(some) == 1 else OTHER for some in side] for side in (rows, columns))
    query, key = (a.ravel() for a in np.indices(both.shape))
    table = pd.DataFrame({
        "query_source": np.array(up, dtype=object)[query], "key_source": np.array(along, dtype=object)[key], "part": both.ravel(),
    })  # fmt: skip
    return table.iloc[::-1].sort_values("key_source", key=lambda s: s.map(along.index), kind="stable", ignore_index=True)


def _kept(sizes: np.ndarray, most: int) -> list[np.ndarray]:
    """The sources that are shown, each by itself, in order; last those that are shown together."""
    there = np.flatnonzero(sizes)
    if len(there) == 0:
        return [np.array([0])]
    if len(there) <= most:
        return [np.array([s]) for s in there]
    large = np.sort(there[np.argsort(-sizes[there], kind="stable")[: most - 1]])
    return [*(np.array([s]) for s in large), np.setdiff1d(there, large)]


def largest(found: QueryKey, n: int = 10) -> pd.DataFrame:
    """The largest parts with a name each, query's source first: name, part."""
    table = found.top(n)
    return pd.DataFrame({"name": [pair(a, b) for a, b in zip(table["query_source"], table["key_source"], strict=True)],
                         "part": table["part"]})  # fmt: skip


def pair(query: str, key: str) -> str:
    """How a part is called."""
    return query if query == key and query.startswith("(") else f"{query} × {key}"


def sides(found: QueryKey) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What each source of the query adds, whatever the key's, and the other way round: label, part. Sources that have no part are
    left out."""
    frames = (side.rename(columns={"source_label": "label"}) for side in (found.by_query(), found.by_key()))
    parts = (np.abs(found.parts).sum(axis) > 0 for axis in (1, 0))
    by_query, by_key = (frame[there].reset_index(drop=True) for frame, there in zip(frames, parts, strict=True))
    return by_query, by_key
