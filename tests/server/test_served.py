"""The app's own server answers programs beside its pages."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

import infoflow
from tests.helpers.api import events_of
from tests.helpers.app import ROOT
from tests.helpers.served import serve

TOKEN, OTHER = "planted", "other"
SPAIN = {"prompt": "The capital of Spain is"}


def served(first: str, token: str, folders: pytest.TempPathFactory) -> Iterator[str]:
    own = {"INFOFLOW_SESSIONS": str(folders.mktemp("sessions")), "INFOFLOW_API_TOKEN": token}
    own["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    yield from serve(folders.mktemp("server"), [sys.executable, "-m", "streamlit", "run", first], own)


@pytest.fixture
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As on Community Cloud, with a token."""
    yield from served("deploy/streamlit_app.py", TOKEN, tmp_path_factory)


@pytest.fixture
def own_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As `make app` starts it."""
    yield from served("streamlit_app.py", "", tmp_path_factory)


def ask(address: str, body: dict[str, Any] | None = None, token: str = TOKEN) -> tuple[Any, bytes]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(address, None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(asked, timeout=120) as answer:
        return answer.headers, answer.read()


async def first_page(address: str) -> list[str]:
    """What a browser is sent over its websocket until the first page's script has run."""
    heard = []
    stream = f"{address.replace('http', 'ws')}/_stcore/stream"
    async with websockets.connect(stream, subprotocols=["streamlit"], max_size=None) as line:  # type: ignore[list-item]
        asked = BackMsg()
        asked.rerun_script.query_string = ""
        await line.send(asked.SerializeToString())
        while "script_finished" not in heard:
            message = ForwardMsg()
            message.ParseFromString(await asyncio.wait_for(line.recv(), 120))  # type: ignore[arg-type]
            heard.append(str(message.WhichOneof("type")))
            assert not message.HasField("delta") or not message.delta.new_element.HasField("exception")
    return heard


@pytest.mark.slow
def test_programs_and_pages_are_served_side_by_side(app: str, demo: "infoflow.Model") -> None:
    with urllib.request.urlopen(f"{app}/api/health", timeout=60) as answer:
        assert json.load(answer) == {"alive": True, "version": infoflow.__version__}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(f"{app}/api/models", token=OTHER)
    _, found = ask(f"{app}/api/flow", SPAIN)
    flow = infoflow.decompose(demo, SPAIN["prompt"])
    assert np.allclose(json.loads(found)["mlp_norms"], flow.norms("post"), atol=1e-3)  # other threads, another order of sums
    headers, told = ask(f"{app}/api/lens?events=1", SPAIN)
    assert headers["x-content-type-options"] == "nosniff" and events_of(told.decode())[-1][0] == "result"
    assert {"new_session", "delta"} <= {*asyncio.run(first_page(app))}
    with urllib.request.urlopen(app, timeout=60) as page:
        assert "script-src 'self'" in page.headers["content-security-policy"] and page.headers["referrer-policy"]


@pytest.mark.slow
def test_the_examples_of_the_readme_are_answered(own_app: str, capsys: pytest.CaptureFixture[str]) -> None:
    section = (
        (ROOT / "README.md").read_text().split("## For programs")[1].split("\n## ")[0].replace("http://localhost:8501", own_app)
    )
    shell, python = (re.findall(rf"```{kind}\n(.*?)```", section, re.S)[0] for kind in ("bash", "python"))
    space: dict[str, Any] = {}
    exec(python, space)  # noqa: S102  our own README
    assert space["answer"].status_code == 200 and space["table"]["rows"] and space["event"] == "result"
    assert "Writing, 1 of at most 20" in capsys.readouterr().out
    answers = [
        subprocess.run(shlex.split(line), check=True, capture_output=True, timeout=120).stdout.decode()
        for line in shell.splitlines()
    ]
    assert "attention_norms" in json.loads(answers[0]) and "top_predictions" in json.loads(answers[1])
    assert events_of(answers[2])[-1][0] == "result" and answers[3].startswith("<svg")
    assert {"new_session", "delta"} <= {*asyncio.run(first_page(own_app))}
