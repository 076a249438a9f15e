"""Starts the loopback service of `ndif_server.py` for tests."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import httpx

KEY, OTHER = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"


class Service(SimpleNamespace):
    def fault(self, mode: str) -> None:
        httpx.post(f"{self.host}/_fault", json={"mode": mode})

    def wait_for_faults(self) -> None:
        """Until every fault that was asked for has come."""
        until = time.monotonic() + 60
        while httpx.get(f"{self.host}/_fault").json():
            assert time.monotonic() < until, "no run came for the fault"
            time.sleep(0.05)

    def received(self) -> list[dict]:
        return httpx.get(f"{self.host}/_received").json()


def start_service(folders: dict[str, Path], *more: str) -> Service:
    """The loopback service with these models, up and answering."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = [f"--model=tiny/{family}={folder}" for family, folder in folders.items()]
    command = [sys.executable, str(Path(__file__).with_name("ndif_server.py")), f"--port={port}", *models, *more]
    process = subprocess.Popen(command, cwd=Path(__file__).parent)  # infoflow can't be imported there
    host = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{host}/status", timeout=1)
            return Service(host=host, process=process)
        except OSError:
            assert process.poll() is None, "the server did not start"
            time.sleep(0.1)
    process.kill()
    raise AssertionError("the server did not start in a minute")
