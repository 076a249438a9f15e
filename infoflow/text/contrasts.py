"""Prompts that differ in one thing: a name, a place, a number or an adjective swapped for another of its kind."""

import re
from collections.abc import Callable, Container, Iterator, Sequence
from itertools import chain, islice, zip_longest

from infoflow.text.characters import shortened

KINDS: tuple[tuple[str, ...], ...] = (
    ("Mary", "John", "Anna", "Tom", "Alice", "Bob", "Peter", "Susan", "James", "Emma", "David", "Sarah", "Paul", "Lisa", "Kate"),
    ("France", "Italy", "Germany", "Spain", "England", "Japan", "China", "Egypt", "Greece", "Poland", "Russia", "India", "Cuba"),
    ("Paris", "Rome", "Berlin", "Madrid", "London", "Tokyo", "Beijing", "Cairo", "Athens", "Warsaw", "Moscow", "Delhi", "Vienna"),
    ("French", "Italian", "German", "Spanish", "English", "Japanese", "Chinese", "Greek", "Polish", "Russian"),
    ("hot", "big", "good", "happy", "fast", "cold", "small", "bad", "sad", "slow", "old", "new", "long", "short", "dark"),
    ("red", "blue", "green", "yellow", "black", "white", "brown", "gray"),
    ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    ("cat", "dog", "horse", "bird", "fish", "cow", "mouse", "bear"),
    ("he", "she"), ("his", "her"), ("man", "woman"), ("king", "queen"), ("boy", "girl"), ("father", "mother"),
)  # fmt: skip
"""words of one kind, the usual ones first"""
SHORTEST = 3
"""letters of a word that a model's own candidate takes the place of"""
LONGEST = 40
"""characters of a contrast in a sentence"""
MOST_WORDS = 64
"""different words of a prompt that are swapped, its first ones"""
MOST_DIGITS = 18
"""of a number that is one"""


BANK = "bank"
"""names the neutral texts that ship"""


def named(contrast: str | Sequence[str] | Sequence[int]) -> str:
    """A contrast in a sentence."""
    if contrast == BANK:
        return "neutral texts (their mean)"
    if isinstance(contrast, str):
        return f"“{shortened(' '.join(contrast.split()), LONGEST)}”"
    if isinstance(contrast[0], int):
        return "the other text"
    return f"{len(contrast)} other prompts (their mean)"


def seen(contrast: str | Sequence[str] | Sequence[int], total: float, contrast_total: float, specific: float) -> str:
    """What the contrast does to a logit, and how much of that frozen paths see, in a sentence."""
    gives = f"On {named(contrast)} the model itself gives {contrast_total:+.2f}"
    effect = total - contrast_total
    if abs(effect) < 0.01:
        return f"{gives}, as much as here."
    return (
        f"{gives}; of the {effect:+.2f} between, {specific:+.2f} is in what the tokens say along these paths, the rest in paths."
    )


def proposals(prompt: str, n_tokens: Callable[[str], int], most: int = 4) -> tuple[str, ...]:
    """Other prompts of as many tokens, each different in one word: first the last of two names for the other one, then each word
    of a kind for the next of its kind, and numbers for others of as many digits."""
    words = list(re.finditer(r"\w+", prompt))
    wanted = n_tokens(prompt)
    found: list[str] = []
    for swapped in chain(_swapped_names(prompt, words), _other_words(prompt, words)):
        if swapped != prompt and swapped not in found and n_tokens(swapped) == wanted:
            found.append(swapped)
        if len(found) == most:
            break
    return tuple(found)


def by_candidates(
    prompt: str,
    pieces: Sequence[str],
    candidates: Sequence[Sequence[str]],
    weights: Sequence[float],
    n_tokens: Callable[[str], int],
    most: int = 4,
) -> tuple[str, ...]:
    """The same where no word of a kind stands in the prompt: each of its words for one that a model would have written there.

    `pieces`: texts of the prompt's tokens, '' of a mark that it begins with; `candidates`: the likeliest tokens at the place of
    each, in order; `weights`: how much each matters, the largest of which go first.
    """
    before = len("".join(pieces)) - len(prompt)  # a space that a tokenizer puts before a text
    if before < 0 or "".join(pieces)[before:] != prompt:
        return ()
    found: list[str] = []
    for place in sorted(range(len(pieces)), key=lambda p: -abs(weights[p])):
        at = len("".join(pieces[:place])) - before
        piece, after = pieces[place], "".join(pieces[place + 1 :])[:1]
        if not _word(piece) or after.isalnum() or at < 0 or (at and not piece[0].isspace()):
            continue
        for other in candidates[place]:
            swapped = prompt[:at] + other + prompt[at + len(piece) :]
            alike = other[:1].isspace() == piece[0].isspace() and other.strip().casefold() != piece.strip().casefold()
            if alike and _word(other) and swapped not in found and n_tokens(swapped) == len(pieces):
                found.append(swapped)
                break
        if len(found) == most:
            break
    return tuple(found)


def of_its_kind(word: str, others: Sequence[str]) -> int | None:
    """The first of some other words that is of the same kind (a name beside a name); None where none is."""
    kinds = [kind for kind in KINDS if word.strip() in kind]
    apart = [other.strip() != word.strip() and any(other.strip() in kind for kind in kinds) for other in others]
    return apart.index(True) if any(apart) else None


def _word(piece: str) -> bool:
    return len(piece.strip()) >= SHORTEST and piece.strip().isalpha()


def _swapped_names(prompt: str, words: Sequence[re.Match[str]]) -> list[str]:
    names = [word for word in words if word[0] in KINDS[0]]
    kinds = dict.fromkeys(name[0] for name in names)
    if len(kinds) != 2 or len(names) < 3:
        return []
    last = names[-1]
    other = next(name for name in kinds if name != last[0])
    return [prompt[: last.start()] + other + prompt[last.end() :]]


def _other_words(prompt: str, words: Sequence[re.Match[str]]) -> Iterator[str]:
    there = dict.fromkeys(word[0] for word in words)
    others = ((word, of) for word in there if (of := _others_of(word, there)))
    found = [_swapped(prompt, word, of) for word, of in islice(others, MOST_WORDS)]
    return (one for turn in zip_longest(*found) for one in turn if one is not None)  # each word's first, then each one's second


def _swapped(prompt: str, word: str, others: Sequence[str]) -> Iterator[str]:
    return (re.sub(rf"\b{word}\b", other, prompt) for other in others)


def _others_of(word: str, there: Container[str]) -> list[str]:
    """What may stand in a word's place, none of it in the prompt already: others of its kind, or near numbers."""
    if word.isdecimal() and len(word) <= MOST_DIGITS:
        return [str(int(word) + step).zfill(len(word)) for step in (10, -10, 1) if int(word) + step >= 0]
    kind = next((kind for kind in KINDS if word in kind), ())
    return [other for other in kind if other not in there]


def difference(prompt: str, other: str) -> str:
    """How another prompt is called beside this one: the words that differ, where only a few do; else all of it."""
    here, there = (re.findall(r"\w+|[^\w\s]+", text) for text in (prompt, other))
    apart = [(a, b) for a, b in zip(here, there, strict=False) if a != b]
    if len(here) != len(there) or not 0 < len(apart) <= 2:
        return other
    return ", ".join(f"{a} → {b}" for a, b in dict.fromkeys(apart))
