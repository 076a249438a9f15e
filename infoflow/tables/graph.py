"""The tables of the graph of a logit: its cells, its edges, what arrives from each token; where they stand in the picture."""

import numpy as np
import pandas as pd

from infoflow.analyses.graph import Graph
from infoflow.text.rows import row_title
from infoflow.text.tokens import visible

NAMED = 2
"""so many heads of one move are named in the picture, of those that do a third of what the first does"""
EVERY_COLUMN = 40
"""of a prompt with more tokens, those that nothing kept goes through have no column"""
QUIET = 3
"""so many rows or more in which all stays where it is are drawn together, in the room of `_TOGETHER`"""
_TOGETHER = 2.0


def what(found: Graph) -> str:
    """What is followed back, as a caption names it."""
    target = f"“{visible(found.target_name)}”"
    against = found.against_name
    return f"the logit of {target}" if against is None else f"{target} over “{visible(against)}”"


def moves(found: Graph) -> str:
    """The kept moves, as a caption counts them."""
    n = int(found.edges.moves.sum())
    size = f" of at least {100 * found.threshold:.2g}% of it" if found.threshold else ""
    return f"{n or 'no'} move{'s' * (n > 1)} between positions{size}"


def columns(found: Graph) -> list[int]:
    """The positions that are drawn, from left to right."""
    n = len(found.labels)
    return list(range(n)) if n <= EVERY_COLUMN else np.unique(found.nodes.position).tolist()


def rows(found: Graph) -> pd.DataFrame:
    """The rows as they stand in the picture, from the embeddings up: place, name; from low to high those drawn together."""
    place, quiet = _places(found)
    names = [row.removesuffix(".post") for row in found.rows]
    alone = [(place[row], names[row], np.nan, np.nan) for row in range(len(names)) if not any(a <= row <= b for a, b in quiet)]
    runs = [((place[a - 1] + place[b + 1]) / 2, f"{names[a]}–{names[b]}", place[a - 1], place[b + 1]) for a, b in quiet]
    frame = pd.DataFrame([*alone, *runs], columns=["place", "name", "low", "high"])
    return frame.sort_values("place", ignore_index=True)


def _places(found: Graph) -> tuple[list[float], list[tuple[int, int]]]:
    """How high each row stands, and from which to which rows are drawn together: where nothing but staying happens."""
    n, of = len(found.rows), found.edges
    moved = of.layer[of.moves]
    busy = np.isin(np.arange(n), [*moved, *(moved + 1), 0, n - 1])
    quiet, row = [], 0
    while row < n:
        end = row
        while end < n and not busy[end]:
            end += 1
        if end - row >= QUIET:
            quiet.append((row, end - 1))
        row = end + 1
    step = np.ones(n - 1)
    for first, last in quiet:
        step[first - 1 : last + 1] = _TOGETHER / (last - first + 2)
    return [0.0, *step.cumsum().tolist()], quiet


def nodes(found: Graph) -> pd.DataFrame:
    """One per cell of the graph: order (its row, from the embeddings up), where, position, label, amount, place and column, and
    whether something happens there (turn): a kept move leaves or arrives, or a path begins or ends."""
    of, edge = found.nodes, found.edges
    moves, place = edge.moves, np.array(_places(found)[0])
    leaves = zip(edge.layer[moves].tolist(), edge.source[moves].tolist(), strict=True)
    arrives = zip((edge.layer[moves] + 1).tolist(), edge.dest[moves].tolist(), strict=True)
    busy, last = {*leaves, *arrives}, len(found.rows) - 1
    cells = list(zip(of.row.tolist(), of.position.tolist(), strict=True))
    return pd.DataFrame({
        "order": of.row, "where": [row_title(found.rows[row]) for row, _ in cells], "position": of.position,
        "label": np.array(found.position_labels, dtype=object)[of.position], "amount": of.amount, "place": place[of.row],
        "column": np.searchsorted(columns(found), of.position), "turn": [c in busy or c[0] in (0, last) for c in cells],
    })  # fmt: skip


def edges(found: Graph) -> pd.DataFrame:
    """`Graph.to_frame`, the largest first; with place and column of both ends (place_to, column_to) and short, the heads that do
    most by name."""
    frame, place, shown = found.to_frame(), np.array(_places(found)[0]), columns(found)
    frame = frame.assign(
        short=[_short(found, edge) for edge in range(len(frame))],
        place=place[frame["layer"]], place_to=place[frame["layer"] + 1],
        column=np.searchsorted(shown, frame["source"]), column_to=np.searchsorted(shown, frame["dest"]),
    )  # fmt: skip
    return frame.sort_values("amount", key=np.abs, ascending=False, ignore_index=True, kind="stable")


def _short(found: Graph, edge: int) -> str:
    heads, amounts = found.edges.head[edge].tolist(), np.abs(found.edges.head_amount[edge])
    some = [head for head, amount in zip(heads, amounts, strict=True) if head >= 0 and amount > amounts[0] / 3][:NAMED]
    return ", ".join(f"{found.edges.layer[edge]}.{head}" for head in some)


def sources(found: Graph) -> pd.DataFrame:
    """One per token that has a column: column, position, label, kept (what of it arrives along kept paths), every (along all
    paths), there (whether kept paths begin at it)."""
    at = columns(found)
    return pd.DataFrame({
        "column": range(len(at)), "position": at, "label": [found.position_labels[p] for p in at],
        "kept": found.by_source[at], "every": found.all_by_source[at], "there": np.isin(at, found.nodes.position),
    })  # fmt: skip
