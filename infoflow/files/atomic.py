"""Files that are there whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path

from infoflow.errors import InfoflowError

ENDING = ".part"
"""of what is being written"""


def place(path: str | Path) -> Path:
    """A path as it was typed, with ~ for this user's folder.

    Raises:
        InfoflowError: the folder of a user that there is not.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InfoflowError(f"'{path}' can't be found: there is no such user. Write the folder out.") from None


def put(path: Path, data: bytes, beside: Path) -> None:
    """Write a file under a name in its folder, bring it to the disk, and give it its own name.

    Raises:
        OSError: it can't be done; what was there before is still there, and of `beside` something may be left.
    """
    with beside.open("wb") as out:  # readable by whom this user's files are
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(path)
    with contextlib.suppress(OSError):  # where a folder can't be opened as a file
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(path: Path, data: bytes) -> None:
    """Put data into a file: under another name first, so that a crash or a full disk leaves what was there before.

    Raises:
        InfoflowError: it can't be written.
    """
    held = path.with_name(f".{path.stem[:60]}-{secrets.token_hex(4)}{ENDING}")
    try:
        put(path, data, held)
    except OSError as error:
        with contextlib.suppress(OSError):
            held.unlink()
        why = error.strerror or type(error).__name__
        raise InfoflowError(
            f"'{path}' can't be written: {why}. Nothing was changed. Make room, or choose another place."
        ) from error
