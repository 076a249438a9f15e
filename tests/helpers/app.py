"""The app in a process of its own, as its owner starts it."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class App:
    """A running app."""

    address: str
    process: "subprocess.Popen[bytes]"
    log: Path
    """what it wrote"""

    @property
    def resident(self) -> int:
        """Bytes of memory that it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@contextmanager
def started(log: Path, command: list[str], environment: dict[str, str]) -> Iterator[App]:
    """The server that a command starts, but for its port, until the end of the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*command, "--server.headless=true", f"--server.port={port}", "--server.address=127.0.0.1"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
                break
            assert process.poll() is None and time.monotonic() < until, f"the server did not start:\n{log.read_text()}"
            time.sleep(0.05)
        yield App(address, process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:  # a run that goes on holds it up, and on a busy machine for long; the test is over
            process.kill()
            process.wait()


@contextmanager
def running(log: Path, **settings: str) -> Iterator[App]:
    """The app with these settings (INFOFLOW_ is put before their names), until the end of the block."""
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
    with started(log, command, {f"INFOFLOW_{name.upper()}": value for name, value in settings.items()}) as app:
        yield app
