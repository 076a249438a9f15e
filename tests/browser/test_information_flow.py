"""The Information flow page as its user meets it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.conftest import Visitor

New = Callable[..., Visitor]


def test_first_visit_two_prompts_regroup_hide_click_and_download_and_nobody_else_is_asked(
    visitor: New, app: str, tmp_path: Path
) -> None:
    me = visitor().open()
    assert "When Mary and John" in me.page.get_by_role("textbox", name="Prompt").input_value()
    me.sees("Worst error").sees("of the norm, on average")

    me.run("The capital of France is")
    me.sees("position 5")
    me.run("The dog chased the cat and the cat ran away")
    me.sees("Shares of 11 sources by norm")

    me.choose("tokens")
    me.choose("projection")
    me.sees("by projection")
    me.page.wait_for_url(lambda url: "metric=projection" in url and "grouping=tokens" in url, timeout=10_000)
    me.choose("words")

    me.page.get_by_text("Hide first token").click()
    me.settle()
    me.sees("First token: ⟨bos⟩")
    me.page.get_by_text("Hide first token").click()
    me.settle()
    me.sees("Hidden: ⟨bos⟩")

    me.click_grid(0.5, 0.5)
    assert "Click a bar to see" not in me.text()
    me.sees("Layer ").sees("Effective sources").sees("Cancellation κ")

    for kind, begins in (("PNG", b"\x89PNG"), ("SVG", b"<svg"), ("CSV", b"layer,stage,position"), ("JSON", b"{")):
        with me.page.expect_download(timeout=60_000) as download:
            me.page.get_by_role("button", name=kind, exact=True).click()
        target = tmp_path / f"flow.{kind.lower()}"
        download.value.save_as(target)
        assert target.read_bytes().startswith(begins), kind
    assert json.loads((tmp_path / "flow.json").read_text())["tokens"][1] == "The"

    assert len(me.requests) > 10
    strangers = [r for r in me.requests if not r.startswith((app, app.replace("http", "ws"), "data:", "blob:"))]
    assert strangers == []


def test_a_narrow_dark_page_shows_everything_and_a_click_on_a_token_pins_it_and_leaves_the_chosen_bar(visitor: New) -> None:
    me = visitor(scheme="dark", width=700).open()
    box = me.grid.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 700
    assert me.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tokens = me.page.locator(".stripe_marks path")
    pale = '.bars_marks path[opacity="0.12"]'
    tokens.nth(2).click()
    me.settle()
    me.page.mouse.move(5, 5)
    me.page.wait_for_selector(pale, state="attached")
    me.sees("Click a bar to see")
    me.click_grid(0.5, 0.5)
    assert "Click a bar to see" not in me.text()
    me.page.mouse.move(5, 5)
    assert me.page.locator(pale).count() > 0  # the bar was chosen, the token is still pinned


def test_strange_prompts_are_shown_as_they_are(visitor: New) -> None:
    me = visitor().open()
    me.page.on("dialog", lambda d: pytest.fail("a prompt ran as a script"))
    for prompt in ("<img src=x onerror=alert(1)> **bold**", "你好 😀 مرحبا\nsecond line"):
        me.run(prompt)
        me.sees("Click a bar to see").click_grid(0.6, 0.5)
        me.sees("Effective sources")


def test_bad_prompts_and_models_leave_the_last_picture(visitor: New) -> None:
    me = visitor().open()
    me.run("   ")
    me.sees("The prompt is empty")
    me.sees("Below is the last good run: When Mary and John")
    me.run("many words " * 60)
    me.sees("the limit is 64")
    assert me.grid.is_visible()
    me.run("The sky is")
    assert "Below is the last good run" not in me.text()
    box = me.page.get_by_role("combobox", name="Model")
    box.fill("/no/such/folder")
    box.press("Enter")
    me.run("The sky is")
    me.sees("There is no folder '/no/such/folder'").sees("Below is the last good run: The sky is")
    assert me.grid.is_visible()


def test_a_link_reopens_the_view_by_the_pages_own_name_too(visitor: New) -> None:
    me = visitor().open("/information_flow?prompt=The+opposite+of+hot+is&metric=distance&sources=tokens&colours=ordered")
    me.asks("The opposite of hot is")
    me.sees("by distance").sees("Worst error")


def test_groups_can_be_merged(visitor: New) -> None:
    me = visitor().open()
    me.choose("custom")
    box = me.page.get_by_role("combobox", name="Merge")
    for name in ("Mary", "John"):
        box.fill(name)
        me.page.get_by_role("option", name=name, exact=True).click()
    me.page.keyboard.press("Escape")
    me.page.get_by_placeholder("their names joined").fill("the names")
    me.page.get_by_placeholder("their names joined").press("Enter")
    me.settle()
    me.page.get_by_role("button", name="Merge", exact=True).click()
    me.settle()
    me.sees("Shares of 14 sources")
    me.page.get_by_role("button", name="Undo").click()
    me.settle()
    me.sees("Shares of 15 sources")


def test_a_long_prompt_a_target_and_who_carried_it(visitor: New) -> None:
    """Refused with numbers, run in spans as offered; a target by click and by text; a segment's carriers."""
    me = visitor().open()
    me.sees("exact")
    me.run("The old wizard walked through the forest. He saw a cat near the river. " * 5)
    me.sees("the limit is 64").sees("Below is the last good run")
    me.page.get_by_role("button", name="Run by 32 spans").click()
    me.settle()
    me.sees("tokens in 32 sources: about")
    me.more()
    assert me.page.get_by_text("Positions", exact=True).is_visible()
    me.page.keyboard.press("Escape")

    me.page.get_by_role("combobox", name="Run by").click()
    me.page.get_by_role("option", name="tokens", exact=True).click()
    me.run("The capital of France is")
    me.page.locator(".first_answer_marks text").click()
    me.settle()
    target = me.page.get_by_role("combobox", name="Target")
    assert target.input_value().startswith("Paris")
    target.fill("Rome")
    target.press("Enter")
    me.settle()
    me.sees("together give the logit: ")
    target.fill("two words")
    target.press("Enter")
    me.settle()
    me.sees("tokens here")
    me.page.get_by_text("Heads and MLPs").click()
    me.settle()

    me.choose("Who carried it?")
    me.sees("Where it goes next").sees("of them add to 100.0%")
    me.page.locator(".bars_marks path").nth(40).click()
    me.settle()
    me.sees("of them add to 100.0%")
    assert me.page.get_by_role("combobox", name="Source", exact=True).is_visible()
    me.page.wait_for_url(lambda url: "panel=Who" in url, timeout=10_000)
