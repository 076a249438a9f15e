"""Prompts that differ in one word, of as many tokens."""

import pytest

from infoflow.text.contrasts import KINDS, difference, proposals


def letters(text: str) -> int:
    return len(text)


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("prompt", "first"),
    [
        ("The capital of France is", "The capital of Italy is"),
        ("When Mary and John went out, John gave a drink to", "When Mary and John went out, Mary gave a drink to"),
        ("The opposite of hot is", "The opposite of big is"),
        ("The war lasted from the year 1732 to 17", "The war lasted from the year 1742 to 17"),
        ("Alice met Bob", "Mary met Bob"),
    ],
)
def test_the_first_proposal_swaps_what_matters(prompt: str, first: str) -> None:
    found = proposals(prompt, words)
    assert found[0] == first and len(found) == len(set(found)) <= 4 and prompt not in found


def test_only_what_has_as_many_tokens_is_proposed() -> None:
    assert (
        proposals("The capital of France is", letters)
        == ("The capital of Italy is",) * 0
        + tuple(f"The capital of {other} is" for other in KINDS[1] if len(other) == 6 and other != "France")[:4]
    )
    assert proposals("Nothing here is of a kind", words) == ()


def test_a_word_is_swapped_wherever_it_stands_and_for_none_that_stands_there() -> None:
    found = proposals("red and blue and red", words, most=9)
    assert "green and blue and green" in found and not any(text.count("blue") > 1 for text in found)


def test_a_contrast_is_called_by_what_differs() -> None:
    assert difference("The capital of France is", "The capital of Italy is") == "France → Italy"
    assert difference("a b c", "a x y") == "b → x, c → y"
    assert difference("a b c", "x y z") == "x y z" and difference("a b", "a b c") == "a b c" and difference("a b", "a b") == "a b"
