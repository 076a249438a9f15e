"""Commands run on a model that is loaded once; that they load one by themselves is what runs in processes of their own."""

import pytest

import infoflow
from tests.helpers.loaded_once import load_once


@pytest.fixture(autouse=True)
def loaded_once(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    load_once(demo, monkeypatch)


@pytest.fixture(scope="session")
def session_file(demo: "infoflow.Model", tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A session of one result."""
    path = infoflow.save_session(tmp_path_factory.mktemp("kept") / "session", [infoflow.decompose(demo, "The sky is")])
    return path.read_bytes()
