"""Errors that a reader can mend: each message says what happened, with the values, and what to do."""


class InfoflowError(Exception):
    """Something the reader can mend. Pages and the command line show its message; anything else is a bug."""


class UnsupportedModel(InfoflowError):
    """No such model, or an architecture that is not handled."""


class BadPrompt(InfoflowError):
    """A prompt, a grouping or a choice of sources that can't be worked with."""


class TooLarge(InfoflowError):
    """More tokens or memory than the limits allow."""


class Cancelled(InfoflowError):
    """The reader stopped the run."""


class RemoteRunError(InfoflowError):
    """A run on a hosted model that failed. `kind` names the cause, `details` holds what the service or client said."""

    def __init__(self, kind: str, message: str, details: str = "") -> None:
        super().__init__(message)
        self.kind, self.details = kind, details
