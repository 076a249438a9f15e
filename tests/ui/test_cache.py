"""What many readers share: looks wait for nobody, the same question is one run, results under a key are for that key."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.errors import Cancelled
from infoflow.models.spec import ModelSpec
from infoflow.ui import asking, cache, jobs
from tests.helpers.in_use import in_use
from tests.helpers.loopback import KEY, OTHER, Service


def quiet(doing: str, fraction: float = 0.0) -> None:
    pass


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("INFOFLOW_LOCAL_FOLDERS", "1")
    st.cache_data.clear()
    cache._hosted.clear()
    yield
    st.cache_data.clear()
    cache._hosted.clear()


def test_a_look_at_what_is_kept_waits_for_no_run() -> None:
    request = AttentionRequest(prompt="The dog sat on the mat")
    assert cache.at_hand(request, "") is None  # it has not been run
    ran = cache.results(request, "", quiet)
    with cache.using(ModelSpec(), "", quiet) as model:
        pass
    with in_use(model), ThreadPoolExecutor(1) as pool:
        for look in (lambda: cache.at_hand(request, ""), lambda: cache.results(request, "", quiet)):
            found = pool.submit(look).result(20)
            assert found is not None and (found.result.pattern == ran.result.pattern).all() and found.verdict == ran.verdict
        never = pool.submit(cache.at_hand, AttentionRequest(prompt="The cat sat"), "").result(20)
        assert never is None


def test_a_run_is_told_as_one_and_what_was_kept_as_kept() -> None:
    request = AttentionRequest(prompt="The dog sat on the log")
    for _ in range(2):
        cache.results(request, "", quiet)
    again, ran = cache.journal().last()[:2]
    assert (ran.outcome, again.outcome, ran.request) == ("ran", "kept", again.request) and ran.tokens


class Gate:
    """Runs that wait to be let go, counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: type[Any]) -> None:
        self.runs, self.begun, self.go_on = 0, threading.Event(), threading.Event()
        plain = kind.run

        def run(request: Any, model: Any, on_progress: Any = None) -> Any:
            self.runs += 1
            on_progress("Layer 1 of 2", 0.5)
            self.begun.set()
            assert self.go_on.wait(30)
            on_progress("Layer 2 of 2", 1.0)
            return plain(request, model, on_progress)

        monkeypatch.setattr(kind, "run", run)


@pytest.mark.parametrize("leaver", ["first", "second"])
def test_the_same_question_is_one_run_that_both_watch_and_one_may_leave(leaver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However its model is spelt: `auto` and `cpu` are the same weights."""
    gate, first, second = Gate(monkeypatch, FlowRequest), jobs.Job(), jobs.Job()
    asked = [FlowRequest(prompt="The dog sat", model=ModelSpec(device=d)) for d in ("auto", "cpu")]
    heard = threading.Event()

    def listen(doing: str, fraction: float = 0.0) -> None:
        if doing == "Layer 1 of 2":
            heard.set()
        second.say(doing, fraction)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(cache.results, asked[0], "", first.say)
        assert gate.begun.wait(60)
        two = pool.submit(cache.results, asked[1], "", listen)
        assert heard.wait(60)  # the second sees the first one's progress
        if leaver == "second":
            second.stop()
            with pytest.raises(Cancelled):
                two.result(30)
        else:
            first.stop()
        gate.go_on.set()
        stays = one if leaver == "second" else two
        assert stays.result(60).result.max_error < 1e-5
    assert gate.runs == 1 and cache.at_hand(asked[1], "") is not None


def test_a_hosted_run_goes_on_when_the_one_who_asked_first_leaves(
    service: Service, hosted: Any, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service tells of it through the connection: to all who wait, and not to the first alone."""
    request = AttentionRequest(prompt="abcd", model=ModelSpec(name=str(folders["llama"]), host=service.host))
    cache.results(AttentionRequest(prompt="ab", model=request.model), KEY, quiet)  # loaded and tested
    gate, first, heard = Gate(monkeypatch, AttentionRequest), jobs.Job(), threading.Event()

    def listen(doing: str, fraction: float = 0.0) -> None:
        if doing == "Layer 1 of 2":
            heard.set()

    with ThreadPoolExecutor(2) as pool:
        pool.submit(cache.results, request, KEY, first.say)
        assert gate.begun.wait(60)
        two = pool.submit(cache.results, request, KEY, listen)
        assert heard.wait(60)
        first.stop()
        gate.go_on.set()
        assert two.result(60).result.tokens
    assert gate.runs == 1


def test_results_made_under_a_key_are_for_that_key(service: Service, hosted: Any, folders: dict[str, Path]) -> None:
    request = AttentionRequest(prompt="abc", model=ModelSpec(name=str(folders["llama"]), host=service.host))
    cache.results(request, KEY, quiet)
    sent = len(service.received())
    cache.service(service.host, quiet)  # what it runs is known for twenty seconds
    assert cache.at_hand(request, KEY) is not None and len(service.received()) == sent
    for other in ("", OTHER):
        cache.service(service.host, quiet)
        assert cache.at_hand(request, other) is None
    cache.results(request, OTHER, quiet)
    assert len(service.received()) == sent + 1 and service.received()[-1]["key"] == OTHER
    assert KEY not in cache.of_key(KEY) and cache.of_key(KEY) != cache.of_key(OTHER) and cache.of_key("") == ""


def test_what_the_service_runs_is_part_of_what_is_kept(service: Service, hosted: Any, folders: dict[str, Path]) -> None:
    request = AttentionRequest(prompt="abc", model=ModelSpec(name=str(folders["llama"]), host=service.host))
    assert cache.results(request, KEY, quiet).result.provenance.revision == "main"
    service.fault("revision:feed")
    try:
        cache._service.clear()  # as after twenty seconds
        assert cache.at_hand(request, KEY) is None
        assert cache.results(request, KEY, quiet).result.provenance.revision == "feed"
    finally:
        service.fault("revision:main")


@pytest.mark.parametrize(
    ("said", "address", "used"),
    [("1", "0.0.0.0", True), ("", "0.0.0.0", False), ("", "127.0.0.1", True), ("0", "127.0.0.1", False)],
)
def test_the_owners_key_is_used_only_where_the_owner_says_so(
    said: str, address: str, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFOFLOW_SHARE_KEY", said)
    monkeypatch.setenv("INFOFLOW_UNLOAD", said)
    monkeypatch.setenv("NDIF_API_KEY", KEY)
    monkeypatch.setattr(st, "get_option", {"server.address": address}.__getitem__)
    assert asking._owners_key() == (KEY if used else "")
    assert cache.unloading_allowed() == used
