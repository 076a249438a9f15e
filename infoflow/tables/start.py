"""The tables of the first page."""

import pandas as pd

from infoflow.analyses.flow import Flow
from infoflow.tables import attribution
from infoflow.text.tokens import visible


def next_tokens(flow: Flow, most: int = 5) -> pd.DataFrame:
    """The likeliest next tokens: name, probability."""
    top = flow.top[:most]
    return pd.DataFrame({"name": [visible(t.token) for t in top], "probability": [t.probability for t in top]})


def raised(flow: Flow) -> pd.DataFrame:
    """What each source adds to the likeliest next token's logit, in reading order: label, logit."""
    table = attribution.logit_parts(flow, flow.top[0].id).sort_values("source")
    return table.rename(columns={"source_label": "label"})
