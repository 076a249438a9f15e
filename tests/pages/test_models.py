"""The Models page: loading, unloading, failures in words."""

import pytest
from huggingface_hub import constants

from infoflow.ui import cache
from tests.helpers.pages import MODELS_PAGE, button, captions, errors, opened


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


def test_a_model_that_can_not_be_loaded_gets_a_sentence_on_the_models_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    app = opened(MODELS_PAGE)
    app.selectbox(key="models_name").set_value("Qwen/Qwen3-0.6B").run()
    assert "about 1.5 GB" in captions(app)
    button(app, "Load here").click().run()
    assert "can't be reached from here" in errors(app)[0]
    app.text_input(key="hub_search").set_value("pythia").run()
    assert "can't be searched from here" in errors(app)[0]
