"""An intervention is tried, built, read, edited and removed, as its reader does it."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Visitor


def test_a_change_is_built_read_edited_and_removed(visitor: Callable[..., Visitor]) -> None:
    me = visitor().open("/interventions")
    me.page.get_by_role("button", name="can't be seen by the last token").click()
    me.settle()
    me.sees("falls from 100.0% to less than 0.1%; the likeliest is now “John”")
    for view, said in (("attention", "of the last position's attention moved"), ("flow", "Share of each source in the residual")):
        me.page.get_by_role("radio", name=view, exact=True).click()
        me.settle()
        me.sees(said)
    me.page.get_by_role("button", name="Add", exact=False).first.click()
    form = me.page.get_by_test_id("stPopoverBody")
    form.get_by_role("combobox", name="Change").click()
    me.page.get_by_role("option", name="scale", exact=True).click()
    expect(form).to_contain_text("multiplied by 0.5", timeout=60_000)
    me.settle()
    form.get_by_role("textbox", name="Layers").fill("1-2")
    form.get_by_role("textbox", name="Layers").press("Enter")
    expect(form).to_contain_text("In layers 1 to 2 what attention adds is multiplied by 0.5.", timeout=60_000)
    me.settle()
    form.get_by_role("button", name="Add this change").click()
    me.settle()
    me.sees("2 interventions")
    me.page.get_by_role("button", name="Stack (2)").click()
    me.page.get_by_role("button", name="Edit").nth(1).click()
    form = me.page.get_by_test_id("stPopoverBody").filter(has_text="Put it in the place")
    expect(form.get_by_role("textbox", name="Layers")).to_have_value("1, 2", timeout=60_000)
    me.settle()
    form.get_by_role("textbox", name="Layers").fill("4")
    form.get_by_role("textbox", name="Layers").press("Enter")
    expect(form).to_contain_text("In layer 4 what attention adds is multiplied by 0.5.", timeout=60_000)
    me.settle()
    form.get_by_role("button", name="Put it in the place of the one that is edited").click()
    said = "In layer 4 what attention adds is multiplied by 0.5."
    expect(me.page.get_by_test_id("stSidebar")).to_contain_text(said, timeout=60_000)
    me.settle()
    me.go_to("Look", "Information flow")  # in force there too, with a way back to the difference
    me.sees("2 interventions")
    me.page.get_by_role("link", name="difference").click()
    me.settle()
    me.sees("Share of each source in the residual")
    for left in ("1 intervention", "Nothing is changed yet"):
        me.page.get_by_role("button", name="Stack (").click()
        me.page.get_by_role("button", name="Remove").first.click()
        me.settle().sees(left)
