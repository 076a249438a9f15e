"""How much more of a residual is a name in one run than in another? The swap ratio of a group of sources, by depth.

    S[l] = share of the group (its parts summed as vectors) in a residual after layer l
    swap ratio of a band = exp(mean_l log S_a[l] - mean_l log S_b[l]),   bands: thirds of the layers

A name that the model knows held against one that is made up, in prompts that are the same but for it: what is above 1 is taken
along because it is known. Ratios are of shares of the depth, so that models of other depths can be held against each other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses.flow import Flow
from infoflow.analyses.request import check_position
from infoflow.analyses.result import Result
from infoflow.errors import BadPrompt
from infoflow.metrics.shares import METRICS
from infoflow.studies.compare import Both

BANDS = ("early", "middle", "late")
"""thirds of the layers"""


@dataclass(frozen=True, kw_only=True)
class SwapRatio(Result):
    """How much of a residual one group of sources is in two runs, by layer and by thirds of the depth."""

    group: tuple[str, str]
    """the tokens of the group in each, as text"""
    metric: str
    position: int | None
    """whose residual it is a share of; None for the mean of all after the group"""
    a: Float[np.ndarray, " layer"]
    """share after every layer"""
    b: Float[np.ndarray, " other_layer"]
    provenance: Both

    @property
    def ratios(self) -> dict[str, float]:
        """a over b by band, as a geometric mean over its layers; NaN where a share is nothing or below it."""
        return dict(zip(*(self.to_frame()[name].tolist() for name in ("band", "ratio")), strict=True))

    def to_frame(self) -> pd.DataFrame:
        """One row a band: band, first and last (layers of `a`), a, b (geometric means of the shares), ratio (a over b),
        difference (b - a)."""
        bands = [np.array_split(shares.astype(np.float64), len(BANDS)) for shares in (self.a, self.b)]
        layers = np.array_split(np.arange(len(self.a)), len(BANDS))
        rows = [
            (name, int(at[0]), int(at[-1]), _geometric(one), _geometric(other))
            for name, at, one, other in zip(BANDS, layers, *bands, strict=True)
            if len(one) and len(other)
        ]
        table = pd.DataFrame(rows, columns=["band", "first", "last", "a", "b"])
        return table.assign(ratio=table["a"] / table["b"], difference=table["b"] - table["a"])


def _geometric(shares: np.ndarray) -> float:
    return float(np.exp(np.log(shares).mean())) if (shares > 0).all() else float("nan")


def swap_ratio(
    a: Flow,
    b: Flow,
    group: str | Sequence[int],
    other: str | Sequence[int] | None = None,
    position: int | None = -1,
    metric: str = "norm",
) -> SwapRatio:
    """How much more of a residual a group of tokens is in one run than in another: a known name against one made up.

    `group` is a text of the prompt of `a` (every place where it stands) or positions of it, `other` that of `b`, where it is
    another. Its tokens' parts are summed as vectors; the first token is set aside. `position`: whose residual; None for
    the mean of all after the group. Runs of other lengths, depths and tokenizers can be held against each other.

    Raises:
        BadPrompt: a group that is not there, holds the first token, or shares a source with other tokens; no position after it.
    """
    if metric not in METRICS:
        raise BadPrompt(f"There is no metric '{metric}'. Use one of: {', '.join(METRICS)}.")
    groups = (group, group if other is None else other)
    found = [_share_of(run, some, position, metric) for run, some in zip((a, b), groups, strict=True)]
    given: dict[str, Any] = {"group": groups[0] if isinstance(groups[0], str) else tuple(groups[0])}
    given |= {} if other is None else {"other": other if isinstance(other, str) else tuple(other)}
    given |= {} if position == -1 else {"position": position}
    given |= {} if metric == "norm" else {"metric": metric}
    return SwapRatio(
        group=(found[0][0], found[1][0]), metric=metric, position=position, a=found[0][1], b=found[1][1],
        provenance=Both(a=a.provenance, b=b.provenance, options=given, function="swap_ratio"),
    )  # fmt: skip


def _share_of(run: Flow, group: str | Sequence[int], position: int | None, metric: str) -> tuple[str, np.ndarray]:
    """What a group is called, and its share after every layer."""
    n = len(run.tokens)
    at = places_of(run, group) if isinstance(group, str) else list(group)
    for place in at if position is None else (*at, position):
        check_position(place, n)
    at = [place % n for place in at]
    if not at or 0 in at:
        raise BadPrompt(
            "The group holds the first token, or none: give words or positions after it." if at else "The group is empty."
        )
    inside = set(run.source_of[at].tolist())
    mixed = [p for p in range(n) if int(run.source_of[p]) in inside and p not in at]
    if mixed:
        raise BadPrompt(
            f"The source “{run.source_labels[int(run.source_of[mixed[0]])]}” holds tokens of the group and others. Decompose "
            "with sources='tokens'."
        )
    name = "".join(run.tokens[p] for p in sorted(set(at))).strip()
    labels = [name if s in inside else f"{s}: {label}" for s, label in enumerate(run.source_labels)]
    whole = run.grouped(labels)
    reads = list(range(max(at) + 1, n)) if position is None else [position % n]
    if not reads:
        raise BadPrompt(f"No position comes after “{name}”. Go on with the prompt, or give a position.")
    shares = whole.shares(metric, hidden=(0,) if whole.first_is_one_of_many() else ())
    return name, np.asarray(shares[:, reads, whole.source_labels.index(name)].mean(1), dtype=np.float32)


def places_of(run: Flow, text: str) -> list[int]:
    """Positions of the tokens that a text stands in, wherever it stands.

    Raises:
        BadPrompt: it does not.
    """
    ends = np.cumsum([len(token) for token in run.tokens])
    wanted, whole = text.strip(), "".join(run.tokens)
    there = bool(wanted) and len(wanted) <= len(whole)
    spans = [m.span() for m in re.finditer(rf"(?<!\w){re.escape(wanted)}(?!\w)", whole)] if there else []
    found = [p for p, end in enumerate(ends) if any(first < end and last > end - len(run.tokens[p]) for first, last in spans)]
    if not found:
        raise BadPrompt(f"The prompt “{run.provenance.prompt}” has no “{text}”.")
    return found
