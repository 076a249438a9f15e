"""The app as its image runs it: the Dockerfile's environment and command, every file system read-only, no capabilities, 256 MB of
memory as /tmp from which nothing is executed. In it hostile texts are only drawn, and nothing else is asked for anything.

The image's user is not there: this machine's Python may lie in a folder that only its owner reads.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import ROOT, Visitor, serve
from tests.helpers import hostile

pytestmark = pytest.mark.slow
SHOWN = ("/", "/answer", "/generation")
"""pages that have between them every way in which a text is drawn; tests/pages/test_text_is_text.py has all pages"""
CLOSED = """
set -e
mount --make-rprivate /
mount --bind "$1" /mnt
mount -t tmpfs -o size=256m,mode=1777,noexec,nosuid,nodev tmpfs /tmp
mount --bind / / && mount -o remount,bind,ro / && mount -o remount,bind,ro /mnt
cd /mnt
shift
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs env -i "$@"
"""


def _of_the_image() -> tuple[list[str], list[str]]:
    """Its environment and its command, without where it listens."""
    text = (ROOT / "Dockerfile").read_text()
    (environment,) = re.findall(r"^ENV (PATH=.*?[^\\])\n(?! )", text, re.M | re.S)
    (command,) = re.findall(r"^CMD (\[.*\])", text, re.M)
    said = [pair for pair in environment.replace("\\\n", " ").split() if not pair.startswith("PATH=")]
    return said, [part for part in json.loads(command) if not part.startswith(("--server.address", "--server.port"))]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    can = shutil.which("unshare") and shutil.which("setpriv")
    if not can or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("this user may not make a mount namespace here: the app is not tried on a read-only file system")
    environment, command = _of_the_image()
    assert command[:3] == ["streamlit", "run", "streamlit_app.py"] and "INFOFLOW_HOSTED=1" in environment
    ours = Path(sys.executable)
    if ours.is_relative_to(ROOT):  # as it is called there: where the checkout lies below /tmp, its own name is gone
        ours = Path("/mnt") / ours.relative_to(ROOT)
    python = [str(ours), "-m", "streamlit", "run", "deploy/streamlit_app.py", *command[3:]]
    path = f"PATH={ours.parent}:/usr/bin:/bin"
    closed = ["unshare", "-m", "bash", "-c", CLOSED, "bash", str(ROOT), path, *environment, *python]
    yield from serve(tmp_path_factory.mktemp("deployed"), closed)


@pytest.fixture
def stranger(browser: Browser, deployed: str) -> Iterator[Visitor]:
    """Somebody with a browser of their own."""
    context = browser.new_context()
    yield Visitor(context.new_page(), deployed)
    context.close()


def test_it_runs_where_nothing_can_be_written_and_draws_hostile_texts_as_text(stranger: Visitor) -> None:
    me, host = stranger, stranger.address
    query = urlencode({"prompt": f"a {hostile.SHORT}<img src=x onerror=broken=1>", "target": hostile.SHORT})
    for place in SHOWN:
        me.page.goto(f"{host}{place}?{query}")
        me.page.wait_for_selector('[data-testid="stMain"] h1', timeout=90_000)
        me.settle()
        assert me.page.evaluate("globalThis.broken") is None, place
        made = f'b.{hostile.MARK}, img[src="x"], [data-testid="stMain"] a[href^="javascript"]'
        assert me.page.locator(made).count() == 0, place
        bold = me.page.locator("b, strong, [style*='color: red']", has_text=hostile.MARK)
        assert all(hostile.MARK in (text or "") and ":red" in text for text in bold.all_inner_texts()), place
        assert me.page.locator('[data-testid="stException"]').count() == 0, place
    asked = {url.split("/")[2] for url in me.requests if url.startswith(("http", "ws"))}
    assert asked == {host.removeprefix("http://")}


def test_a_picture_is_drawn_there_as_a_file(stranger: Visitor) -> None:
    stranger.open("/?prompt=The+cat+sat")
    with stranger.page.expect_download(timeout=60_000) as found:
        stranger.page.get_by_role("button", name="PNG", exact=True).first.click()
    assert Path(found.value.path()).read_bytes()[:4] == b"\x89PNG"


def test_what_it_sends_and_takes_is_what_its_config_says(deployed: str) -> None:
    for way in ("/_stcore/agent/openapi.json", "/app/static/x", "/.streamlit/secrets.toml", "/requirements.txt"):
        with urllib.request.urlopen(deployed + way) as answer:  # the page, for what is no file: never the file
            assert b"INFOFLOW" not in answer.read()
    host, port = deployed.removeprefix("http://").split(":")
    asked = [
        "GET /_stcore/stream HTTP/1.1", f"Host: {host}:{port}", "Origin: http://evil.example", "Connection: Upgrade",
        "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "",
    ]  # fmt: skip
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall("\r\n".join(asked).encode())
        assert b" 403 " in line.recv(200).split(b"\r\n")[0], "a page of another host opens no session"
    put = urllib.request.Request(f"{deployed}/_stcore/upload_file/a/b", data=b"x", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(put)
    assert error.value.code in (400, 401, 403), "without the cookie's token nothing is taken"
