"""How a prompt or a conversation is written: in a model's chat template, or as it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from infoflow.errors import BadPrompt, chosen

Turn = tuple[str, str]
"""role ("system", "user" or "assistant") and text"""
SYSTEM, USER, ASSISTANT = "system", "user", "assistant"


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


_BEGINS = {SYSTEM: "", USER: "Question: ", ASSISTANT: "Answer: "}


def check_turns(turns: Sequence[Turn]) -> None:
    """What every form asks of a conversation.

    Raises:
        BadPrompt: no turn, or an empty one.
    """
    if not turns or not all(text.strip() for _, text in turns):
        raise BadPrompt("A turn of the conversation is empty. Type a few words.")


Span = tuple[int, int]
"""the first character, and the one after the last"""


@dataclass(frozen=True)
class Written:
    """A conversation as one text, and where in it each turn's own words stand."""

    text: str
    spans: tuple[Span, ...]


def as_lines(turns: Sequence[Turn], answer_next: bool = True) -> Written:
    """A conversation as a base model reads it; with `answer_next`, up to where its answer begins.

    Raises:
        BadPrompt: no turn, or an empty one.
    """
    check_turns(turns)
    text, spans = "", []
    for role, said in turns:
        text += _BEGINS[role]
        spans.append((len(text), len(text) + len(said.strip())))
        text += f"{said.strip()}\n"
    return Written(text + _BEGINS[ASSISTANT].rstrip() if answer_next else text[:-1], tuple(spans))


def in_template(turns: Sequence[Turn], render: Callable[[Sequence[Turn]], str]) -> Written:
    """A conversation as a template writes it. Where the words of each turn begin and end is told by what the template writes
    around stand-ins for them: words of a turn may occur elsewhere too, and a template may strip or shorten them."""
    stand_ins = [f"\ue0f1{number}\ue0f2" for number in range(len(turns))]
    text = render(turns)
    frame = render([(role, stand_in) for (role, _), stand_in in zip(turns, stand_ins, strict=True)])
    around: list[str] = []
    for stand_in in stand_ins:
        before, found, frame = frame.partition(stand_in)
        around.append(before if found else "")
    around.append(frame)
    spans = []
    at = len(around[0]) if text.startswith(around[0]) else max(0, text.find(turns[0][1].strip()))
    for number, (_, said) in enumerate(turns):
        after = around[number + 1]
        whole = next((s for s in (said, said.strip()) if text.startswith(s + after, at)), None)
        if whole is not None:
            end = at + len(whole)
        else:  # it was changed on the way
            end = text.find(after, at) if number + 1 < len(turns) else len(text) - len(after) * text.endswith(after)
            end = end if after and end >= at else len(text) if number + 1 == len(turns) else at
        spans.append((at, end))
        at = min(end + len(after), len(text))
    return Written(text, tuple(spans))
