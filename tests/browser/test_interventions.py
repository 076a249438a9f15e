"""An intervention is tried, built, read, edited and removed, as its reader does it."""

from collections.abc import Callable

from tests.browser.conftest import Visitor


def test_a_change_is_built_read_edited_and_removed(visitor: Callable[..., Visitor]) -> None:
    me = visitor().open("/interventions")
    me.page.get_by_role("button", name="can't be seen by the last token").click()
    me.settle()
    assert "falls from 100.0% to less than 0.1%; the likeliest is now “John”" in me.text()
    for view, said in (("attention", "of the last position's attention moved"), ("flow", "Share of each source in the residual")):
        me.page.get_by_role("radio", name=view, exact=True).click()
        me.settle()
        assert said in me.text()
    me.page.get_by_role("button", name="Add", exact=False).first.click()
    form = me.page.get_by_test_id("stPopoverBody")
    form.get_by_role("combobox", name="Change").click()
    me.page.get_by_role("option", name="scale", exact=True).click()
    me.settle()
    form.get_by_role("textbox", name="Layers").fill("1-2")
    form.get_by_role("textbox", name="Layers").press("Enter")
    me.settle()
    assert "In layers 1 to 2 what attention adds is multiplied by 0.5." in form.inner_text()
    form.get_by_role("button", name="Add this change").click()
    me.settle()
    assert "2 interventions" in me.text()
    me.page.get_by_role("button", name="Stack (2)").click()
    me.page.get_by_role("button", name="Edit").nth(1).click()
    me.settle()
    form = me.page.get_by_test_id("stPopoverBody").filter(has_text="Put it in the place")
    form.get_by_role("textbox", name="Layers").fill("4")
    form.get_by_role("textbox", name="Layers").press("Enter")
    me.settle()
    form.get_by_role("button", name="Put it in the place of the one that is edited").click()
    me.settle()
    assert "In layer 4 what attention adds is multiplied by 0.5." in me.page.get_by_test_id("stSidebar").inner_text()
    me.go_to("Look", "Information flow")  # in force there too, with a way back to the difference
    assert "2 interventions" in me.text()
    me.page.get_by_role("link", name="difference").click()
    me.settle()
    assert "Share of each source in the residual" in me.text()
    for left in (1, 0):
        me.page.get_by_role("button", name="Stack (").click()
        me.page.get_by_role("button", name="Remove").first.click()
        me.settle()
        assert (f"{left} intervention" in me.text()) == bool(left)
    assert "Nothing is changed yet" in me.text()
