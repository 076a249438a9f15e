"""A finding is kept, found again after a reload, held against another, and opened as a report with no network."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, expect

import infoflow
from tests.browser.conftest import Visitor

FRANCE, ITALY = "The capital of France is", "The capital of Italy is"


def kept(me: Visitor, title: str) -> None:
    """Save what was looked at under a title."""
    me.go_to("Keep", "Sessions")
    me.page.get_by_role("textbox", name="Title").first.fill(title)
    me.page.keyboard.press("Enter")
    me.settle()
    me.page.get_by_role("button", name="Save", exact=True).click()
    me.settle()
    expect(me.page.locator('[class*="st-key-session_row_"]').filter(has_text=title)).to_be_visible()


def test_a_finding_is_kept_found_compared_and_reported(
    visitor: Callable[..., Visitor], browser: Browser, tmp_path: Path, demo: "infoflow.Model"
) -> None:
    for prompt, title in ((FRANCE, "About France"), (ITALY, "About Italy")):
        me = visitor().open()
        me.run(prompt)
        kept(me, title)
    page = me.page
    page.reload()  # nothing but the folder is left of it
    me.settle()
    row = page.locator('[class*="st-key-session_row_"]').filter(has_text="About France")
    row.get_by_role("button", name="Open").click()
    me.settle()
    expect(page.get_by_text("Open: About France")).to_be_visible()
    page.get_by_role("button", name="Run again").first.click()
    me.settle()
    expect(page.get_by_text("The numbers are the same")).to_be_visible(timeout=60_000)

    page.get_by_role("combobox", name="Compare with").click()
    page.get_by_role("option").filter(has_text="About Italy").click()
    me.settle()
    page.get_by_text(f"Flow: A “{FRANCE}”").click()
    me.settle()
    expected = infoflow.compare(infoflow.decompose(demo, FRANCE), infoflow.decompose(demo, ITALY))
    expect(page.get_by_text(expected.summary()[:60])).to_be_visible(timeout=60_000)

    with page.expect_download() as report:
        page.locator(".st-key-session_report button").first.click()
    report.value.save_as(tmp_path / "report.html")
    offline = browser.new_context(offline=True)
    asked: list[str] = []
    opened = offline.new_page()
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.goto((tmp_path / "report.html").as_uri())
    opened.wait_for_selector("[data-chart] canvas", timeout=60_000)
    assert asked == [(tmp_path / "report.html").as_uri()] and "About France" in opened.inner_text("h1")
    offline.close()

    row.get_by_role("button", name="Change").click()
    with page.expect_download() as session:
        page.get_by_role("button", name="Download", exact=True).last.click()
    session.value.save_as(tmp_path / "session.zip")
    held = infoflow.open_session(tmp_path / "session.zip").entries
    assert any(_same(entry.result, infoflow.decompose(demo, FRANCE)) for entry in held)
    assert zipfile.ZipFile(tmp_path / "session.zip").testzip() is None


def _same(found: Any, flow: "infoflow.Flow") -> bool:
    return isinstance(found, infoflow.Flow) and found.tokens == flow.tokens and np.allclose(found.gram, flow.gram, atol=1e-4)
