"""Charts converted in a process of its own: the converter's native code ends its whole process on what it can't draw.

A process that is through stays for a while: it has read Vega and its fonts, which takes longer than most pictures do.
"""

import atexit
import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

from infoflow.errors import InfoflowError

PATIENCE = 300.0
"""seconds after which a picture is given up"""
STAYS = 30.0
"""seconds for which a process that is through waits for the next picture: it holds 150 MB"""


class _Process:
    def __init__(self) -> None:
        command = [sys.executable, "-P", str(Path(__file__).with_name("converting.py"))]
        self._running = subprocess.Popen(  # noqa: S603  ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def do(self, job: str, given: bytes, how: dict[str, float]) -> tuple[bytes | None, bool]:
        """What a job gives, or None where nothing came of it, and whether the process can take another."""
        to, back = self._running.stdin, self._running.stdout
        assert to is not None and back is not None
        late = threading.Timer(PATIENCE, self._running.kill)
        late.daemon = True
        late.start()
        try:
            to.write(json.dumps({"job": job, "bytes": len(given), **how}).encode() + b"\n" + given)
            to.flush()
            told = back.readline()
            if not told.endswith(b"\n"):
                return None, False
            size = json.loads(told)
            made = None if size is None else back.read(size)
            return (made, True) if made is None or len(made) == size else (None, False)
        except OSError:  # it has ended
            return None, False
        finally:
            late.cancel()

    def lives(self) -> bool:
        return self._running.poll() is None

    def end(self) -> None:
        self._running.kill()
        for stream in (self._running.stdin, self._running.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # what was not taken any more
                stream.close()
        self._running.wait()


class Converter:
    """Processes that convert: as many as are asked at the same time, of which one stays for `STAYS` seconds after its work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: tuple[_Process, threading.Timer] | None = None

    def convert(self, job: str, given: bytes, **how: float) -> bytes:
        """What one of `converting.JOBS` gives.

        Raises:
            InfoflowError: it could not be drawn.
        """
        process, usable = self._taken() or _Process(), False
        try:
            made, usable = process.do(job, given, how)
        finally:
            if usable:
                self._stays(process)
            else:
                process.end()
        if made is None:
            raise InfoflowError("The picture could not be drawn. Save the table (CSV or JSON) instead, or try another prompt.")
        return made

    def close(self) -> None:
        """End the process that waits, if one does."""
        if process := self._taken():
            process.end()

    def _taken(self) -> _Process | None:
        with self._lock:
            found, self._idle = self._idle, None
        if found is None:
            return None
        process, timer = found
        timer.cancel()
        if process.lives():
            return process
        process.end()  # somebody else ended it, as a system does that has no memory left
        return None

    def _stays(self, process: _Process) -> None:
        timer = threading.Timer(STAYS, self._ends, [process])
        timer.daemon = True
        with self._lock:
            if free := self._idle is None:
                self._idle = process, timer
        if free:
            timer.start()
        else:
            process.end()

    def _ends(self, process: _Process) -> None:
        with self._lock:
            if self._idle is None or self._idle[0] is not process:
                return
            self._idle = None
        process.end()


CONVERTER = Converter()
"""this process's own"""
atexit.register(CONVERTER.close)
