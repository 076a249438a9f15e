"""Errors that a reader can mend: each message says what happened, with the values, and what to do."""

from enum import StrEnum
from typing import TypeVar

E = TypeVar("E", bound=StrEnum)


class InfoflowError(Exception):
    """Something the reader can mend. Pages and the command line show its message; anything else is a bug."""


class UnsupportedModel(InfoflowError):
    """No such model, or an architecture that is not handled."""


class BadPrompt(InfoflowError):
    """A prompt, a grouping or a choice of sources that can't be worked with."""


class BadLens(InfoflowError):
    """A fitted lens that can't be read, or that is for another model."""


class BadFile(InfoflowError):
    """A file that can't be read, is none of ours, or holds what it must not."""


class TooLarge(InfoflowError):
    """More tokens or memory than the limits allow; `always`: whatever is free, so that another try ends as this did."""

    def __init__(self, message: str, *, always: bool = False) -> None:
        super().__init__(message)
        self.always = always


class NotAllowed(InfoflowError):
    """Something that this app does for nobody, or not for whoever asks."""


class Busy(InfoflowError):
    """Too much is asked now, of all or of this visitor; after `retry_after` seconds it may be otherwise."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Cancelled(InfoflowError):
    """The reader stopped the run."""


class RemoteRunError(InfoflowError):
    """A run on a hosted model that failed. `kind` names the cause, `details` holds what the service or client said."""

    def __init__(self, kind: str, message: str, details: str = "") -> None:
        super().__init__(message)
        self.kind, self.details = kind, details


def without_frames(error: BaseException) -> BaseException:
    """The same error without the frames it went through, which would keep every tensor and model alive that they hold."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error


def another(error: BaseException) -> BaseException:
    """The same error once more, for a thread of its own: where it is raised, and what is done with that, changes no other. A bug
    stays the one that it is."""
    if not isinstance(error, InfoflowError):
        return error
    same = type(error).__new__(type(error), *error.args)
    same.__dict__.update(error.__dict__)
    return same


def chosen(kind: type[E], word: str, what: str) -> E:
    """A word as one of a few; `what` is what they are called.

    Raises:
        BadPrompt: another word.
    """
    try:
        return kind(word)
    except ValueError:
        raise BadPrompt(f"There is no {what} '{word}'. Use one of: {', '.join(kind)}.") from None
