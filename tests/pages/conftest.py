"""What every test of a page starts from."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from tokenizers import processors

from infoflow.models.catalog import MODELS, Entry
from tests.helpers import tiny


@pytest.fixture(autouse=True)
def of_the_owner() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for may in ("LOCAL_FOLDERS", "UNLOAD", "SHARE_KEY"):
            patch.setenv(f"INFOFLOW_{may}", "1")
        patch.setenv("NDIF_HOST", "http://127.0.0.1:9")  # nobody there, and no test asks the public one
        yield


@pytest.fixture(autouse=True)
def caches(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of a test that puts something else in a function's place nothing is kept, and it is given nothing; others share results,
    as the app's visitors do."""
    changes = "monkeypatch" in request.fixturenames
    if changes:
        st.cache_data.clear()
    yield
    if changes:
        st.cache_data.clear()


@pytest.fixture
def one_token_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model whose tokenizer puts nothing before a text, so that a prompt can be a single token."""
    tokenizer = tiny.tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    tokenizer.save_pretrained(tmp_path)
    tiny.hf_model("llama").save_pretrained(tmp_path)
    monkeypatch.setattr("infoflow.ui.asking.MODELS", (*MODELS, Entry(str(tmp_path), str(tmp_path), "", 0, "")))
    return str(tmp_path)
