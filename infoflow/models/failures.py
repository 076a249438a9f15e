"""How a changed run ends by itself, in words."""

import contextlib
from collections.abc import Iterator

from infoflow.errors import BadPrompt, RemoteRunError
from infoflow.traced.interventions import NO_NUMBER, NOTHING_LEFT

_REFUSED = {
    NOTHING_LEFT: "With this attention blocked a token has nothing left to attend to: its weights would mean nothing. Leave it "
    "itself, at least.",
    NO_NUMBER: "With these changes the run leaves the range of numbers and says nothing. Choose smaller factors.",
}
"""how it ends -> what is said"""


@contextlib.contextmanager
def told_when_changes_fail() -> Iterator[None]:
    """Around a run.

    Raises:
        BadPrompt: what the changes lead to.
    """
    try:
        yield
    except (ValueError, RemoteRunError) as error:
        told = f"{error} {getattr(error, 'details', '')}"
        said = next((words for how, words in _REFUSED.items() if how in told), None)
        if said is None:
            raise
        raise BadPrompt(said) from None
