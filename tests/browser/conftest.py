"""A running app and a headless Chromium. Without a Chromium the tests skip with the reason; under CI=true they fail."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.helpers.served import serve

ROOT = Path(__file__).parents[2]
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--process-per-site",
    "--font-render-hinting=none",  # letters as wide as where there are windows
]  # fmt: skip
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def _chromium(playwright: Playwright) -> str:
    on_path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if on_path:
        return on_path
    if os.path.exists(playwright.chromium.executable_path):
        return playwright.chromium.executable_path
    reason = "no Chromium on PATH and none of playwright's; `make browser` installs one"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=_chromium(playwright), args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as `make app` starts it, with no sessions saved yet."""
    own = {"INFOFLOW_SESSIONS": str(tmp_path_factory.mktemp("sessions"))}
    yield from serve(tmp_path_factory.mktemp("server"), [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"], own)


STILL = """() => new Promise(done => {
    let rest;
    const end = () => { seen.disconnect(); done(); };
    const again = () => { clearTimeout(rest); rest = setTimeout(end, 120); };
    const seen = new MutationObserver(again);
    seen.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
    again();
    setTimeout(end, 2000);
})"""
"""until nothing on the page has changed for a while"""


RESTS = """() => document.querySelector('[data-testid="stApp"]').dataset.testScriptState === "notRunning"
    && !document.querySelector('[data-stale="true"]')"""
"""no script runs, and nothing is left that one which runs would draw anew"""
AT_ONCE = """document.addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style");
    style.textContent = "*, ::before, ::after { transition: none !important; animation-duration: 0s !important; }";
    document.head.append(style);
})"""
"""what changes its colour or place does so at once, as with reduced motion"""
BEGUN = """globalThis.begun = 0;
new MutationObserver(changes => begun += changes.filter(one => one.oldValue === "notRunning").length).observe(
    document, {subtree: true, attributeFilter: ["data-test-script-state"], attributeOldValue: true})"""
"""how many times a script has begun to run after another"""


class Visitor:
    """A page of the app, with what a person does on it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.requests: list[str] = []
        self.failures: list[str] = []
        self.begun = 0
        """runs until it last rested"""
        page.add_init_script(AT_ONCE)
        page.add_init_script(BEGUN)
        page.on("request", lambda r: self.requests.append(r.url))
        page.on("pageerror", lambda e: self.failures.append(str(e)))
        page.on("console", lambda m: self.failures.append(m.text) if "Content Security Policy" in m.text else None)

    def open(self, path: str = "/") -> "Visitor":
        self.page.goto(self.address + path)
        self.page.wait_for_selector('[data-testid="stVegaLiteChart"] :is(canvas, svg)', timeout=90_000)
        return self.rest()

    def reload(self) -> "Visitor":
        self.page.reload()
        self.page.wait_for_selector('[data-testid="stVegaLiteChart"] :is(canvas, svg)', timeout=90_000)
        return self.rest()

    def settle(self) -> "Visitor":
        """Wait until the script rests and the page with it, and check that nothing broke."""
        with suppress(PlaywrightTimeoutError):  # what was done may run nothing
            self.page.wait_for_function("before => begun !== before", arg=self.begun, timeout=250)
        return self.rest()

    def rest(self) -> "Visitor":
        """The same of what runs nothing that has not begun."""
        self.page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=90_000)
        self.page.evaluate(STILL)
        self.page.wait_for_function(RESTS, timeout=90_000)
        self.begun = self.page.evaluate("begun")
        assert self.page.locator('[data-testid="stException"]').count() == 0
        assert not self.failures
        return self

    def sees(self, text: str) -> "Visitor":
        """Wait until the page says so: for what comes of a key or a click at a time of its own."""
        if text in self.text():
            return self
        holds = "text => document.querySelector('[data-testid=\"stMain\"]').innerText.includes(text)"
        with suppress(PlaywrightTimeoutError):
            self.page.wait_for_function(holds, arg=text, timeout=60_000)
        assert text in self.text()
        return self.settle()

    def asks(self, prompt: str) -> "Visitor":
        """Wait until the prompt is this one: the box is there before what it holds."""
        expect(self.page.get_by_role("textbox", name="Prompt")).to_have_value(prompt, timeout=60_000)
        return self

    def run(self, prompt: str) -> "Visitor":
        self.page.get_by_role("textbox", name="Prompt").fill(prompt)
        self.page.get_by_role("button", name="Run", exact=True).click()
        return self.settle()

    def go_to(self, section: str, page: str) -> "Visitor":
        """Another page, by the menu on top."""
        return self.leave_for(section, page).settle()

    def leave_for(self, section: str, page: str) -> "Visitor":
        """The same, without waiting until it rests."""
        self.page.get_by_test_id("stTopNavSection").filter(has_text=section).first.click()
        self.page.get_by_role("menuitem", name=page, exact=True).click()
        return self

    def more(self) -> "Visitor":
        """Open or close the controls that matter less."""
        self.page.locator(".st-key-more button").first.click()
        return self.settle()

    def choose(self, option: str) -> "Visitor":
        """Click one of a row of options."""
        self.page.get_by_role("radio", name=option, exact=True).click()
        return self.settle()

    @property
    def grid(self):  # type: ignore[no-untyped-def]
        return self.page.locator('[data-testid="stVegaLiteChart"]').first

    def click_grid(self, across: float, down: float) -> "Visitor":
        """Click the grid at a fraction of its width and height."""
        self.grid.scroll_into_view_if_needed()
        box = self.grid.bounding_box()
        self.page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
        return self.settle()

    def text(self) -> str:
        return self.page.inner_text('[data-testid="stMain"]')


def window_on(browser: Browser, address: str) -> Iterator[BrowserContext]:
    """Where pages of a server are opened: what Streamlit is made of is fetched and compiled once."""
    context = browser.new_context(accept_downloads=True)
    context.new_page().goto(f"{address}/_stcore/health")  # stays open, and with it the process that has compiled the rest
    yield context
    context.close()


Scheme = Literal["light", "dark"]


def page_in(window: BrowserContext, scheme: Scheme, width: int, height: int) -> Page:
    """A page, with a session of its own."""
    page = window.new_page()
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    return page


def cleared(window: BrowserContext, before: list[Page]) -> None:
    """The pages that a test has opened are closed, and nothing is left of them."""
    for page in (one for one in window.pages if one not in before):
        page.evaluate("() => localStorage.clear()")
        page.close()


@pytest.fixture(scope="session")
def window(browser: Browser, app: str) -> Iterator[BrowserContext]:
    yield from window_on(browser, app)


@pytest.fixture
def visitor(window: BrowserContext, app: str) -> Iterator[Callable[..., Visitor]]:
    """Opens a page of its own for each call: visitor(scheme="dark", width=900)."""

    before = window.pages

    def new(scheme: Scheme = "light", width: int = 1400, height: int = 1100) -> Visitor:
        return Visitor(page_in(window, scheme, width, height), app)

    yield new
    cleared(window, before)
