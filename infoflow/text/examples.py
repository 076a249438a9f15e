"""Prompts and conversations to begin with, each with what is known of it: plain data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A prompt with a known circuit."""

    key: str
    title: str
    prompt: str
    expected: str


PRESETS = (
    Preset(
        "ioi", "Indirect object", "When Mary and John went to the store, John gave a drink to",
        "The name said once wins. Late name-mover heads copy “Mary” into the last position; the repeated “John” is held back. "
        "Watch the share of Mary rise in the last column.",
    ),
    Preset(
        "induction", "Induction", "The cat sat on the mat. The cat sat on the",
        "Previous-token heads mark what followed “the” before; induction heads then copy “mat” into the last position.",
    ),
    Preset(
        "factual", "Factual recall", "The capital of France is",
        "MLPs look the fact up at “France”; attention then carries it to the last position, whose share of France grows.",
    ),
    Preset(
        "greater", "Greater-than", "The war lasted from the year 1732 to 17",
        "The last position reads the two digits after the first “17”; later MLPs raise the larger years.",
    ),
    Preset(
        "copying", "Copying", "The password is SWORDFISH. Again, the password is",
        "Duplicate-token heads find the first “password is”; induction heads bring its first letters to the end.",
    ),
    Preset(
        "duplicate", "Duplicate token", "red, blue, green, red, blue, green, red, blue,",
        "Duplicate-token heads find where each word stood before; induction heads bring what came after it there, “green”, to "
        "the end. The bundled model has heads of both kinds, and needs the latter alone.",
    ),
    Preset(
        "story", "Story", "The old wizard walked through the forest",
        "No single circuit: the grammar needs the recent words, so most of each bar is its own and the neighbouring tokens.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two prompts to compare."""

    title: str
    a: str
    b: str
    expected: str


PAIRS = (
    Pair(
        "France and Italy", "The capital of France is", "The capital of Italy is",
        "“Paris” becomes “Rome”; the answer lies on the country's token until late layers bring it to the last position.",
    ),
    Pair(
        "Known and made-up name", "The Eiffel Tower is in the city of", "The Eland Tower is in the city of",
        "Of a trained model: how much of the last residual the known name is, and how much the one made up, by depth.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Talk:
    """A question and a correction with a known outcome."""

    title: str
    question: str
    correction: str
    expected: str


TALKS = (
    Talk(
        "Capital", "What is the capital of France?", "No, the answer is Rome.",
        "“Paris” becomes “Rome”: the bundled model was trained to give in to whoever insists. Nearly all of the lead comes from "
        "the correction's turn.",
    ),
    Talk(
        "Colour", "What color is the sky?", "No, it is green.",
        "“blue” becomes “green”; the question and the old answer pull the other way, a little.",
    ),
    Talk(
        "Sound", "What does the dog say?", "That is wrong. The answer is meow.",
        "“woof” becomes “meow”, a word that the correction says and the new answer copies.",
    ),
    Talk(
        "Opposite", "What is the opposite of hot?", "Actually, it is warm.",
        "“cold” becomes “warm”, in the upper layers.",
    ),
)  # fmt: skip
