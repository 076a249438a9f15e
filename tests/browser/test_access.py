"""Every control has a name and is reached by the keyboard."""

from collections.abc import Callable

from tests.browser.conftest import Visitor


def test_every_control_has_a_name_and_is_reached_by_the_keyboard(visitor: Callable[..., Visitor]) -> None:
    me = visitor(width=1440, height=900).open()
    reached: set[str] = set()
    for _ in range(80):
        me.page.keyboard.press("Tab")
        name = me.page.evaluate(
            "() => document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || ''"
        )
        reached |= set(name.split("\n"))
    for control in ("Prompt", "Run", "More", "How to read this", "Model", "Look", "Hide first token"):
        assert any(control in name for name in reached), (control, sorted(reached))
