"""Stored runs of the presets on the bundled model, so that the first picture needs no model in memory.

They are written by `scripts/make_samples.py`, and used only while the weights and the method are still the same.
"""

from functools import cache
from pathlib import Path
from typing import Any

from infoflow.analyses.flow import METHOD, Flow, FlowRequest
from infoflow.analyses.request import Request
from infoflow.files.flows import load
from infoflow.models.catalog import DEMO
from infoflow.models.fingerprint import fingerprint
from infoflow.text.examples import PRESETS

FOLDER = DEMO / "samples"


def path_of(key: str) -> Path:
    return FOLDER / f"{key}.npz"


@cache
def _demo_fingerprint() -> str:
    return fingerprint(DEMO)


def stored(request: Request[Any]) -> Flow | None:
    """The stored run of a request, or None: another question than a preset's, or made with other weights or an older method."""
    key = next((p.key for p in PRESETS if request == FlowRequest(prompt=p.prompt)), None)
    if key is None or not path_of(key).is_file():
        return None
    flow = load(path_of(key))
    made = flow.provenance
    return flow if made.method == METHOD and made.revision == _demo_fingerprint() else None
