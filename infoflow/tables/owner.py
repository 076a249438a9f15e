"""What the owner of an app is shown, as tables: models and who waits for them, runs, settings."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from pydantic import SecretStr

from infoflow.settings import Settings
from infoflow.text.amounts import in_words


def models(held: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Models in memory: model, memory, runs, waiting, seconds of a run."""
    rows = [(m["name"], in_words(m["bytes"]), m["users"], m["waiting"], m["took"] or None) for m in held]
    return pd.DataFrame(rows, columns=["model", "memory", "runs", "waiting", "seconds of a run"])


def runs(ran: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Runs, the latest first: time, analysis, model, tokens, seconds, waited, outcome, error, visitor, request."""
    columns = ["time", "analysis", "model", "tokens", "seconds", "waited", "outcome", "error", "visitor", "request"]
    found = pd.DataFrame([[run[name] for name in columns] for run in ran], columns=columns)
    return found.assign(time=pd.to_datetime(found["time"], utc=True), tokens=found["tokens"].astype("Int64"))


def in_force(now: Settings) -> pd.DataFrame:
    """Every setting: variable, value, and whether the environment says it. Of a secret, whether there is one."""
    rows = []
    for name in type(now).model_fields:
        value = getattr(now, name)
        variable = {"host": "NDIF_HOST", "key": "NDIF_API_KEY"}.get(name, f"INFOFLOW_{name.upper()}")
        rows.append((variable, _said(value), name in now.model_fields_set))
    return pd.DataFrame(rows, columns=["variable", "value", "set"])


def _said(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "a secret" if value.get_secret_value() else "none"
    return "none" if value in (None, "") else str(int(value)) if isinstance(value, bool) else str(value)
