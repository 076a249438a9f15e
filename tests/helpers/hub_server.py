"""A model hub on loopback that answers as the Hugging Face hub does: a test tool, in a thread of the tests' own process."""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Models by name; `gated` ones give no file out; `pause` seconds pass before each block of a large file, and of which more
    than a megabyte comes only while it `flows`."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.pause = 0.0
        self.flows = Event()
        self.flows.set()
        self.asked: list[str] = []
        self.sent = 0
        """bytes of files"""
        self.address = ""

    def info(self, name: str) -> dict[str, Any]:
        folder = self.folders[name]
        files = [{"rfilename": f.name, "size": f.stat().st_size, "blobId": "0"} for f in sorted(folder.iterdir())]
        return {
            "id": name, "modelId": name, "sha": COMMIT, "downloads": 7, "gated": "manual" if name in self.gated else False,
            "tags": [], "siblings": files, "safetensors": {"parameters": {"F32": 5_000_000}, "total": 5_000_000},
            "config": {"model_type": "llama"},
        }  # fmt: skip


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def _json(self, value: Any) -> None:
            body = json.dumps(value).encode()
            self._head(200, len(body), {"Content-Type": "application/json"})
            self.wfile.write(body)

        def _head(self, code: int, length: int, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()

        def _refuse(self, code: int, why: str) -> None:
            self._head(code, 0, {"X-Error-Code": why, "X-Error-Message": why})

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            url = urlsplit(self.path)
            hub.asked.append(f"{self.command} {url.path}")
            if url.path == "/api/models":
                wanted = parse_qs(url.query).get("search", [""])[0].lower()
                return self._json([hub.info(name) for name in hub.folders if wanted in name.lower()])
            about = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", url.path)
            file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url.path)
            found = about or file
            if found is None or found[1] not in hub.folders:
                return self._refuse(404, "RepoNotFound")
            if found[2] not in (None, "main", COMMIT):
                return self._refuse(404, "RevisionNotFound")
            if about:
                return self._json(hub.info(about[1]))
            assert file is not None
            if file[1] in hub.gated:
                return self._refuse(403, "GatedRepo")
            path = hub.folders[file[1]] / file[3]
            if not path.is_file():
                return self._refuse(404, "EntryNotFound")
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            self._head(200, len(content), {"ETag": etag, "X-Repo-Commit": COMMIT})
            if body:
                for start in range(0, len(content), 1 << 16):
                    hub.sent += self.wfile.write(content[start : start + (1 << 16)])
                    if len(content) > 1 << 18:
                        time.sleep(hub.pause)
                    if start > 1 << 20:
                        hub.flows.wait(60)
            return None

    return Handler


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub on a free port, until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
