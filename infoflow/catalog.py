"""The models offered, the prompts to begin with, and the names of a grid's rows: plain data."""

from dataclasses import dataclass

STAGES = ("mid", "post")
"""after attention, after the MLP"""
ROW_NAMES = {"embed": "embedding", "mid": "after attention", "post": "after MLP"}
"""what the rows of a grid are called on the screen, by stage"""


@dataclass(frozen=True)
class Entry:
    """One model of the catalogue."""

    name: str
    title: str
    family: str
    parameters: int
    """in millions"""
    note: str


MODELS = (
    Entry(
        "demo", "demo (bundled, 5 M parameters)", "llama", 5, "A small Llama trained on synthetic English; ships with the app."
    ),
    Entry("openai-community/gpt2", "GPT-2 (124 M)", "gpt2", 124, "Downloaded on first use, about 0.5 GB."),
    Entry("Qwen/Qwen2.5-0.5B", "Qwen2.5 0.5B", "qwen2", 494, "Downloaded on first use, about 1 GB."),
    Entry("Qwen/Qwen3-0.6B", "Qwen3 0.6B", "qwen3", 596, "Downloaded on first use, about 1.5 GB."),
    Entry("meta-llama/Llama-3.2-1B", "Llama 3.2 1B", "llama", 1236, "Gated: accept its licence on the hub first. About 2.5 GB."),
    Entry("google/gemma-2-2b", "Gemma 2 2B", "gemma2", 2614, "Gated: accept its licence on the hub first. About 10 GB."),
    Entry("meta-llama/Llama-3.1-8B", "Llama 3.1 8B", "llama", 8030, "Gated. About 16 GB; elsewhere, on NDIF."),
    Entry("meta-llama/Llama-3.1-70B", "Llama 3.1 70B", "llama", 70554, "Gated. About 141 GB; elsewhere, on NDIF."),
    Entry("meta-llama/Llama-3.1-405B", "Llama 3.1 405B", "llama", 405853, "Gated. About 812 GB; elsewhere, on NDIF."),
)
"""what is offered by name; any other name on the hub, or a folder, can be typed"""


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
        "story", "Story", "The old wizard walked through the forest",
        "No single circuit: the grammar needs the recent words, so most of each bar is its own and the neighbouring tokens.",
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
