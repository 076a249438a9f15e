"""How a run ends that comes to no result: changed ones by themselves, in words; any by Ctrl-C."""

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


@contextlib.contextmanager
def ctrl_c_stays() -> Iterator[None]:
    """Around a trace. nnsight shortens the traceback of what is raised, and raises a TypeError where a place in it has no line:
    the end of a loop, where Ctrl-C is heard.

    Raises:
        KeyboardInterrupt: what was raised was Ctrl-C.
    """
    try:
        yield
    except TypeError as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
