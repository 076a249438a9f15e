"""The app's own server answers programs beside its pages."""

import asyncio
import json
import os
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
from tests.helpers.served import ROOT, serve

TOKEN, OTHER = "planted", "other"
SPAIN = {"prompt": "The capital of Spain is"}


@pytest.fixture(scope="module", params=["streamlit_app.py", "deploy/streamlit_app.py"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    own = {"INFOFLOW_SESSIONS": str(tmp_path_factory.mktemp("sessions")), "INFOFLOW_API_TOKEN": TOKEN}
    own["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    yield from serve(tmp_path_factory.mktemp("server"), [sys.executable, "-m", "streamlit", "run", request.param], own)


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
