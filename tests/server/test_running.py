"""A run is told of as it goes, and ends when its client leaves or the server stops."""

import asyncio
import gc
import signal
import threading
import weakref
from typing import Any

import pytest
from starlette.testclient import TestClient

from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Report, Request
from infoflow.errors import BadPrompt, Cancelled, TooLarge
from infoflow.server import running
from infoflow.server.log import Journal, Question
from infoflow.sharing import SharedWork
from infoflow.turns import visitor
from tests.helpers.api import Client, app_of, client_of, events_of, failing

ASKED = {"prompt": "The capital of Spain is"}


class Held:
    """A run that goes on until it is stopped."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()
        self.who = self.key = ""

    def __call__(self, request: Request[Any], key: str, say: Report) -> Performed[Any]:
        self.who, self.key = visitor(), key
        try:
            while True:
                say("Layer 1 of 2", 0.5)
                self.begun.set()
                self.ended.wait(0.01)
        except Cancelled:
            self.ended.set()
            raise


@pytest.mark.parametrize("ask", [{"params": {"events": 1}}, {"headers": {"Accept": "text/event-stream"}}])
@pytest.mark.parametrize("method", ["flow", "lens"])  # the one's answer is many lines, the other's one
def test_events_end_with_the_very_answer(method: str, ask: dict[str, Any], client: TestClient) -> None:
    answer = client.post(f"/api/{method}", json=ASKED, **ask)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *progress, last = events_of(answer.text)
    assert last == ("result", client.post(f"/api/{method}", json=ASKED).json())
    assert progress and all(name == "progress" and said.keys() == {"doing", "fraction"} for name, said in progress)


def test_events_end_with_what_went_wrong() -> None:
    answer = client_of(failing(BadPrompt("It is empty."))).post("/api/lens?events=1", json=ASKED)
    assert events_of(answer.text)[-1][0] == "problem" and events_of(answer.text)[-1][1]["detail"] == "It is empty."
    assert answer.status_code == 200  # it had begun


def test_what_is_wrong_at_once_is_no_stream(client: TestClient) -> None:
    assert client.post("/api/lens?events=1", json={}).status_code == 422


@pytest.mark.parametrize("query", ["", "events=1"])
def test_a_client_that_leaves_ends_its_run(query: str) -> None:
    held = Held()

    async def ask_and_leave() -> None:
        client = Client(app_of(held))
        asking = asyncio.create_task(client.post("/api/lens", ASKED, query))
        assert await asyncio.to_thread(held.begun.wait, 20)
        if query:
            await asyncio.wait_for(client.heard.wait(), 20)
        client.leaves.set()
        await asyncio.wait_for(asking, 20)

    asyncio.run(ask_and_leave())
    assert held.ended.wait(20), "it runs for nobody"
    assert held.who == "http:1.2.3.4"


@pytest.mark.parametrize("query", ["", "events=1"])
def test_a_server_that_stops_answers_first(query: str) -> None:
    held, stopped = Held(), []
    before = signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))

    async def ask_and_stop() -> Client:
        client = Client(app_of(held))
        asking = asyncio.create_task(client.post("/api/lens", ASKED, query))
        assert await asyncio.to_thread(held.begun.wait, 20)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(asking, 20)
        return client

    try:
        with running.stopped_by_signals():
            client = asyncio.run(ask_and_stop())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped == [signal.SIGTERM] and held.ended.wait(20)
    assert client.sent[0]["status"] == (200 if query else 503)
    assert b"being stopped" in client.sent[-1]["body"]


def test_a_server_that_is_being_stopped_begins_no_run() -> None:
    held = Held()

    async def stop_and_ask() -> Client:
        client = Client(app_of(held))
        running.stop_all()
        await asyncio.wait_for(client.post("/api/lens", ASKED), 20)
        return client

    with running.stopped_by_signals():
        assert asyncio.run(stop_and_ask()).sent[0]["status"] == 503 and not held.begun.is_set() and not running._going
    with running.stopped_by_signals():  # the next one in this process begins anew
        assert client_of(failing(BadPrompt("Enough."))).post("/api/lens", json=ASKED).status_code == 422


def test_a_run_for_which_there_is_no_thread_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def begin() -> None:
        with monkeypatch.context() as none_left, pytest.raises(RuntimeError):
            none_left.setattr(running.threading.Thread, "start", start)
            running.Run(lambda say: b"")
        assert await asyncio.wait_for(running.Run(lambda say: b"found").outcome, 20) == b"found"

    monkeypatch.setattr(running, "_places", threading.BoundedSemaphore(1))
    asyncio.run(begin())
    assert not running._going


class Large:
    """Something that a run holds."""


@pytest.mark.parametrize("query", ["", "?events=1"])
@pytest.mark.parametrize(
    ("error", "status"), [(TooLarge("It was ended."), 413), (ZeroDivisionError(), 500), (StopIteration(), 500)], ids=repr
)
def test_a_run_that_fails_is_told_and_what_it_held_is_gone(
    error: BaseException, status: int, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    held: list[weakref.ref[Large]] = []
    journal = Journal()

    def run(request: Request[Any], key: str, say: Report) -> Performed[Any]:
        def work(told: Report) -> Performed[Any]:
            large = Large()
            held.append(weakref.ref(large))
            raise error

        return journal.told(Question.of(request), say, lambda told: SharedWork().do("key", work, told))

    gc.disable()  # which would find it at some time or other
    try:
        answer = client_of(run).post(f"/api/lens{query}", json=ASKED)
        assert (events_of(answer.text)[-1][1] if query else answer.json())["status"] == status
        assert held[0]() is None
    finally:
        gc.enable()
    assert ("this is a bug" in caplog.text and "in work" in caplog.text) == (status == 500)


def test_one_too_many_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_places", threading.BoundedSemaphore(1))
    held = Held()

    async def ask_twice() -> Client:
        app = app_of(held)
        first, second = Client(app), Client(app)
        asking = asyncio.create_task(first.post("/api/lens", ASKED))
        assert await asyncio.to_thread(held.begun.wait, 20)
        await asyncio.wait_for(second.post("/api/lens", ASKED), 20)
        first.leaves.set()
        await asyncio.wait_for(asking, 20)
        return second

    sent = asyncio.run(ask_twice()).sent
    assert sent[0]["status"] == 429 and (b"retry-after", b"5") in sent[0]["headers"]


def test_a_key_comes_in_a_header_and_goes_nowhere_else() -> None:
    keys = []

    def run(request: Request[Any], key: str, say: Report) -> Performed[Any]:
        keys.append((key, request.key))
        raise BadPrompt("Enough.")

    client = client_of(run)
    answer = client.post("/api/lens", json=ASKED, headers={"X-NDIF-Key": "planted"})
    assert keys[0][0] == "planted" and "planted" not in keys[0][1] + answer.text
    assert client.post("/api/lens", json={**ASKED, "key": "planted"}).status_code == 422
