"""A hosted model as its user meets it: key, queue, result, cancel, and a service that dies."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Visitor, serve
from tests.helpers import tiny
from tests.helpers.loopback import KEY, Service, start_service

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    saved = tmp_path_factory.mktemp("llama")
    tiny.hf_model("llama").save_pretrained(saved)
    tiny.tokenizer().save_pretrained(saved)
    return saved


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    running = start_service({"llama": folder}, f"--key={KEY}")
    yield running
    running.end()


@pytest.fixture(scope="module")
def hosted_app(service: Service, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [sys.executable, str(HERE / "hosted_app.py"), f"{folder}=tiny/llama", "--"]
    yield from serve(tmp_path_factory.mktemp("hosted"), command, {"NDIF_HOST": service.host, "NDIF_API_KEY": ""})


@pytest.fixture
def me(browser: Browser, hosted_app: str) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 1500, "height": 1100})
    yield Visitor(context.new_page(), hosted_app)
    context.close()


def test_a_run_from_queued_to_done_one_cancelled_and_the_services_death(me: Visitor, service: Service, folder: Path) -> None:
    me.open()
    me.choose("on NDIF")
    box = me.page.get_by_role("combobox", name="Model")
    box.fill(str(folder))
    box.press("Enter")
    me.run("abc")
    me.sees("The service wants a key")

    service.fault("hold")
    me.page.get_by_test_id("stTextInputField").first.fill(KEY)
    me.page.get_by_test_id("stTextInputField").first.press("Enter")  # what was refused is asked again
    me.page.get_by_text("Queued at position").first.wait_for(timeout=60_000)
    service.fault("go on")
    me.settle().sees("4 tokens, each a source: about")
    me.run("abc def")
    me.sees("exact").sees("8 tokens, each a source: about")
    assert KEY not in me.page.url

    service.fault("silent")
    me.page.get_by_role("textbox", name="Prompt").fill("to be stopped")
    me.page.get_by_role("button", name="Run", exact=True).click()
    service.wait_for_faults()  # else the next run has it
    me.page.get_by_role("button", name="Cancel").click(timeout=60_000)
    me.settle()
    me.sees("The run was stopped").sees("Below is the last good run: abc def")

    service.fault("hold")
    me.page.get_by_role("textbox", name="Prompt").fill("seen from another page")
    me.page.get_by_role("button", name="Run", exact=True).click()
    me.page.get_by_text("Queued at position").first.wait_for(timeout=60_000)
    me.leave_for("Models", "Models")
    me.page.get_by_text("Information flow of “seen from another page”").wait_for(timeout=60_000)
    service.fault("go on")
    me.page.get_by_text("Done in").wait_for(timeout=60_000)
    me.page.get_by_text("1 model, as").wait_for(timeout=60_000)
    runs = len(service.received())
    me.go_to("Look", "Information flow")
    me.settle()
    me.asks("seen from another page")
    me.sees("23 tokens, each a source")
    assert len(service.received()) == runs

    me.go_to("Look", "Answer")
    me.page.get_by_text("Each row sums to").wait_for(timeout=60_000)
    contrast = me.page.get_by_role("combobox", name="Contrast")
    contrast.fill("seen from another pale")
    contrast.press("Enter")
    me.page.get_by_text("beyond the contrast").or_(me.page.get_by_text("No token says more")).first.wait_for(timeout=60_000)
    me.page.get_by_role("radio", name="specific").click()
    me.settle().sees("What each residual says beyond that of “seen from another pale”")
    assert "seen+from+another+pale" in me.page.url

    service.end()
    me.page.goto(f"{me.address}/models?where=on+NDIF")
    me.page.get_by_role("radio", name="here", exact=True).wait_for(timeout=60_000)
    me.settle()
    me.open("/")
    me.run("The sky is")
    assert "exact" in me.text() and "Below is the last good run" not in me.text()
