"""A sweep is run, shown as it comes and stopped; a head is clicked on the map and in three dimensions, and followed."""

import re
from collections.abc import Callable
from contextlib import suppress

from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from playwright.sync_api import expect

from tests.browser.conftest import Visitor

LONG = "The old wizard walked through the forest, and then Mary and John went to the store, and John gave a drink to"


def test_a_sweep_is_run_and_a_head_followed_to_where_it_looks(visitor: Callable[..., Visitor]) -> None:
    me = visitor().open("/patching")
    me.sees("The lead of “Mary” over “John” is +18.6").sees("correlates with these exact runs by 0.9")
    me.page.get_by_role("link", name="Where head 4.7 looks").click()
    me.sees("Layer 4, head 7")
    assert "/attention" in me.page.url


def test_a_sweep_is_stopped_and_begun_again(visitor: Callable[..., Visitor]) -> None:
    me = visitor().open("/patching")
    me.sees("correlates with these exact runs")
    me.page.get_by_role("textbox", name="Prompt").fill(LONG)
    me.page.get_by_role("button", name="Run", exact=True).click()
    with suppress(PlaywrightTimeoutError):  # a quick machine is through before anybody can
        me.page.get_by_role("button", name="Cancel").first.click(timeout=15_000)
    me.settle()
    me.page.get_by_role("button", name="Run", exact=True).click()
    me.settle().sees("in the clean run and").sees("correlates with these exact runs")


def test_a_head_is_clicked_on_the_map_and_in_three_dimensions(visitor: Callable[..., Visitor]) -> None:
    me = visitor().open("/circuits")
    me.sees("Movers copy the answer from its earlier place: yes")
    me.click_grid(0.5, 0.45)
    me.page.get_by_text(re.compile(r"(Head \d\.\d|MLP \d) writes")).first.wait_for(timeout=60_000)
    me.page.get_by_text("All heads in three dimensions").click()
    me.page.wait_for_selector(".heads canvas[data-selected]", timeout=90_000)
    me.settle()
    canvas = me.page.locator(".heads canvas")
    before = canvas.get_attribute("data-selected")
    canvas.focus()
    for key in ("Shift+ArrowLeft", "Shift+ArrowUp", "Enter"):
        me.page.keyboard.press(key)
    expect(canvas).not_to_have_attribute("data-selected", before or "", timeout=60_000)
    me.settle()
    chosen = canvas.get_attribute("data-selected") or ""
    named = re.search(r"head (\d)\.(\d)", chosen)
    assert named is not None
    link = me.page.get_by_role("link", name=f"Where {chosen} looks")
    link.first.wait_for(timeout=60_000)  # the page may still be on its way there
    link.first.click()
    me.sees(f"Layer {named[1]}, head {named[2]}")
