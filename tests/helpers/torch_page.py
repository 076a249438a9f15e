"""A page of links like PyTorch's for the CPU builds of torch, served on this machine, with wheels that hold their names alone."""

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

PATH = "/whl/cpu/torch/"
NEEDS = ("filelock", "typing-extensions>=4.10.0", "sympy>=1.13.3", "networkx>=2.5.1", "jinja2", "fsspec>=0.8.5")
VERSIONS, PYTHONS, MACHINES = ("2.12.0+cpu", "2.13.0+cpu", "2.14.1+cpu"), ("311", "312", "313"), ("x86_64", "aarch64")


def _wheel(version: str, tag: str) -> bytes:
    made = io.BytesIO()
    about = f"torch-{version}.dist-info"
    with zipfile.ZipFile(made, "w") as archive:
        needs = "".join(f"Requires-Dist: {need}\n" for need in NEEDS)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n{needs}")
        archive.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        archive.writestr(f"{about}/RECORD", "")
    return made.getvalue()


def _wheels() -> dict[str, bytes]:
    tags = [f"cp{python}-cp{python}-manylinux_2_28_{machine}" for python in PYTHONS for machine in MACHINES]
    return {f"torch-{version}-{tag}.whl": _wheel(version, tag) for version in VERSIONS for tag in tags}


@contextmanager
def served() -> Iterator[tuple[str, list[str]]]:
    """Its host, and what it was asked for."""
    wheels, asked = _wheels(), []
    page = "<!DOCTYPE html>" + "".join(f'<a href="/whl/cpu/{quote(name)}">{name}</a><br>' for name in wheels)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path)
            asked.append(path)
            body = page.encode() if path == PATH else wheels.get(path.split("/")[-1])
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "text/html" if path == PATH else "application/octet-stream")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *said: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
