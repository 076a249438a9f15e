"""Numbers as they are typed: 3, 3-5, 0 2 7."""

import re
from collections.abc import Sequence

from infoflow.errors import BadPrompt

MOST = 1_000
"""characters: each few of them may stand for thousands of numbers"""
LONGEST = 10_000
"""numbers in one range"""


def numbers(text: str, what: str) -> tuple[int, ...] | None:
    """The numbers of a text, in order; None for all of them, where it is empty or says so.

    Raises:
        BadPrompt: something else than numbers and ranges.
    """
    if text.strip().lower() in ("", "all"):
        return None
    if len(text) > MOST:
        raise BadPrompt(
            f"That is a list of {what}s in {len(text):,} characters; at most {MOST:,} are read. Write ranges such as 3-5."
        )
    found: list[int] = []
    for part in re.split(r"[\s,;]+", text.strip()):
        match = re.fullmatch(r"(\d{1,6})(?:[-–](\d{1,6}))?", part)
        if match is None:
            raise BadPrompt(f"“{part}” is no {what}. Type a number, a range such as 3-5, several (0, 2, 7), or nothing for all.")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise BadPrompt(f"“{part}” is no range of {what}s: the first comes first.")
        if last - first >= LONGEST:
            raise BadPrompt(f"“{part}” is no range of {what}s: it has {last - first + 1:,}, and at most {LONGEST:,} are read.")
        found.extend(range(first, last + 1))
    return tuple(dict.fromkeys(found))


def as_number(text: str) -> int | None:
    """The number that a text is, from 0 and in ASCII; None for anything else: there are digits that are none, and texts of
    thousands of them."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def typed(some: int | Sequence[int] | None) -> str:
    """The other way round: what is typed for them."""
    return "" if some is None else ", ".join(map(str, [some] if isinstance(some, int) else some))
