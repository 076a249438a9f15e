"""Heads in three dimensions as their reader meets them: turned, zoomed, named, clicked, by mouse and by keys, in both themes;
with nothing fetched from elsewhere and no WebGL."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from infoflow.charts.heads_3d import scene
from infoflow.charts.palette import signs
from tests.browser.conftest import Scheme, Visitor, cleared, page_in, serve, window_on
from tests.helpers.heads import WORDS

APP = Path(__file__).with_name("heads_3d_app.py")
NO_WEBGL = """const context = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
    return kind.startsWith("webgl") ? null : context.call(this, kind, ...more);
};"""
COLOURS = """canvas => {
    const [found, {data}] = [new Set(), canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)];
    for (let i = 0; i < data.length; i += 4)
        if (data[i + 3] === 255) found.add("#" + [0, 1, 2].map(k => data[i + k].toString(16).padStart(2, "0")).join(""));
    return [...found];
}"""
PIXEL = """(canvas, [x, y]) => [...canvas.getContext("2d").getImageData(
    canvas.width * x, canvas.height * y, 1, 1).data].slice(0, 3)"""
DRAWN = "canvas => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(canvas.toDataURL()))))"


@pytest.fixture(scope="module")
def page_of_heads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serve(tmp_path_factory.mktemp("heads"), [sys.executable, "-m", "streamlit", "run", str(APP)])


class Reader(Visitor):
    """Who looks at them."""

    def look(self, layers: int = 12, heads: int = 8, numbers: Sequence[float] = ()) -> "Reader":
        self.page.goto(f"{self.address}/?layers={layers}&heads={heads}&numbers={','.join(map(str, numbers))}")
        self.page.wait_for_selector(".heads canvas[data-selected]", timeout=90_000)
        self.settle()
        return self

    @property
    def canvas(self):  # type: ignore[no-untyped-def]
        return self.page.locator(".heads canvas")

    @property
    def tip(self):  # type: ignore[no-untyped-def]
        return self.page.locator(".heads .tip")

    def drawn(self) -> str:
        """The picture, while nothing is pointed at."""
        self.page.mouse.move(2, 2)
        return str(self.canvas.evaluate(DRAWN))

    def at(self, across: float, down: float) -> tuple[float, float]:
        box = self.canvas.bounding_box()
        return box["x"] + box["width"] * across, box["y"] + box["height"] * down

    def named_at(self, across: float, down: float) -> str:
        """What is pointed at there: `5.1`."""
        self.page.mouse.move(2, 2)
        self.page.mouse.move(*self.at(across, down))
        expect(self.tip).to_be_visible()
        return self.tip.locator("b").inner_text().removeprefix("head ")

    def drag(self, across: float, down: float) -> None:
        x, y = self.at(0.5, 0.6)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + across, y + down, steps=6)
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        self.canvas.focus()
        for key in keys:
            self.page.keyboard.press(key)


@pytest.fixture(scope="module")
def heads_window(browser: Browser, page_of_heads: str) -> Iterator[BrowserContext]:
    yield from window_on(browser, page_of_heads)


@pytest.fixture
def reader(heads_window: BrowserContext, page_of_heads: str) -> Iterator[Callable[..., Reader]]:
    before = heads_window.pages

    def new(scheme: Scheme = "light", width: int = 1400) -> Reader:
        page = page_in(heads_window, scheme, width, 1000)
        page.add_init_script(NO_WEBGL)
        return Reader(page, page_of_heads)

    yield new
    cleared(heads_window, before)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 800)])
def test_heads_are_turned_named_and_selected(scheme: Scheme, width: int, reader: Callable[..., Reader]) -> None:
    me = reader(scheme, width).look()
    assert "Nothing is selected" in me.text()
    first, named = me.drawn(), me.named_at(0.5, 0.6)
    assert re.search(r"norm of what the head writes: \d+\.\d\d", me.tip.inner_text())
    me.page.mouse.click(*me.at(0.5, 0.6))
    me.sees(f"Selected: {named}")
    assert me.canvas.get_attribute("data-selected") == f"head {named}" and me.drawn() != first

    me.drag(150, 20)
    turned = me.drawn()
    other = me.named_at(0.5, 0.6)
    assert other != named
    me.page.mouse.click(*me.at(0.5, 0.6))
    me.sees(f"Selected: {other}")
    assert me.named_at(0.5, 0.6) == other, "a click leaves the picture as it was turned"
    assert me.drawn() != turned  # by its ring

    me.page.get_by_role("button", name="Select the last head").click()
    me.sees("Selected: 11.7")
    expect(me.canvas).to_have_attribute("data-selected", "head 11.7")
    me.page.mouse.click(*me.at(0.5, 0.6))
    me.sees(f"Selected: {other}")
    assert all(url.startswith((me.address, me.address.replace("http", "ws"), "data:", "blob:")) for url in me.requests)


def test_the_head_that_is_named_is_the_one_that_is_seen(reader: Callable[..., Reader]) -> None:
    """At places all over the picture, turned twice: the colour there is one of the sides of the column that is named there."""
    numbers = np.linspace(-1, 1, 24)[np.arange(24) * 7 % 24].reshape(6, 4)
    me = reader().look(6, 4, numbers.ravel().tolist())
    fills = [[int(fill[i : i + 2], 16) for i in (1, 3, 5)] for fill in scene(abs(numbers), numbers, WORDS)["light"]["fill"]]
    sides = np.array([[[c * by for c in fill] for by in (1.0, 0.9, 0.76, 0.95, 0.82)] for fill in fills])  # [head side rgb]
    checked = 0
    for _ in range(3):
        places = [(0.36 + 0.04 * i, 0.36 + 0.08 * j) for i in range(8) for j in range(6)]
        me.drawn()
        colours = [me.canvas.evaluate(PIXEL, [x, y]) for x, y in places]
        for (x, y), colour in zip(places, colours, strict=True):
            (like,) = np.nonzero((np.abs(sides - colour).max(-1) <= 0.5).any(-1))
            if len(like) == 1:  # else the floor, an edge, or a colour that two have
                checked += 1
                assert me.named_at(x, y) == f"{like[0] // 4}.{like[0] % 4}", (x, y)
        me.press("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowUp")
    assert checked > 30


def test_what_stands_behind_is_hidden_until_the_picture_is_turned(reader: Callable[..., Reader]) -> None:
    """A tall head of the first layer before a small one of the second, seen from the front and from behind."""
    me, (up, down) = reader().look(2, 1, [5, -1]), signs(False)
    small = scene(np.array([[5.0], [1.0]]), np.array([[5.0], [-1.0]]), WORDS)["light"]["fill"][1]
    assert small not in (up, down)
    me.press(*["ArrowRight"] * 10, *["ArrowDown"] * 10)
    me.drawn()
    assert not {small, *_shaded(small)} & set(me.canvas.evaluate(COLOURS))
    me.press(*["ArrowRight"] * 31)
    me.drawn()
    assert {small, *_shaded(small)} & set(me.canvas.evaluate(COLOURS))


def _shaded(fill: str) -> list[str]:
    """A column's sides."""
    rgb = [int(fill[i : i + 2], 16) for i in (1, 3, 5)]
    return ["#" + "".join(f"{int(c * by + 0.5):02x}" for c in rgb) for by in (0.9, 0.76, 0.95, 0.82)]


def test_the_keyboard_does_all_that_the_mouse_does(reader: Callable[..., Reader]) -> None:
    me = reader().look()
    first = me.drawn()
    for key, back in (("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"), ("+", "-")):
        me.press(key)
        assert me.drawn() != first, key
        me.press(back)
        me.press("0")
        assert me.drawn() == first, key
    me.press("Shift+ArrowUp", "Shift+ArrowRight", "Shift+ArrowRight")
    expect(me.page.locator(".heads .live")).to_contain_text("head 1.2. norm of what the head writes")
    me.press("Enter")
    me.sees("Selected: 1.2")
    me.press("Escape")
    me.sees("Nothing is selected")
    me.canvas.focus()
    me.page.keyboard.press("Tab")
    assert me.page.evaluate("() => document.activeElement.shadowRoot.activeElement.ariaLabel") == "Zoom in"


def test_the_wheel_is_the_pages_until_the_picture_is_clicked(reader: Callable[..., Reader]) -> None:
    me = reader().look()
    first = me.drawn()
    me.page.mouse.move(*me.at(0.5, 0.6))
    me.page.mouse.wheel(0, -300)
    assert me.drawn() == first
    me.canvas.focus()
    me.page.mouse.move(*me.at(0.5, 0.6))
    me.page.mouse.wheel(0, -300)
    zoomed = me.drawn()
    assert zoomed != first
    me.page.get_by_role("button", name="View as at first").click()
    assert me.drawn() == first


def test_the_picture_is_in_the_pages_theme_and_changes_with_it(reader: Callable[..., Reader]) -> None:
    me = reader("light").look()
    for scheme, dark in (("light", False), ("dark", True), ("light", False)):
        me.page.emulate_media(color_scheme=scheme)
        arguments = [me.canvas.element_handle(), signs(dark)[0]]
        me.page.wait_for_function(f"([canvas, colour]) => ({COLOURS})(canvas).includes(colour)", arg=arguments)
        found = set(me.canvas.evaluate(COLOURS))
        assert set(signs(dark)) <= found and not set(signs(not dark)) & found, scheme


def test_who_can_not_see_it_is_told_what_is_drawn(reader: Callable[..., Reader]) -> None:
    me = reader().look()
    said = me.canvas.get_attribute("aria-label")
    assert said.startswith("Heads in three dimensions: 12 layers of 8 heads. Height: norm of what the head writes.")
    assert "Tallest: head" in said and "Most towards “Paris”: head" in said
    keys = me.page.locator(".heads .note").inner_text()
    assert "arrow keys turn it" in keys and "The map beside it says the same" in keys


@pytest.mark.parametrize(("layers", "heads"), [(30, 9), (48, 25), (1, 1)])
def test_any_model_is_drawn(layers: int, heads: int, reader: Callable[..., Reader]) -> None:
    me = reader().look(layers, heads)
    me.press("ArrowLeft", "ArrowRight")
    assert len(me.drawn()) > 5_000
    me.page.get_by_role("button", name="Select the last head").click()
    me.sees(f"Selected: {layers - 1}.{heads - 1}")
