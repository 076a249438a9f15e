"""Neutral texts: what states of any other text look like, in the mean."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from infoflow.errors import TooLarge
from infoflow.text.tokens import Token

NEUTRAL = (
    "There is a small table near the window, and on the table there are some papers that nobody has read for a while.",
    "They talked about the weather for some time, and then about the plans that they had made for the next few days.",
    "In general it takes longer than one would think to put everything back in the place where it was before.",
    "She said that she would call again later, but it was not quite clear whether anyone would be there by then.",
    "Most of the people in the room had heard the story before, although a few of them pretended that they had not.",
    "If the door is open you can go in and wait; if it is closed, please come back at another time or leave a note.",
)
"""a few sentences in which no name, number or fact stands out"""


def neutral_ids(encode: Callable[[str], Sequence[Token]], number: int, n: int) -> list[int]:
    """So many tokens of the neutral texts, from one of them on. No more is encoded than has to be: a model may read few."""
    words = " ".join((*NEUTRAL[number:], *NEUTRAL[:number])).split()

    def of(many: int) -> list[int]:
        return [token.id for token in encode(" ".join(words[i % len(words)] for i in range(many)))]

    def enough(many: int) -> bool:
        try:
            return len(of(many)) >= n
        except TooLarge:
            return True

    many = bisect_left(range(n), True, lo=1, key=enough)  # each word is a token at least
    try:
        return of(many)[:n]
    except TooLarge:  # its last word alone goes beyond what the model reads
        ids = of(many - 1)
        return [*ids, *ids[-1:] * (n - len(ids))]
