"""The picture comes first: where it begins, what is cut, what a link, Back and the sidebar's button do, on every page."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext

from tests.browser.conftest import Scheme, Visitor, page_in
from tests.helpers.pages import PLACES

New = Callable[..., Visitor]

TOP = 230
"""pixels below the window's top at which a page's picture has begun"""
FILES = '[data-testid="stFileUploader"]'
PICTURE = '[data-testid="stMain"] :is([data-testid="stVegaLiteChart"] svg, [data-testid="stDataFrame"])'
FIRST = """() => {
    const pictures = ':is([data-testid="stVegaLiteChart"], [data-testid="stDataFrame"])';
    const found = document.querySelector(`[data-testid="stMain"] ${pictures}`);
    const box = found.getBoundingClientRect();
    return [box.top, box.bottom];
}"""
CUT = """() => {
    const main = document.querySelector('[data-testid="stMain"]').getBoundingClientRect();
    const out = [...document.querySelectorAll('[data-testid="stMain"] :is([data-testid="stVegaLiteChart"] svg, button, p, h1)')]
        .filter(e => e.checkVisibility() && e.getBoundingClientRect().width > 0)
        .filter(e => !e.closest('[data-testid="stDataFrame"], [data-testid="stCode"], .vega-embed details'))
        .filter(e => e.getBoundingClientRect().right > main.right + 1 || e.getBoundingClientRect().left < main.left - 1);
    return out.map(e => e.outerHTML.slice(0, 120));
}"""


COLOURS = ["color-contrast", "link-in-text-block"]
"""axe-core's rules that can tell light from dark"""
SCHEME = """() => getComputedStyle(document.querySelector('[data-testid="stApp"]')).colorScheme"""
PAINT = """() => {
    const drawn = [...document.querySelectorAll('[data-testid="stMain"] [data-testid="stVegaLiteChart"] svg [fill]')];
    return [...new Set(drawn.map(e => e.getAttribute('fill')))].sort().join();
}"""


def accessible(me: Visitor, rules: list[str] | None = None) -> None:
    """axe-core finds nothing serious, and charts say what they show with its numbers."""
    some = {"resultTypes": ["violations"]} | ({"runOnly": {"type": "rule", "values": rules}} if rules else {})
    done = Axe().run(me.page, context={"exclude": [[".bars_marks"], [".ground_marks"]]}, options=some).response
    serious = [(v["id"], [n["html"] for n in v["nodes"]]) for v in done["violations"] if v["impact"] in ("serious", "critical")]
    assert serious == [], me.page.url
    assert "color-contrast" in {rule["id"] for rule in (*done["passes"], *done["incomplete"])}, "there was something to look at"
    label = "e => e.getAttribute('aria-label') || e.querySelector('[aria-label]')?.getAttribute('aria-label') || ''"
    said = me.page.locator('[data-testid="stMain"] [data-testid="stVegaLiteChart"]').evaluate_all(f"all => all.map({label})")
    assert all(re.search(r"\d", text) for text in said), said


@pytest.fixture(scope="module")
def walker(window: BrowserContext, app: str) -> Iterator[Visitor]:
    """Somebody who goes from page to page by the menu: to open one anew takes a second more."""
    page = page_in(window, "light", 1440, 900)
    yield Visitor(page, app).open()
    page.close()


@pytest.mark.parametrize("page", PLACES)
def test_the_picture_is_the_first_thing_nothing_is_cut_and_nobody_shut_out(walker: Visitor, page: str) -> None:
    """One visit for all that is only looked at, in the light and in the dark, whichever is there."""
    me = walker
    me.page.set_viewport_size({"width": 1440, "height": 900})
    me.leave_for(*PLACES[page]).page.wait_for_url(lambda url: urlsplit(url).path == page)
    me.settle()
    me.page.wait_for_selector(FILES if page == "/sessions" else PICTURE, timeout=90_000)
    accessible(me)
    for width, height in ((1440, 900), (1280, 720), (1024, 900), (800, 900), (420, 900)):
        if width < 1440:
            me.page.set_viewport_size({"width": width, "height": height})
            me.rest()
            assert me.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (page, width)
            assert me.page.evaluate(CUT) == [], (page, width)
        top, bottom = me.page.evaluate(FIRST) if page != "/sessions" else (0, 0)
        assert page == "/sessions" or width < 1280 or top <= TOP, (page, width)  # it has nothing to show before a file was opened
        assert page not in ("/", "/logit_lens") or width < 1440 or bottom <= height, page
    me.page.set_viewport_size({"width": 1440, "height": 900})
    painted = me.page.evaluate(PAINT)
    scheme: Scheme = "dark" if me.page.evaluate(SCHEME) == "light" else "light"
    me.page.emulate_media(color_scheme=scheme)
    me.page.wait_for_function(f"scheme => ({SCHEME})() === scheme", arg=scheme, polling=100)
    me.page.keyboard.press("r")  # Streamlit's own: the script runs again
    me.page.wait_for_function(f"painted => !painted || ({PAINT})() !== painted", arg=painted, polling=100)
    me.settle()
    accessible(me, COLOURS)
    assert me.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert me.page.evaluate(CUT) == []


def test_back_and_forward_show_what_was_there_and_a_reload_too(visitor: New) -> None:
    me = visitor(width=1440, height=900).open("/?prompt=The+capital+of+France+is")
    me.choose("projection")
    me.page.locator(".bars_marks path").nth(40).click()
    me.settle()
    was = me.page.url
    assert "metric=projection" in was and "bar=" in was
    me.go_to("Look", "Attention").go_to("Look", "Logit lens")
    lens = me.page.url
    for step, page in ((me.page.go_back, "/attention?"), (me.page.go_back, "/?"), (me.page.go_forward, "/attention?")):
        step()
        me.settle()
        me.page.wait_for_url(lambda url, page=page: page in url and "prompt=The+capital" in url, timeout=30_000)  # type: ignore[misc]
        me.asks("The capital of France is")
        if page == "/?":
            assert me.page.get_by_role("radio", name="projection", exact=True).is_checked()
            assert "Click a bar to see" not in me.text() and sorted(me.page.url.split("&")) == sorted(was.split("&"))
    me.page.go_forward()
    me.settle()
    me.page.wait_for_url(lens, timeout=30_000)
    me.reload().asks("The capital of France is")
    me.page.goto(was)
    me.settle()
    assert "Click a bar to see" not in me.text()


def test_what_is_shown_opens_the_sidebar(visitor: New) -> None:
    me = visitor(width=1440, height=900).open("/attention")
    right = "() => document.querySelector('[data-testid=stSidebar]').getBoundingClientRect().right"
    shown = me.page.get_by_role("button", name="on demo")
    for _ in range(2):
        me.page.hover('[data-testid="stSidebar"]')
        me.page.locator('[data-testid="stSidebarCollapseButton"] button').click()
        me.page.wait_for_function(f"({right})() <= 0")
        shown.click()
        me.settle()
        me.page.wait_for_function(f"({right})() > 200")
    assert me.page.get_by_role("textbox", name="Prompt").is_visible()


def test_a_sentence_goes_to_its_place(visitor: New) -> None:
    me = visitor(width=1440, height=900).open("/")
    said = me.page.locator(".st-key-says")
    said.get_by_role("button", name="most of it came in layer 5").click()
    me.settle()
    assert "Click a bar to see" not in me.text() and "bar=5.post.14" in me.page.url
    me.go_to("Look", "Attention")
    assert "layer=5" in me.page.url and "head=1" in me.page.url  # what matters most is looked at first
    me.page.get_by_role("combobox", name="Head", exact=True).click()
    me.page.get_by_role("option", name="3", exact=True).click()
    me.settle()
    me.sees("Layer 5, head 3")
    said.get_by_role("button", name="Head 5.1 reads").click()
    me.settle()
    me.sees("Layer 5, head 1")


def test_the_first_page_leads_to_every_view(visitor: New) -> None:
    me = visitor(width=1440, height=900).open("/start")
    assert me.page.locator('[data-testid="stMain"] [data-testid="stVegaLiteChart"]').count() == 5
    me.page.get_by_text("Look at all heads").click()
    me.settle()
    me.sees("Layer 5, head 1")
    assert "/attention" in me.page.url
    me.page.go_back()
    me.settle()
    me.page.get_by_text("Ask of any token").click()
    me.settle()
    me.sees("Which tokens raise a logit?")
