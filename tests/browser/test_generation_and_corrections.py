"""The generation and corrections pages as their reader meets them: step, click a token, correct an answer; light and dark."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Visitor, serve

NINTH = (0.824, 0.407)
"""where the ninth of twenty tokens written is in the picture"""


@pytest.mark.parametrize("scheme", ["dark"])
def test_a_generation_is_stepped_through_and_a_token_is_clicked(scheme: str, visitor: Callable[..., Visitor]) -> None:
    me = visitor(scheme=scheme).open("/generation?prompt=The+old+wizard+walked+through+the+forest")
    me.sees("Step 1 of 20").sees("The old wizard walked through the forest")
    slider = me.page.get_by_role("slider", name="Step")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    me.sees("Step 5 of 20")
    reset = me.page.get_by_role("button", name="Reset selection")
    assert reset.is_disabled()
    me.click_grid(*NINTH)
    assert "Step 5 of 20" not in me.text() and not reset.is_disabled() and "Step 9 of 20" in me.text()
    stepped = me.text()
    reset.click()
    me.settle()
    assert reset.is_disabled()
    me.click_grid(*NINTH)  # the same again, after a reset
    assert not reset.is_disabled() and me.text() == stepped
    me.page.get_by_role("button", name="Show all").click()
    me.settle()
    assert reset.is_disabled()
    me.more().choose("separate").choose("one head")
    me.sees("Layer 0, head 0, separate")


def test_the_first_visitor_may_come_by_a_link(browser: Browser, tmp_path: Path) -> None:
    for address in serve(tmp_path, [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]):
        page = browser.new_page()
        Visitor(page, address).open("/generation")
        menu = page.inner_text('[data-testid="stTopNav"]')
        assert menu.split() == ["Look", "Change", "Keep", "Models"] and "Step 1 of" in page.inner_text("body")
        page.close()


@pytest.mark.parametrize("scheme", ["light"])
def test_an_answer_is_corrected_saved_and_reopened(scheme: str, visitor: Callable[..., Visitor], tmp_path: Path) -> None:
    me = visitor(scheme=scheme).open("/corrections")
    me.sees("Before: “Paris”").sees("After: “Rome”")
    me.page.get_by_role("button", name="New conversation").click()
    me.settle()
    box = me.page.get_by_test_id("stChatInputTextArea")
    for said, shown in (("What color is the sky?", "Answer: “blue”"), ("No, it is green.", "After: “green”")):
        box.fill(said)
        box.press("Enter")
        me.sees(shown)
    me.sees("Where the answer flips").sees("All parts sum to")
    with me.page.expect_download() as download:
        me.page.get_by_role("button", name="Save the conversation").click()
    kept = tmp_path / "talk.json"
    download.value.save_as(kept)
    me.page.get_by_role("button", name="New conversation").click()
    me.settle()
    assert "After: “green”" not in me.text()
    me.page.get_by_text("Reopen a saved conversation").click()
    me.page.locator('input[type="file"]').set_input_files(kept)
    me.sees("After: “green”")
