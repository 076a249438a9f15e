"""Numbers as they are typed."""

import pytest

from infoflow.errors import BadPrompt
from infoflow.text.ranges import numbers


@pytest.mark.parametrize(
    ("typed", "found"),
    [("", None), (" All ", None), ("3", (3,)), ("3-5", (3, 4, 5)), ("0, 2;7  2", (0, 2, 7)), ("1–2, 9", (1, 2, 9))],
)
def test_numbers_and_ranges_are_read(typed: str, found: tuple[int, ...] | None) -> None:
    assert numbers(typed, "layer") == found


@pytest.mark.parametrize("typed", ["five", "5-3", "-1", "1.5", "0-99999999", "3-", "²"])
def test_anything_else_is_a_sentence(typed: str) -> None:
    with pytest.raises(BadPrompt, match="is no (layer|range of layers)"):
        numbers(typed, "layer")


def test_a_range_has_a_limit_and_says_so() -> None:
    assert numbers("5-10004", "position") == tuple(range(5, 10_005))
    with pytest.raises(BadPrompt, match="it has 10,001, and at most 10,000 are read"):
        numbers("5-10005", "position")
    with pytest.raises(BadPrompt, match="the first comes first"):
        numbers("5-4", "position")
