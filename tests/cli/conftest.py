"""Commands run on a model that is loaded once; that they load one by themselves is what runs in processes of their own."""

import pytest

import infoflow
from infoflow.models import loading
from infoflow.models.spec import ModelSpec


@pytest.fixture(autouse=True)
def loaded_once(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    load = loading.load

    def once(spec: ModelSpec, *more: object, **named: object) -> "infoflow.Model":
        return demo if spec == ModelSpec() else load(spec, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "load", once)


@pytest.fixture(scope="session")
def session_file(demo: "infoflow.Model", tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A session of one result."""
    path = infoflow.save_session(tmp_path_factory.mktemp("kept") / "session", [infoflow.decompose(demo, "The sky is")])
    return path.read_bytes()
