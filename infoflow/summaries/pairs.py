"""What pairs of heads say: which two depart most from the sum of what each does."""

import numpy as np

from infoflow.analyses.pairs import Pairs
from infoflow.summaries.patching import HARDLY
from infoflow.summaries.sentence import Sentence
from infoflow.tables import pairs as tables

SLIGHT = 0.02
"""of the way between the two runs, below which two heads are said to act side by side"""


def sentences(found: Pairs) -> tuple[Sentence, ...]:
    """The pair with the largest interaction."""
    if found.hardly:
        return (Sentence(HARDLY),)
    n = len(found.heads)
    apart = tables.strongest(found, "recovery", 1).iloc[0]
    beyond = float(apart["beyond their sum"])
    if not np.isfinite(beyond) or abs(beyond) < SLIGHT:
        return (Sentence(f"Of {n} heads any two change together what they change one by one, to {SLIGHT:.0%} of the way."),)
    values = [float(apart[name]) for name in ("first", "second", "together")]
    why = _why(values, beyond, found.direction)
    alone = f"alone {values[0]:+.0%} and {values[1]:+.0%} of the way, together {values[2]:+.0%}"
    return (Sentence(f"Of pairs among {n} heads {apart['pair']} depart most from their sum: {alone}{why}."),)


def _why(values: list[float], beyond: float, direction: str) -> str:
    if values[0] * values[1] <= 0:
        return f", {'more' if beyond > 0 else 'less'} than the sum"
    if values[0] * beyond < 0:
        return f", less than the sum: {tables.LESS[direction]}"
    return f", more than the sum: {tables.MORE[direction]}"
