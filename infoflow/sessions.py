"""Save and reopen a run: one .npz of plain arrays and a JSON header; a conversation: JSON. Nothing is ever unpickled."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from infoflow.analyses.flow import Flow, Prediction
from infoflow.errors import InfoflowError
from infoflow.provenance import Provenance
from infoflow.vocabulary import CHAT, PLAIN

_ARRAYS = ("source_of", "embedding_norm", "error", "source_logits")


def _lower(gram: np.ndarray) -> np.ndarray:
    """Gram matrices are symmetric: keep one half."""
    row, column = np.tril_indices(gram.shape[-1])
    return gram[..., row, column]


def _full(lower: np.ndarray, n: int) -> np.ndarray:
    row, column = np.tril_indices(n)
    gram = np.zeros((*lower.shape[:-1], n, n), dtype=lower.dtype)
    gram[..., row, column] = lower
    gram[..., column, row] = lower
    return gram


def save(flow: Flow, path: str | Path) -> None:
    """Write a flow to `path` (.npz)."""
    header: dict[str, Any] = {
        f.name: getattr(flow, f.name)
        for f in fields(Flow)
        if f.name not in _ARRAYS and f.name not in ("gram", "top", "targets", "provenance")
    }
    header |= {
        "top": [asdict(t) for t in flow.top],
        "targets": [asdict(t) for t in flow.targets],
        "provenance": asdict(flow.provenance),
    }
    np.savez_compressed(
        path,
        header=np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        gram_lower=_lower(flow.gram),
        **{name: getattr(flow, name) for name in _ARRAYS},
    )


def load(path: str | Path) -> Flow:
    """Read a flow that `save` wrote.

    Raises:
        InfoflowError: no such file, or not one of ours.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes())
            arrays = {name: stored[name] for name in _ARRAYS}
            gram = _full(stored["gram_lower"], len(header["source_labels"]))
    except FileNotFoundError:
        raise InfoflowError(f"There is no file '{path}'. Check the path.") from None
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InfoflowError(f"'{path}' is no saved run ({error}). Choose a file that infoflow saved.") from error
    for name in ("top", "targets"):
        header[name] = tuple(Prediction(**p) for p in header[name])
    for name in ("tokens", "labels", "token_ids", "word_labels", "source_labels"):
        header[name] = tuple(header[name])
    header["provenance"] = Provenance(**header["provenance"])
    return Flow(gram=gram, **header, **arrays)


MOST_TURNS, MOST_CHARACTERS = 20, 4_000


@dataclass(frozen=True)
class Conversation:
    """What is kept of a conversation: who was asked what, and what was answered."""

    model: str
    revision: str
    form: str
    """chat, or plain text"""
    said: tuple[str, ...]
    """by the user: a question, then corrections"""
    answers: tuple[str, ...]


def save_conversation(found: Conversation) -> bytes:
    """A conversation as JSON."""
    return json.dumps({"infoflow": "conversation", **asdict(found)}, ensure_ascii=False, indent=1).encode()


def load_conversation(data: bytes) -> Conversation:
    """Read what `save_conversation` wrote.

    Raises:
        InfoflowError: not one of ours, or longer than a conversation may be.
    """
    try:
        read = json.loads(data.decode())
        if read.pop("infoflow") != "conversation":
            raise ValueError
        texts = {name: tuple(read[name]) for name in ("said", "answers")}
        found = Conversation(**{**read, **texts})
        if not all(isinstance(v, str) for v in (found.model, found.revision, found.form, *found.said, *found.answers)):
            raise ValueError
        if found.form not in (CHAT, PLAIN):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InfoflowError("This file is no saved conversation. Choose a JSON file that the Corrections page saved.") from None
    if not found.said or len(found.said) > MOST_TURNS or any(len(text) > MOST_CHARACTERS for text in found.said):
        raise InfoflowError(
            f"A conversation has 1 to {MOST_TURNS} turns of at most {MOST_CHARACTERS:,} characters; this has other."
        )
    return found
