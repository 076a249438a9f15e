"""A hub for tests of models that are fetched."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.helpers import hub_server, tiny


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    folder = tmp_path / "model"
    tiny.hf_model("llama", vocab_size=300).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    with hub_server.serve() as running:
        running.folders["tiny/llama"] = folder
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running
