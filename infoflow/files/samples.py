"""Stored runs of the presets, so that the first picture needs no model in memory: on the bundled model, and on SmolLM2, whose
weights need not even be on this machine for that.

They are written by `scripts/make_samples.py`, and used only while the weights and the method are still the same.
"""

from functools import cache
from pathlib import Path
from typing import Any

from infoflow.analyses.flow import METHOD, Flow, FlowRequest
from infoflow.analyses.request import Request
from infoflow.files.flows import load
from infoflow.models.catalog import DEMO, SMOLLM2, SMOLLM2_SHA256
from infoflow.models.fingerprint import fingerprint
from infoflow.models.spec import ModelSpec
from infoflow.text.examples import PRESETS

FOLDER = DEMO / "samples"
STORED = ("demo", SMOLLM2)
"""models whose runs are stored"""


def path_of(key: str, model: str = "demo") -> Path:
    """Where the run of a preset on a model is kept."""
    return FOLDER / (f"{key}.npz" if model == "demo" else f"{model}_{key}.npz")


@cache
def _weights(model: str) -> str:
    """The fingerprint of the weights that a stored run must have been made with."""
    return fingerprint(DEMO) if model == "demo" else f"sha256:{SMOLLM2_SHA256[:16]}"


def stored(request: Request[Any]) -> Flow | None:
    """The stored run of a request, or None: another question than a preset's, or made with other weights or an older method."""
    asked = ((p.key, name, FlowRequest(model=ModelSpec(name=name), prompt=p.prompt)) for name in STORED for p in PRESETS)
    found = next(((key, name) for key, name, one in asked if one == request), None)
    if found is None or not path_of(*found).is_file():
        return None
    flow = load(path_of(*found))
    made = flow.provenance
    return flow if made.method == METHOD and made.revision == _weights(found[1]) else None
