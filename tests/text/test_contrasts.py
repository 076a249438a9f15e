"""Prompts that differ in one word, of as many tokens."""

from collections.abc import Callable

import pytest

from infoflow.text.contrasts import KINDS, MOST_WORDS, by_candidates, difference, named, proposals, seen


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


@pytest.mark.parametrize("odd", ["\u00b2", "5\u00b2", "\u2460", "7" * 5000])
def test_what_is_no_number_to_count_with_is_left(odd: str) -> None:
    assert proposals(f"red {odd}", words) == tuple(f"{other} {odd}" for other in KINDS[5][1:5])


def test_a_long_prompt_is_swapped_word_by_word_as_far_as_it_is_asked_for() -> None:
    """A number that is not among the first words of a kind is left, and no more prompts are made than are wanted."""
    made: list[str] = []

    def counted(text: str) -> int:
        made.append(text)
        return words(text)

    long = " ".join(f"the {n}" for n in range(100, 3000))
    assert proposals(long, counted)[:2] == (f"the 110{long[7:]}", long.replace("101", "111", 1)) and len(made) <= 10
    assert len(proposals(long, words, most=10**6)) == 3 * MOST_WORDS


def test_a_contrast_is_called_by_what_differs() -> None:
    assert difference("The capital of France is", "The capital of Italy is") == "France → Italy"
    assert difference("Is it France?", "Is it Italy?") == "France → Italy"
    assert difference("a b c", "a x y") == "b → x, c → y"
    assert difference("a b c", "x y z") == "x y z" and difference("a b", "a b c") == "a b c" and difference("a b", "a b") == "a b"


def test_where_no_word_is_of_a_kind_a_models_own_candidates_are_swapped_in() -> None:
    pieces = ["", "The", " wizard", " un", "seen", " left", "."]
    none: list[str] = []
    likely = [none, [" A"], [" Wizard", " ,", "witch", " witch", " elf"], [" re"], ["known"], [" of", " came", " sang"], ["!"]]
    weights = [9.0, 0.1, -0.5, 3.0, 4.0, 0.2, 8.0]

    def swapped(n_tokens: Callable[[str], int], most: int = 4) -> tuple[str, ...]:
        return by_candidates("The wizard unseen left.", pieces, likely, weights, n_tokens, most)

    assert swapped(lambda _: 7) == ("The witch unseen left.", "The wizard unseen came.")  # the weightier word first
    assert swapped(lambda _: 7, 1) == ("The witch unseen left.",)
    assert swapped(lambda text: 7 if "witch" not in text else 8) == ("The elf unseen left.", "The wizard unseen came.")
    assert swapped(lambda _: 6) == ()
    spaced = ["", " The", *pieces[2:]]  # as some tokenizers have it, who put a space before a text
    assert by_candidates("The wizard unseen left.", spaced, likely, weights, lambda _: 7)[0] == "The witch unseen left."
    assert by_candidates("the wizard unseen left.", pieces, likely, weights, lambda _: 7) == ()  # changed by its tokenizer


def test_what_a_contrast_does_is_told_with_what_paths_see_of_it() -> None:
    assert seen("a b", 5.0, 1.0, 3.0).startswith("On “a b” the model itself gives +1.00; of the +4.00 between, +3.00 is in")
    assert seen("bank", 5.0, 5.0, 3.0) == "On neutral texts (their mean) the model itself gives +5.00, as much as here."
    assert named((1, 2)) == "the other text" and named(("a", "b")) == "2 other prompts (their mean)"
