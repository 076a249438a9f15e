"""Two prompts beside each other, place by place."""

import pytest

from infoflow.errors import BadPrompt
from infoflow.text.alignment import Align, aligned
from tests.helpers import tiny

encode = tiny.model("llama").encode


def test_prompts_of_one_length_differ_where_their_tokens_do() -> None:
    found = aligned(encode("abc"), encode("axc"))
    assert found.shift == 0 and found.differs == (False, False, True, False) and found.first == 2


def test_unlike_lengths_are_refused_with_both_or_aligned_at_an_end() -> None:
    with pytest.raises(BadPrompt, match="these have 4 and 5: .*a · b · c and .*a · b · b · c"):
        aligned(encode("abc"), encode("abbc"))
    start, end = (aligned(encode("abc"), encode("abbc"), how) for how in (Align.START, Align.END))
    assert (start.shift, start.differs) == (0, (False, False, False, True))
    assert (end.shift, end.differs) == (1, (True, True, False, False)) and end.first == 0
    shorter = aligned(encode("abbc"), encode("abc"), Align.END)
    assert shorter.shift == -1 and shorter.differs == (True, True, True, False, False)


def test_the_same_prompt_twice_is_refused() -> None:
    with pytest.raises(BadPrompt, match="the same tokens"):
        aligned(encode("abc"), encode("abc"))
