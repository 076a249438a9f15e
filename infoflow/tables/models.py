"""Which models there are: the catalogue, what is in memory, on the hosted service and on the hub, as tables for a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from infoflow.models.architectures import FAMILIES
from infoflow.models.catalog import MODELS, SMOLLM2, Entry
from infoflow.ndif.service import Deployment
from infoflow.text.amounts import in_words

if TYPE_CHECKING:
    import infoflow.models.hub


@dataclass(frozen=True)
class Held:
    """A model in memory."""

    name: str
    family: str
    parameters: int
    """in millions"""
    dtype: str
    device: str
    bytes: int
    verdict: str
    revision: str = ""


def models(held: Sequence[Held], up: Sequence[Deployment] | None, free: int, per_parameter: int = 4) -> pd.DataFrame:
    """The catalogue and whatever else is in memory: name, family, parameters (millions), needs, fits here, in memory, on NDIF,
    self-test.

    `up` is what the service has, None where that is not known; `free` bytes of memory are left, and weights take
    `per_parameter` bytes each.
    """
    rows: list[tuple[Any, ...]] = []
    states = {d.name: _level(d) for d in up or ()}
    held = _told_apart(held)
    others = {h.name: Entry(h.name, h.name, h.family, h.parameters, "") for h in held if h.name not in _CATALOGUE}
    entries = [*MODELS, *others.values()]
    for entry in entries:
        here = [h for h in held if h.name == entry.name]
        needs = entry.parameters * 1_000_000 * per_parameter
        there = "unknown" if up is None else states.get(entry.name, "")
        rows.append((
            entry.name, entry.family, entry.parameters, in_words(needs),
            bool(here) or needs < free, ", ".join(f"{h.dtype} on {h.device}, {in_words(h.bytes)}" for h in here),
            "" if entry.name in ("demo", SMOLLM2) else there, ", ".join(dict.fromkeys(h.verdict for h in here)),
        ))  # fmt: skip
    columns = ["name", "family", "parameters", "needs", "fits here", "in memory", "on NDIF", "self-test"]
    return pd.DataFrame(rows, columns=columns)


def _told_apart(held: Sequence[Held]) -> list[Held]:
    """Models of one name and several revisions, each by its own: owner/model@0123abc."""
    revisions = {name: {h.revision for h in held if h.name == name} for name in {h.name for h in held}}
    return [replace(h, name=f"{h.name}@{h.revision}") if len(revisions[h.name]) > 1 else h for h in held]


_CATALOGUE = {entry.name for entry in MODELS}


def _level(found: Deployment) -> str:
    return {"HOT": "in memory", "WARM": "warm"}.get(found.level, found.level.lower())


def deployed(listed: Sequence[Deployment]) -> pd.DataFrame:
    """What the hosted service lists: model, revision, state, and whether it is in memory there."""
    rows = [(d.name, d.revision, d.state.lower(), _level(d)) for d in listed]
    return pd.DataFrame(rows, columns=["model", "revision", "state", "level"])


def versions(found: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Versions of packages: package, here, there."""
    return pd.DataFrame([(name, *both) for name, both in found.items()], columns=["package", "here", "there"])


def found_on_hub(found: "Sequence[infoflow.models.hub.Found]", free: int, per_parameter: int = 4) -> pd.DataFrame:
    """What a search gave: name, family, supported, parameters (millions), fits here, gated, downloads."""
    rows = [
        (
            f.name,
            f.family,
            f.family in FAMILIES,
            f.parameters or None,
            bool(f.parameters) and f.parameters * 1_000_000 * per_parameter < free,
            f.gated,
            f.downloads,
        )
        for f in found
    ]
    return pd.DataFrame(rows, columns=["name", "family", "in the table", "parameters", "fits here", "gated", "downloads"])
