"""Two runs are compared, as a reader does it: an example, a view, a head, and a link that reopens it."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Visitor


def test_two_prompts_are_compared_and_a_reload_shows_the_same(visitor: Callable[..., Visitor]) -> None:
    me = visitor().open("/compare")
    me.sees("Both sides are the same")
    me.page.get_by_role("button", name="France and Italy").click()
    me.settle()
    me.sees("the likeliest is now “Rome”")
    me.page.get_by_role("radio", name="attention", exact=True).click()
    me.settle()
    me.sees("of the last position's attention moved")
    me.page.locator('[data-testid="stVegaLiteChart"]').nth(1).locator("path[aria-label*='L3']").first.click()
    me.settle()
    me.sees("Head 3.")
    assert all(part in me.page.url for part in ("prompt_b=The+capital+of+Italy+is", "cmp_view=attention", "compare_head=3."))
    me.page.reload()
    me.settle()
    me.sees("Head 3.")
    expect(me.page.get_by_role("textbox", name="Prompt B")).to_have_value("The capital of Italy is")
