"""Save and reopen a run: one .npz of plain arrays and a checked JSON header. Nothing is ever unpickled. A run as JSON."""

import json
from dataclasses import asdict, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from infoflow.analyses.flow import Flow, Said
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.result import Prediction
from infoflow.errors import BadFile, BadPrompt, InfoflowError
from infoflow.files import strict
from infoflow.files.arrays import from_half, lower_half

_ARRAYS = ("source_of", "embedding_norm", "error", "source_logits")


def save(flow: Flow, path: str | Path) -> None:
    """Write a flow to `path` (.npz)."""
    header: dict[str, Any] = {
        f.name: getattr(flow, f.name)
        for f in fields(Flow)
        if f.name not in _ARRAYS and f.name not in ("gram", "top", "targets", "alone", "provenance")
    }
    header |= {
        "top": [asdict(t) for t in flow.top],
        "targets": [asdict(t) for t in flow.targets],
        "alone": [[asdict(said) for said in each] for each in flow.alone],
        "provenance": flow.provenance.to_dict(),
    }
    np.savez_compressed(
        path,
        header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        gram_lower=lower_half(flow.gram),
        **{name: getattr(flow, name) for name in _ARRAYS},
    )


def load(path: str | Path | BytesIO) -> Flow:
    """Read a flow that `save` wrote.

    Raises:
        InfoflowError: no such file, or not one of ours.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            header = dict(_Header.model_validate_json(stored["header"].tobytes()))
            arrays = {name: stored[name] for name in _ARRAYS}
            gram = from_half(stored["gram_lower"])
        made = _provenance(header.pop("provenance"))
    except FileNotFoundError:
        raise InfoflowError(f"There is no file '{path}'. Check the path.") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadPrompt, BadFile) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        named = "It" if isinstance(path, BytesIO) else f"'{path}'"
        raise BadFile(f"{named} is no saved run ({why}). Choose a file that infoflow saved.") from error
    return Flow(gram=gram, provenance=made, **header, **arrays)


class _Header(BaseModel):
    """What the header must hold, each of its type."""

    model_config = ConfigDict(extra="forbid")

    tokens: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    token_ids: tuple[int, ...]
    word_labels: tuple[str, ...]
    source_labels: tuple[str, ...]
    top: tuple[Prediction, ...]
    targets: tuple[Prediction, ...]
    alone: tuple[tuple[Said, ...], ...] = ()
    logit_error: float
    top_agrees: bool
    pattern_row_error: float
    provenance: dict[str, Any]


def _provenance(values: dict[str, Any]) -> Provenance:
    """Of a file's header; one that was saved before requests were has the fields of which they are made."""
    if "request" not in values:
        model = {"name": values.pop("model"), "revision": values.pop("revision"), "dtype": values["dtype"]}
        grouping = values["sources"] if values["sources"] not in ("custom", "groups") else "tokens"
        values["request"] = {"analysis": "flow", "model": model, "prompt": values.pop("prompt"), "sources": grouping}
    return Provenance.from_dict(values)


def as_dict(flow: Flow) -> dict[str, Any]:
    """`attention_norms` and `mlp_norms` as [layer][position][source], tokens, sources, predictions, errors, provenance."""
    return {
        "tokens": list(flow.tokens),
        "labels": list(flow.labels),
        "token_ids": list(flow.token_ids),
        "source_labels": list(flow.source_labels),
        "source_of": flow.source_of.tolist(),
        "attention_norms": flow.norms("mid").tolist(),
        "mlp_norms": flow.norms("post").tolist(),
        "top_predictions": [asdict(t) for t in flow.top],
        "max_error": flow.max_error,
        "logit_error": flow.logit_error,
        "error": flow.error.tolist(),
        "provenance": flow.provenance.to_dict(),
    }


def as_json(flow: Flow) -> bytes:
    return strict.as_json(as_dict(flow), indent=1)
