"""An app for strangers opens no connection to anybody: not for a page, a picture, a typed name, an address or a file."""

import socket
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.errors import InfoflowError
from infoflow.files import sessions
from infoflow.ui import cache
from tests.helpers.pages import ROOT, errors

PAGES = sorted(ROOT.glob("pages/*.py"))
Asked = list[Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Whom the app would have asked: names looked up, and connections."""
    found: Asked = []

    def refused(*given: Any, **more: Any) -> Any:
        found.append(given)
        raise OSError("a test of the network that must not be used")

    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket.socket, "connect_ex", refused)
    for name in ("INFOFLOW_LOCAL_FOLDERS", "INFOFLOW_UNLOAD", "INFOFLOW_SHARE_KEY", "NDIF_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INFOFLOW_HOSTED", "1")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_no_page_asks_anybody(path: Path, asked: Asked) -> None:
    app = AppTest.from_file(str(path), default_timeout=120)
    app.query_params["batch_analyses"] = "flow"
    app.session_state["batch_prompts"] = "The sky"
    app.run()
    assert not app.exception and asked == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "address",
    [
        {"model": "nobody/has-this"}, {"model": "nobody/has-this@main", "where": "on NDIF"}, {"model": "smollm2"},
        {"where": "on NDIF", "ndif_key": "k"}, {"model": "http://127.0.0.1:9/x"}, {"model": "/etc/passwd"},
        {"lens_file": "hub:nobody/has-this/lens.pt"}, {"lens_file": "/etc/passwd"}, {"hub_search": "pythia"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("page", ["logit_lens", "models"])
def test_no_address_makes_it_ask(page: str, address: dict[str, str], asked: Asked) -> None:
    app = AppTest.from_file(str(ROOT / f"pages/{page}.py"), default_timeout=120)
    app.query_params.update({"prompt": "The sky is", **address})
    app.run()
    assert asked == []
    assert not app.exception
    for told in errors(app):
        assert "root:" not in told


def test_nothing_that_fetches_can_be_reached(asked: Asked) -> None:
    for fetch in (lambda: cache.found_on_hub("pythia", _said), lambda: cache.fetch_smollm2(_said)):
        with pytest.raises(InfoflowError):
            fetch()
    assert asked == []


def test_no_file_makes_it_ask(asked: Asked, demo: "infoflow.Model", tmp_path: Path) -> None:
    kept = infoflow.save_session(tmp_path / "one.zip", [infoflow.logit_lens(demo, "The sky")]).read_bytes()
    sessions.open_session(kept, folders=False)
    assert asked == []


def test_a_connection_would_be_seen(asked: Asked) -> None:
    with pytest.raises(OSError, match="must not be used"):
        socket.create_connection(("127.0.0.1", 9))
    assert asked


def _said(doing: str, fraction: float) -> None: ...
