"""Names of axis values: axes are keyed by number, since tokens repeat, and show what the number stands for."""

import json
from collections.abc import Sequence


def by_value(keys: Sequence[float] | Sequence[int], names: Sequence[str]) -> str:
    """A Vega expression that gives the name of an axis value: names may repeat, values don't."""
    return f"{json.dumps({str(k): n for k, n in zip(keys, names, strict=True)})}[datum.value]"
