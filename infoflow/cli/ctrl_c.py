"""Ctrl-C, raised again where it was lost: Python drops what is raised while an object is freed, and a library may make another
error of it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_came = [False]
"""whether it has come: in the command that runs"""


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Around a command; where others hear Ctrl-C already, or nobody is to, that stays so.

    Raises:
        KeyboardInterrupt: Ctrl-C has come, and the command ended with any error.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        _came[:] = [True]
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if _came[0]:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _came[:] = [False]


def again() -> None:
    """For whoever tells of progress.

    Raises:
        KeyboardInterrupt: Ctrl-C has come.
    """
    if _came[0]:
        raise KeyboardInterrupt
