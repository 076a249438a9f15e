"""A report opens from a file, with no network, and every chart of it is drawn."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

import infoflow
from infoflow.charts.palette import DARK, LIGHT
from infoflow.files.reports import Part

PROMPT = "Paris is 東 </script><script>broken=1</script> <img src=x onerror=broken=1>"
DRAWN = """() => [...document.querySelectorAll("[data-chart]")].map(place => {
    const canvas = place.querySelector("canvas");
    if (!canvas) { return 0; }
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return new Set(new Uint32Array(pixels.buffer)).size;
})"""
"""how many colours each chart has"""


@pytest.fixture(scope="module")
def report(demo: "infoflow.Model", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five results of a prompt that would like to be more than text."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    some: list[Callable[[Any, str], Any]] = [infoflow.decompose, infoflow.attention, infoflow.logit_lens, infoflow.locate]
    made = [each(demo, PROMPT) for each in some]
    infoflow.report([*made, Part(infoflow.generate(demo, PROMPT, 3), note=PROMPT)], file, title=PROMPT, note=PROMPT)
    return file


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[tuple[Page, list[str], list[str]]]:
    """It, opened without a network, with what it asked for and what it complained of."""
    context = browser.new_context(offline=True, color_scheme=request.param)
    asked: list[str] = []
    wrong: list[str] = []
    context.route("**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
    opened = context.new_page()
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    opened.goto(report.as_uri())
    opened.wait_for_function(f"document.querySelectorAll('[data-drawn={request.param}]').length === 5", timeout=60_000)
    yield opened, asked, wrong
    context.close()


def test_a_report_is_whole_without_a_network(page: tuple[Page, list[str], list[str]], report: Path) -> None:
    opened, asked, wrong = page
    assert asked == [report.as_uri()] and wrong == []
    assert all(colours > 20 for colours in opened.evaluate(DRAWN))
    assert opened.evaluate("globalThis.broken") is None and opened.inner_text("h1") == PROMPT
    before = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    theme = opened.evaluate("document.documentElement.dataset.theme")
    other = "light" if theme == "dark" else "dark"
    opened.get_by_role("button", name="Dark or light").click()
    opened.wait_for_function(f"document.querySelectorAll('[data-drawn={other}]').length === 5", timeout=60_000)
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") != before
    chart = opened.locator("[data-chart=chart-2] canvas")
    box = chart.bounding_box()
    assert box is not None
    chart.hover(position={"x": 0.12 * box["width"], "y": 0.3 * box["height"]})  # it answers to the pointer
    opened.wait_for_selector("#vg-tooltip-element.visible", timeout=10_000)
    opened.get_by_text("Python that makes it again").first.click()
    assert "infoflow.decompose(" in opened.locator("code").first.inner_text()
    assert asked == [report.as_uri()] and wrong == [] and opened.evaluate("globalThis.broken") is None


def test_what_is_printed_is_whole_and_can_be_read(page: tuple[Page, list[str], list[str]]) -> None:
    """A dark page keeps its paper, whose letters are light; a chart that is wider than the paper is made smaller."""
    opened, _, _ = page
    opened.set_viewport_size({"width": 500, "height": 700})
    widths = "() => [...document.querySelectorAll('canvas')].map(one => one.getBoundingClientRect().right)"
    assert max(opened.evaluate(widths)) > 500
    opened.emulate_media(media="print")
    assert max(opened.evaluate(widths)) <= 500
    assert opened.evaluate("getComputedStyle(document.body).printColorAdjust") == "exact"


def test_a_page_gives_its_view_as_a_report_and_as_a_figure(visitor: Callable[..., Any], browser: Browser, tmp_path: Path) -> None:
    """From a dark page a light figure of true size, with its caption to copy, and a report that opens offline."""
    seen = visitor(scheme="dark").open("/answer")
    page: Page = seen.page
    page.get_by_role("button", name="For a paper").click()
    seen.settle()
    page.get_by_role("radio", name="2 columns", exact=True).click()
    seen.settle()
    assert "Where the answer is" in page.locator('[data-testid="stPopoverBody"] code').inner_text()
    with page.expect_download() as given:
        page.locator(".st-key-paper_svg button").click()
    given.value.save_as(tmp_path / "figure.svg")
    figure = (tmp_path / "figure.svg").read_text()
    assert 'width="6.75in"' in figure and 'fill="#ffffff"' in figure and LIGHT.muted in figure and DARK.muted not in figure
    page.keyboard.press("Escape")
    seen.settle()
    with page.expect_download() as given:
        page.get_by_role("button", name="Report", exact=True).click()
    given.value.save_as(tmp_path / "view.html")
    context = browser.new_context(offline=True)
    opened = context.new_page()
    opened.goto((tmp_path / "view.html").as_uri())
    opened.wait_for_selector("[data-drawn=light]", timeout=60_000)
    assert opened.inner_text("h1").startswith("Where the answer is") and opened.evaluate(DRAWN)[0] > 20
    context.close()
