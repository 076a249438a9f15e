"""Starts the loopback service of `ndif_server.py` for tests."""

import contextlib
import functools
import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil

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

    def end(self) -> None:
        """At once, as by kill -9; it may have ended before."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.kill()
        self.process.wait()

    def received(self) -> list[dict]:
        return httpx.get(f"{self.host}/_received").json()


@functools.cache
def _starter() -> "subprocess.Popen[str]":
    """What forks services: each of them alone would import torch and nnsight for seconds."""
    command = [sys.executable, str(Path(__file__).with_name("ndif_server.py")), "--each-line"]
    here = Path(__file__).parent  # infoflow can't be imported there
    return subprocess.Popen(command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start_service(folders: dict[str, Path], *more: str) -> Service:
    """The loopback service with these models, up and answering."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = [f"--model=tiny/{family}={folder}" for family, folder in folders.items()]
    to, back = _starter().stdin, _starter().stdout
    assert to is not None and back is not None
    to.write(json.dumps([f"--port={port}", *models, *more]) + "\n")
    to.flush()
    process = psutil.Process(int(back.readline()))
    host = f"http://127.0.0.1:{port}"
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"{host}/status", timeout=1)
            return Service(host=host, process=process)
        except OSError:
            assert process.is_running(), "the server did not start"
            time.sleep(0.05)
    process.kill()
    raise AssertionError("the server did not start in a minute")
