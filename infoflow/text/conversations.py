"""How a prompt or a conversation is written: in a model's chat template, or as it is."""

from collections.abc import Sequence
from enum import StrEnum

from infoflow.errors import BadPrompt, chosen

Turn = tuple[str, str]
"""role ("user" or "assistant") and text"""
USER, ASSISTANT = "user", "assistant"


class Form(StrEnum):
    """How what is asked becomes a text that the model reads."""

    AUTO = "auto"
    """by what the model was made for"""
    PLAIN = "plain text"
    """as it is; a conversation as lines that begin with Question: and Answer:"""
    CHAT = "chat"
    """in the model's own chat template"""

    @classmethod
    def of(cls, word: str) -> "Form":
        """The form of that name.

        Raises:
            BadPrompt: another word.
        """
        return chosen(cls, word, "form")


_BEGINS = {USER: "Question:", ASSISTANT: "Answer:"}


def check_turns(turns: Sequence[Turn]) -> None:
    """What every form asks of a conversation.

    Raises:
        BadPrompt: no turn, or an empty one.
    """
    if not turns or not all(text.strip() for _, text in turns):
        raise BadPrompt("A turn of the conversation is empty. Type a few words.")


def as_lines(turns: Sequence[Turn], answer_next: bool = True) -> str:
    """A conversation as a base model reads it; with `answer_next`, up to where its answer begins.

    Raises:
        BadPrompt: no turn, or an empty one.
    """
    check_turns(turns)
    lines = [f"{_BEGINS[role]} {text.strip()}" for role, text in turns]
    return "\n".join([*lines, *([_BEGINS[ASSISTANT]] if answer_next else [])])
