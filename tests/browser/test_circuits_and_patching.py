"""A sweep is run, shown as it comes and stopped; a head is clicked on the map and in three dimensions, and followed."""

import re
from collections.abc import Callable
from urllib.parse import urlencode

from playwright.sync_api import expect

import infoflow
from tests.browser.conftest import Visitor


def test_a_sweep_is_run_and_a_head_followed_to_where_it_looks(visitor: Callable[..., Visitor]) -> None:
    me = visitor().open("/patching")
    me.sees("The lead of “Mary” over “John” is +18.6").sees("correlates with these exact runs by 0.9")
    me.page.get_by_role("link", name="Where head 4.7 looks").click()
    me.sees("Layer 4, head 7")
    assert "/attention" in me.page.url


def test_a_sweep_is_stopped_and_begun_again(visitor: Callable[..., Visitor], smol: "infoflow.Model") -> None:
    """On a model whose sweep takes seconds: of the shipped one it is there before anybody could stop it."""
    me = visitor()
    asked = {"model": smol.name, "prompt": "When Mary and John went to the store, John gave a drink to"}
    me.page.goto(f"{me.address}/patching?{urlencode(asked)}")
    me.page.get_by_text("parts of the sweep are there").wait_for(timeout=90_000)
    me.page.get_by_role("button", name="Cancel").first.click(timeout=60_000)
    me.settle().sees("The sweep was stopped: what had come by then is shown.")
    me.page.get_by_role("button", name="Run", exact=True).click()
    me.settle().sees("in the clean run and").sees("correlates with these exact runs")
    assert "was stopped" not in me.text()


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
