"""How soon a reader sees something: the real app in headless Chromium, medians of ten, with what travels to the browser.

    .venv/bin/python benchmarks/pages.py

Cold start: from the start of the server's process to the first picture, on a machine whose disk cache is warm. The others: from
the click to the last change of the page (its script rests, and the picture is drawn). The bundled model has 6 layers and 15
tokens here; SmolLM2's run of 30 layers and 30 tokens was made before and is in the app's cache.
"""

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
LONG = "When Mary and John went to the store, John gave a drink to Mary. When Mary and John went home again, John gave a book to"
RESTS = '[data-testid="stApp"][data-test-script-state="notRunning"]'
DRAWN = '[data-testid="stMain"] [data-testid="stVegaLiteChart"] :is(canvas, svg)'
STILL = """() => new Promise(done => {
    let last = performance.now();
    const seen = new MutationObserver(() => { last = performance.now(); });
    seen.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
    const look = () => performance.now() - last > 150
        && document.querySelector('[data-testid="stApp"]').dataset.testScriptState === 'notRunning'
        ? (seen.disconnect(), done(performance.now() - last)) : setTimeout(look, 20);
    setTimeout(look, 60);
})"""


@contextmanager
def server(port: int):  # type: ignore[no-untyped-def]
    """The app, until the end of the block; gives when its process was started."""
    command = [
        sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless=true", f"--server.port={port}",
        "--server.address=127.0.0.1",
    ]  # fmt: skip
    begun = time.perf_counter()
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
                break
            time.sleep(0.02)
        yield begun
    finally:
        running.terminate()
        running.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Browser:
    """A page that counts what it is sent."""

    def __init__(self, page: Page) -> None:
        self.page, self.received = page, 0
        page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _count(self, payload: str | bytes) -> None:
        self.received += len(payload)

    def timed(self, act: Callable[[], object]) -> tuple[float, float]:
        """Seconds from an act to the last change of the page, and kilobytes that came."""
        before, begun = self.received, time.perf_counter()
        act()
        quiet = self.page.evaluate(STILL) / 1000
        return time.perf_counter() - begun - quiet, (self.received - before) / 1000


def walked(browser: Browser, address: str, times: int) -> dict[str, list[tuple[float, float]]]:
    """Each step, so many times."""
    page = browser.page
    page.goto(address)
    page.wait_for_selector(DRAWN, timeout=300_000)
    page.wait_for_selector(RESTS, timeout=300_000)
    page.evaluate(STILL)
    found: dict[str, list[tuple[float, float]]] = {"metric change": [], "click on a bar": [], "page change": []}
    grid = page.locator('[data-testid="stMain"] [data-testid="stVegaLiteChart"]').first

    def click(across: float, down: float) -> None:
        box = grid.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)

    def to(name: str) -> None:
        page.get_by_test_id("stTopNavSection").filter(has_text="Look").first.click()
        page.get_by_role("menuitem", name=name, exact=True).click()

    for name in ("Attention", "Information flow"):  # what a first visit runs and caches is not timed
        to(name)
        page.wait_for_selector(RESTS, timeout=300_000)
        page.evaluate(STILL)
    for number in range(times):
        for metric in ("projection", "norm"):
            option = page.get_by_role("radio", name=metric, exact=True)
            found["metric change"].append(browser.timed(option.click))
        place = 0.2 + 0.06 * number, 0.2 + 0.05 * number
        found["click on a bar"].append(browser.timed(lambda place=place: click(*place)))  # type: ignore[misc]
        found["page change"].append(browser.timed(lambda: to("Attention")))
        to("Information flow")
        page.evaluate(STILL)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--times", type=int, default=10)
    options.add_argument("--warm", action="store_true", help="no cold starts")
    asked_for = options.parse_args()
    times = asked_for.times
    print("| step | run | median | slowest | to the browser |\n|---|---|---|---|---|")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )

        def opened() -> Browser:
            return Browser(chromium.new_context(viewport={"width": 1440, "height": 900}).new_page())

        def row(step: str, run: str, seen: list[tuple[float, float]]) -> None:
            seconds, kilobytes = [s for s, _ in seen], statistics.median(k for _, k in seen)
            print(
                f"| {step} | {run} | {statistics.median(seconds):.2f} s | {max(seconds):.2f} s | {kilobytes:.0f} kB |", flush=True
            )

        cold = []
        for _ in range(0 if asked_for.warm else times):
            port = free_port()
            with server(port) as begun:
                browser = opened()
                browser.page.goto(f"http://127.0.0.1:{port}")
                browser.page.wait_for_selector(DRAWN, timeout=120_000)
                cold.append((time.perf_counter() - begun, browser.received / 1000))
                browser.page.context.close()
        if cold:
            row("cold start to the first picture", "bundled, 6 layers, 15 tokens", cold)
        port = free_port()
        with server(port):
            runs = {
                "bundled, 6 layers, 15 tokens": {},
                "SmolLM2, 30 layers, 30 tokens": {"model": "smollm2", "prompt": LONG},
            }
            for run, asked in runs.items():
                browser = opened()
                for step, seen in walked(browser, f"http://127.0.0.1:{port}/?{urlencode(asked)}", times).items():
                    row(step, run, seen)
                browser.page.context.close()


if __name__ == "__main__":
    main()
