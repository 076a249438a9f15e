"""The Models page as its reader meets it: search, download with progress, stop, load, use. The hub is on loopback."""

import re
import sys
from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser
from safetensors.torch import load_file, save_file

from tests.browser.conftest import Visitor, serve
from tests.helpers import hub_server, tiny


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub_server.Hub]:
    folder = tmp_path_factory.mktemp("llama")
    tiny.hf_model("llama").save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    weights = folder / "model.safetensors"
    mask = {"model.layers.0.self_attn.masked_bias": torch.zeros(2_000_000)}  # which old checkpoints hold: no weight
    save_file({**load_file(weights), **mask}, weights, metadata={"format": "pt"})
    with hub_server.serve() as running:
        running.folders["tiny/llama"] = folder
        yield running


@pytest.fixture(scope="module")
def hub_app(hub: hub_server.Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("app")
    nowhere = {"HF_ENDPOINT": hub.address, "HF_HOME": str(place / "cache"), "NDIF_HOST": "http://127.0.0.1:9"}
    yield from serve(place, [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"], nowhere)


def test_search_stop_load_and_use(browser: Browser, hub_app: str, hub: hub_server.Hub) -> None:
    context = browser.new_context(viewport={"width": 1300, "height": 1100})
    me = Visitor(context.new_page(), hub_app)
    me.open()
    me.choose("distance")
    me.go_to("Models", "Models")
    me.page.get_by_text("can't be reached from here").wait_for(timeout=60_000)
    me.settle()
    table = me.page.locator('[data-testid="stDataFrame"]').first.bounding_box()
    me.page.mouse.click(table["x"] + 17, table["y"] + 36 * 1.5)  # the first row's box, in a table that is a canvas
    me.settle()
    me.sees("ships with the app")
    me.page.mouse.click(table["x"] + 17, table["y"] + 36 * 3.5)
    me.settle()
    me.sees("about 0.5 GB")
    assert me.page.get_by_role("combobox", name="Model").input_value() == "GPT-2 (124 M)"
    me.page.get_by_role("textbox", name="Search the Hugging Face hub").fill("llama")
    me.page.get_by_role("textbox", name="Search the Hugging Face hub").press("Enter")
    me.settle()
    assert me.page.locator('[data-testid="stDataFrame"]').count() == 2

    box = me.page.get_by_role("combobox", name="Model")
    box.fill("tiny/llama")
    box.press("Enter")
    me.settle()
    hub.flows.clear()  # what takes as long as it must to be stopped
    me.page.get_by_role("button", name="Load here").click()
    me.page.get_by_text("Downloading 1 MB of 8 MB").wait_for(timeout=60_000)
    me.page.get_by_role("button", name="Cancel").click()
    me.page.get_by_text(re.compile("Loading tiny/llama: Stop(ping|ped)")).wait_for(timeout=60_000)  # the hub is still silent
    me.page.get_by_text("The app holds").wait_for(timeout=60_000)  # and the page does not wait
    hub.flows.set()
    me.page.get_by_text("Loading tiny/llama: Stopped.").wait_for(timeout=60_000)
    me.settle()
    assert "tiny/llama is in memory" not in me.text()
    me.page.get_by_role("button", name="Load here").click()
    me.page.get_by_text("tiny/llama is in memory. exact").wait_for(timeout=60_000)
    me.page.get_by_role("button", name="Use here").click()
    me.page.wait_for_selector('[data-testid="stVegaLiteChart"] :is(canvas, svg)', timeout=30_000)
    me.settle()
    me.sees("tokens, each a source: about")
    assert me.page.get_by_role("radio", name="distance").is_checked() and "model=tiny%2Fllama" in me.page.url
    me.go_to("Models", "Models")
    me.settle()
    box = me.page.get_by_role("combobox", name="Model")
    box.fill("tiny/llama")
    box.press("Enter")
    me.choose("on NDIF")  # now a parameter of the address is bound to the sidebar's choice
    me.page.get_by_role("button", name="Use on NDIF").click()
    me.page.get_by_text("can't be reached from here").wait_for(timeout=60_000)
    me.settle()
    me.sees("Below is the last good run")
    assert me.page.get_by_role("radio", name="on NDIF").is_checked()
    context.close()
