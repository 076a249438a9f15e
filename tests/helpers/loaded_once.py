"""The bundled model, loaded once for every command of a test."""

import pytest

import infoflow
from infoflow.models import loading
from infoflow.models.spec import ModelSpec


def load_once(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line takes this one for the bundled model; all others it loads."""
    load = loading.load

    def once(spec: ModelSpec, *more: object, **named: object) -> "infoflow.Model":
        return demo if spec == ModelSpec() else load(spec, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "load", once)
