"""Files that are there whole or not at all."""

import os
import tempfile
from pathlib import Path

from infoflow.errors import InfoflowError

ENDING = ".part"
"""of what is being written"""


def write(path: Path, data: bytes) -> None:
    """Put data into a file: under another name first, so that a crash or a full disk leaves what was there before.

    Raises:
        InfoflowError: it can't be written.
    """
    held = ""
    try:
        number, held = tempfile.mkstemp(ENDING, f".{path.stem[:60]}-", path.parent)
        with os.fdopen(number, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(held, path)
    except OSError as error:
        if held:
            Path(held).unlink(missing_ok=True)
        why = error.strerror or type(error).__name__
        raise InfoflowError(
            f"'{path}' can't be written: {why}. Nothing was changed. Make room, or choose another place."
        ) from error
