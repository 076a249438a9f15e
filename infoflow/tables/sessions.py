"""The table of what may be kept in a session."""

from collections.abc import Sequence

import pandas as pd

from infoflow.analyses.request import Request


def looked_at(requests: Sequence[Request[object]]) -> pd.DataFrame:
    """What may be kept: analysis, prompt, model, interventions (how many)."""
    return pd.DataFrame({
        "analysis": [one.analysis.replace("_", " ") for one in requests], "prompt": [one.title for one in requests],
        "model": [one.model.name for one in requests], "interventions": [len(one.interventions) for one in requests],
    })  # fmt: skip
