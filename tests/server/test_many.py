"""The real server with many visitors, and after what befalls one: others are served, and what they are shown is right."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

import infoflow
from benchmarks import load
from tests.helpers.app import ROOT, App, running
from tests.helpers.visitor import Visitor

TOKEN = "of-the-owner"
LONG = {
    "prompt": "When Mary and John went to the store, John gave a drink to",
    "change": '{"kind":"scale","site":"mlp","factor":0.9}',
}
"""a question whose page runs for seconds: no stored run has it"""
ENDS = 10
"""seconds in which a stopped server is gone"""


@pytest.mark.slow
def test_many_at_once_are_shown_what_each_would_be_alone() -> None:
    """The load benchmark in a short form: `benchmarks/load.py` without it goes on for five minutes."""
    command = [sys.executable, "benchmarks/load.py", "--short", "--sessions=4", "--programs=1", "--minutes=0.1"]
    command += ["--reads=0.1", "--held-against=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Different: 0\nFailed: 0. Sent another's word: 0" in done.stdout


class Shown:
    """A visitor who is shown what is made up here."""

    def __init__(self, charts: dict[str, str], errors: tuple[str, ...] = ()) -> None:
        self.charts, self.told, self.failures = lambda: charts, lambda: [*errors], list[str]

    async def __aenter__(self) -> "Shown":
        return self

    async def __aexit__(self, *raised: object) -> None:
        pass

    async def open(self, page: str, **address: str) -> None:
        pass


def test_the_load_benchmark_fails_where_another_picture_or_none_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    again = [Shown({"map": "mine"}), Shown({"map": "another's"}), Shown({}), Shown({}, ("Full. Try again in a second.",))]

    async def held_against() -> tuple[load.Seen, list[tuple[int, list[str]]]]:
        seen = load.Seen("Zq000x")
        for shown in again:
            await load.step(shown, seen, "/", {})  # type: ignore[arg-type]
        seen.steps = seen.steps[:1]
        found = []
        for shown in again:
            monkeypatch.setattr(load, "Visitor", lambda address, heard, shown=shown: shown)
            found.append(await load.alone(App("", None, Path()), [seen]))  # type: ignore[arg-type]
        return seen, found

    seen, (same, *others) = asyncio.run(held_against())
    assert seen.failed == ["/: it shows no chart"] and seen.busy == 1 and same == (1, [])
    assert [len(differ) for _, differ in others] == [1, 1, 1]


async def figure(app: App, name: str) -> float:
    async with httpx.AsyncClient(base_url=app.address, timeout=120) as client:
        found = await client.get("/api/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    return float(next(line for line in found.text.splitlines() if line.startswith(name)).split()[-1])


async def flow(app: App, prompt: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=app.address, timeout=120) as client:
        return json.loads((await client.post("/api/flow", json={"prompt": prompt})).content)


async def one_leaves(app: App) -> dict[str, Any]:
    """A connection is cut while its run goes on; then another question is asked. What came of that."""
    heard: list[bytes] = []
    leaving = await Visitor(app.address).__aenter__()
    await leaving.begin("/circuits", **LONG)
    await leaving.sees("progress")
    leaving.drop()
    found = await flow(app, "The sky is")
    async with Visitor(app.address, heard.append) as other:
        await other.send(BackMsg(clear_cache=True))  # anybody can say so
        await other.send(BackMsg(load_git_info=True))
        await other.open("/", prompt="The sky is")
        assert other.charts() and other.failures() == other.told() == []
    assert await figure(app, "infoflow_models ") == 1, "the model is still held"
    assert "git_info_changed" not in {ForwardMsg.FromString(message).WhichOneof("type") for message in heard}
    return found


async def stopped(app: App) -> float:
    """Seconds that the server took to end while a visitor's run went on."""
    visitor = await Visitor(app.address).__aenter__()
    other = {**LONG, "prompt": "When Neil and Anna went to the store, Anna gave a drink to"}  # the first may be answered by now
    await visitor.begin("/circuits", **other)
    await visitor.sees("heading")  # the page has begun
    begun = time.monotonic()
    app.process.terminate()
    await asyncio.to_thread(app.process.wait, 60)
    return time.monotonic() - begun


@pytest.mark.slow
def test_who_leaves_and_what_anybody_may_say_harms_nobody_and_a_stopped_server_ends(
    tmp_path: Path, demo: "infoflow.Model"
) -> None:
    with running(tmp_path / "log", hosted="1", owner_token=TOKEN, sessions=str(tmp_path / "sessions")) as app:
        found = asyncio.run(one_leaves(app))
        assert np.allclose(found["mlp_norms"], infoflow.decompose(demo, "The sky is").norms("post"), atol=1e-3)
        assert asyncio.run(stopped(app)) < ENDS
    assert not (tmp_path / "sessions").exists()
    lines = [json.loads(line) for line in app.log.read_text().splitlines() if line.startswith('{"time"')]
    assert {line["analysis"] for line in lines} >= {"flow"} and "The sky is" not in app.log.read_text()
    assert "Traceback" not in app.log.read_text(), app.log.read_text()
