"""What is typed and what comes by a link: shown as it is, and still there on the next page."""

from collections.abc import Callable
from urllib.parse import unquote_plus

import pytest

from tests.browser.conftest import Visitor

New = Callable[..., Visitor]


def to(me: Visitor, page: str) -> Visitor:
    return me.go_to("Change" if page == "Corrections" else "Models" if page == "Models" else "Look", page)


def test_a_link_is_kept_when_the_page_changes_and_a_reload_shows_the_same(visitor: New) -> None:
    me = visitor().open("/?prompt=The+sky+is&metric=projection")
    to(me, "Logit lens")
    assert "prompt=The+sky+is" in me.asks("The sky is").page.url
    me.reload().asks("The sky is")
    to(me, "Attention")
    assert "prompt=The+sky+is" in me.page.url


def test_layer_and_head_of_a_link_go_along(visitor: New) -> None:
    me = visitor().open("/attention?prompt=The+sky+is&layer=3&head=2")
    to(me, "Generation")
    assert all(part in me.page.url for part in ("layer=3", "head=2", "prompt=The+sky+is"))


def test_a_prompt_too_long_for_a_link_stays_in_the_session_and_the_page_says_so(visitor: New) -> None:
    me = visitor().open("/attention?prompt=The+sky+is")
    long = "猫" * 950
    note = me.page.get_by_text("too long for a link")
    me.run(long)
    note.wait_for(timeout=60_000)
    me.page.wait_for_url(lambda url: "prompt=" not in url and len(url) < 200, timeout=10_000)
    to(me, "Logit lens")
    assert "prompt=" not in me.asks(long).page.url
    me.run("The sky is")
    note.wait_for(state="detached", timeout=60_000)
    me.page.wait_for_url(lambda url: "prompt=The+sky+is" in url, timeout=10_000)


CODE = "if x -> 3:\n    return y >= 4  -- **no**\n===\n$a$ :smile: <b>"


def test_what_is_said_in_a_conversation_is_shown_as_it_was_typed(visitor: New) -> None:
    me = visitor().open("/corrections")
    me.page.get_by_role("button", name="New conversation").click()
    me.settle()
    box = me.page.get_by_test_id("stChatInputTextArea")
    box.fill(CODE)
    box.press("Enter")
    me.settle()
    shown = me.page.get_by_test_id("stChatMessage").first.inner_text()
    assert CODE in shown


@pytest.mark.parametrize("text", ["a -> b\n    c >= d  e\n=== **x** `y` $z$ <i>i</i> :streamlit: :red[r]"])
def test_a_prompt_is_shown_as_it_was_typed_and_as_wide(visitor: New, text: str) -> None:
    me = visitor().open("/generation")
    me.run(text)
    assert text.splitlines()[0] in unquote_plus(me.page.url)
    shown = me.page.get_by_test_id("stHtml").first.inner_text()
    assert shown.startswith(text)
    assert me.page.get_by_test_id("stHtml").first.locator("i").count() == 0
    me.run("a <|end|> b")  # a mark of this model, typed
    assert me.page.get_by_test_id("stHtml").first.inner_text().startswith("a <|end|> b")


def test_a_message_keeps_the_signs_of_what_it_quotes(visitor: New) -> None:
    me = visitor().open("/logit_lens?prompt=The+sky+is")
    me.page.get_by_role("combobox", name="Follow").fill("-> two words >=")
    me.page.get_by_role("combobox", name="Follow").press("Enter")
    me.settle()
    said = me.page.get_by_test_id("stAlert").first.inner_text().replace("\u2060", "")
    assert "-> two words >=" in said and "→" not in said and "≥" not in said
