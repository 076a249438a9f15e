"""axe-core finds nothing serious on any page, and charts say what they show."""

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import Visitor
from tests.helpers.pages import PLACES


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_found_on_any_page(scheme: str, visitor: Callable[..., Visitor]) -> None:
    me = visitor(scheme=scheme, width=1440, height=900)
    for page in PLACES:
        me.page.goto(me.address + page)
        me.page.wait_for_selector(
            '[data-testid="stMain"] :is([data-testid="stVegaLiteChart"] svg, [data-testid="stDataFrame"])', timeout=90_000
        )
        me.settle()
        found = Axe().run(me.page, context={"exclude": [[".bars_marks"], [".ground_marks"]]}).response["violations"]
        serious = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")]
        assert serious == [], (page, scheme)
        label = "e => e.getAttribute('aria-label') || e.querySelector('[aria-label]')?.getAttribute('aria-label') || ''"
        said = me.page.locator('[data-testid="stMain"] [data-testid="stVegaLiteChart"]').evaluate_all(f"all => all.map({label})")
        assert all(re.search(r"\d", text) for text in said), said  # with its numbers


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
