"""Save and reopen a conversation: checked JSON."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infoflow.errors import InfoflowError
from infoflow.text.conversations import Form

MOST_TURNS, MOST_CHARACTERS = 20, 4_000


@dataclass(frozen=True)
class Conversation:
    """What is kept of a conversation: who was asked what, and what was answered."""

    model: str
    revision: str
    form: Form
    """chat, or plain text"""
    said: tuple[str, ...]
    """by the user: a question, then corrections"""
    answers: tuple[str, ...]
    system: str = ""
    """what was said to the model before"""


class _File(BaseModel):
    """The file's fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    infoflow: Literal["conversation"]
    model: str
    revision: str
    form: Literal["chat", "plain text"]
    said: list[str]
    answers: list[str]
    system: Annotated[str, Field(max_length=MOST_CHARACTERS)] = ""


class _Length(BaseModel):
    said: Annotated[
        list[Annotated[str, Field(max_length=MOST_CHARACTERS)]], Field(min_length=1, max_length=MOST_TURNS)
    ]  # fmt: skip


def save_conversation(found: Conversation) -> bytes:
    """A conversation as JSON."""
    kept = _File(
        infoflow="conversation", model=found.model, revision=found.revision, form=found.form.value,  # type: ignore[arg-type]
        said=list(found.said), answers=list(found.answers), system=found.system,
    )  # fmt: skip
    return kept.model_dump_json(indent=1).encode()


def load_conversation(data: bytes) -> Conversation:
    """Read what `save_conversation` wrote.

    Raises:
        InfoflowError: not one of ours, or longer than a conversation may be.
    """
    try:
        read = _File.model_validate_json(data)
    except ValidationError:
        raise InfoflowError("This file is no saved conversation. Choose a JSON file that the Corrections page saved.") from None
    try:
        _Length(said=read.said)
    except ValidationError:
        raise InfoflowError(
            f"A conversation has 1 to {MOST_TURNS} turns of at most {MOST_CHARACTERS:,} characters; this has other."
        ) from None
    return Conversation(read.model, read.revision, Form(read.form), tuple(read.said), tuple(read.answers), read.system)
