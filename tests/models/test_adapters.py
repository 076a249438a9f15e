"""What transformers and the hub's library do not promise to keep is still there, and does what we take it for."""

import inspect

import gguf
import huggingface_hub
import pytest
import transformers
from huggingface_hub import constants
from huggingface_hub.utils._runtime import is_xet_available
from transformers.utils import logging

from infoflow.models import hub_names, progress, transformers_names
from tests.helpers import tiny


def test_attention_and_name_of_a_config() -> None:
    model = tiny.hf_model("llama", attn_implementation="sdpa")
    assert transformers_names.attention_of(model.config) == "sdpa"
    model.set_attn_implementation("eager")
    assert transformers_names.attention_of(model.config) == "eager"
    assert transformers_names.name_of(transformers.LlamaConfig(name_or_path="a/b")) == "a/b"
    assert transformers_names.name_of(transformers.LlamaConfig()) == ""


def test_progress_bars_are_made_by_whom_we_say() -> None:
    before = logging.set_tqdm_hook(None)
    try:
        transformers_names.tell_of_bars(lambda make, args, kwargs: ("ours", args, kwargs))
        assert logging.tqdm([1], desc="x") == ("ours", ([1],), {"desc": "x"})
    finally:
        logging.set_tqdm_hook(before)


def test_loading_reports_its_weights_and_leaves_other_bars_alone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    tiny.hf_model("llama").save_pretrained(tmp_path)
    told: list[tuple[str, float]] = []
    before = logging.set_tqdm_hook(None)
    try:
        with progress.told_to(lambda doing, fraction: told.append((doing, fraction))):
            transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
        assert len(told) > 5 and {doing for doing, _ in told} == {"Reading the weights"}
        bar = logging.tqdm(range(3), desc="somebody else's", disable=True)
        assert type(bar).__module__.startswith(("tqdm", "transformers")) and list(bar) == [0, 1, 2]
    finally:
        logging.set_tqdm_hook(before)


def test_downloads_are_plain_for_as_long_as_ours_take(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert is_xet_available()
    with hub_names.plain_downloads():
        with hub_names.plain_downloads():
            assert not is_xet_available()
        assert not is_xet_available()
    assert is_xet_available() and not constants.HF_HUB_DISABLE_XET


def test_where_the_hub_is_and_what_it_keeps(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/somewhere")
    assert hub_names.address() == "http://127.0.0.1:9" and hub_names.cache_folder() == "/somewhere"
    assert "tqdm_class" in inspect.signature(huggingface_hub.HfApi.hf_hub_download).parameters


def test_a_file_is_parsed_once_inside_and_anew_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr("gguf.GGUFReader", make := lambda path: made.append(path) or path)
    with pytest.raises(OSError, match="broken"), transformers_names.one_reader():
        assert [gguf.GGUFReader(name) for name in ("a", "a", "b")] == ["a", "a", "b"]
        raise OSError("broken")
    assert made == ["a", "b"] and gguf.GGUFReader is make
