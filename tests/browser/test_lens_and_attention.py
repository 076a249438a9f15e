"""The logit lens and attention pages as their reader meets them: pin a token, click a cell, click a head; light and dark."""

import re
from collections.abc import Callable

import pytest

from tests.browser.conftest import Visitor


@pytest.mark.parametrize("scheme", ["dark"])
def test_paris_is_followed_through_the_lens(scheme: str, visitor: Callable[..., Visitor]) -> None:
    me = visitor(scheme=scheme).open("/logit_lens")
    me.page.get_by_text("Factual recall", exact=True).click()
    me.settle()
    box = me.page.get_by_role("combobox", name="Follow")
    box.fill("Paris")
    box.press("Enter")
    box.press("Escape")
    me.settle()
    assert "lens_follow=Paris" in me.page.url
    me.page.get_by_role("combobox", name="Colour").click()
    me.page.get_by_role("option", name="rank", exact=True).click()
    me.settle()
    me.sees("Colour: rank of")
    me.click_grid(0.5, 0.5)
    me.sees("position 2: capital")
    me.sees("Moved by this block").sees("Tokens through the layers")
    me.choose("frozen")
    me.sees("Pale: a neutral text's state reads the same there").sees("the two readings lie")
    me.page.get_by_text("Every lens, and which to believe").click()
    me.settle()
    me.page.get_by_text("Read by every lens").click()
    me.sees("names the output: share of positions").sees("No tuned lens ships for demo")


@pytest.mark.parametrize("scheme", ["light"])
def test_a_head_is_chosen_by_a_click_and_stays_chosen_elsewhere(scheme: str, visitor: Callable[..., Visitor]) -> None:
    me = visitor(scheme=scheme).open("/attention?prompt=The+cat+sat+on+the+mat.+The+cat+sat+on+the&layer=5&head=2")
    me.sees("Layer 5, head 2")
    box = me.page.locator('[class*="st-key-attn_heads"] [data-testid="stVegaLiteChart"]').bounding_box()
    me.page.mouse.click(box["x"] + box["width"] * 0.52, box["y"] + box["height"] * 0.33)
    me.settle()
    layer, head = re.findall(r"Layer (\d), head (\d)", me.text())[0]
    assert (layer, head) != ("5", "2") and f"layer={layer}" in me.page.url and f"head={head}" in me.page.url
    for picture in ("all heads", "arcs"):
        me.page.get_by_role("button", name=picture, exact=True).click()
        me.settle()
    assert me.page.locator('[data-testid="stVegaLiteChart"]').count() == 6
    me.choose("random tokens")
    me.sees("random tokens said twice")
    me.sees(f"Layer {layer}, head {head}")
    assert f"layer={layer}" in me.page.url
