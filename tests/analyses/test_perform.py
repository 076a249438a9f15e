"""Requests as an application runs them: who waits is told, chance is not held against a model, lack of memory is a sentence."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses import perform, selftest
from infoflow.analyses.activations import ActivationsRequest
from infoflow.analyses.attention import AttentionRequest, CalibrationRequest
from infoflow.analyses.attribution import AttributionRequest
from infoflow.analyses.carriers import CarriersRequest
from infoflow.analyses.causal import CausalRequest
from infoflow.analyses.circuits import CircuitRequest
from infoflow.analyses.direct import DirectRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.generation import GenerationRequest
from infoflow.analyses.graph import GraphRequest
from infoflow.analyses.location import LocationRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.analyses.pairs import PairsRequest
from infoflow.analyses.patching import PatchRequest
from infoflow.analyses.promotions import PromotionsRequest
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.query_key import QueryKeyRequest
from infoflow.analyses.readers import ReadersRequest
from infoflow.analyses.request import Request, known
from infoflow.analyses.stability import StabilityRequest
from infoflow.errors import BadLens, Cancelled, RemoteRunError, TooLarge, UnsupportedModel
from infoflow.models import lenses, memory
from infoflow.models.account import ACCOUNT
from infoflow.studies.corrections import CorrectionRequest
from infoflow.studies.roles import RolesRequest
from tests.helpers import tiny
from tests.helpers.in_use import in_use

ANSWER = 17
"""a token that this model's heads and MLPs speak for"""
EVERY: list[Request[Any]] = [
    FlowRequest(prompt="ab"),
    AttentionRequest(prompt="ab"),
    CalibrationRequest(length=4, samples=1),
    AttributionRequest(prompt="ab", target=5),
    DirectRequest(prompt="ab", target=5),
    LocationRequest(prompt="ab"),
    CarriersRequest(prompt="ab", layer=1, position=2, source=1),
    QueryKeyRequest(prompt="ab", layer=1, head=0, query=2, key_position=1),
    GenerationRequest(prompt="ab", max_new_tokens=2),
    LensRequest(prompt="ab"),
    PromotionsRequest(prompt="ab"),
    ActivationsRequest(prompt="ab"),
    StabilityRequest(prompt="ab"),
    CausalRequest(prompt="ab", target=5),
    PatchRequest(prompt="ab", corrupted="cb"),
    PairsRequest(prompt="ab", corrupted="cb"),
    CircuitRequest(prompt="ab", target=ANSWER),
    RolesRequest(prompt="ab", target=5),
    GraphRequest(prompt="ab"),
    ReadersRequest(prompt="ab", layer=1, head=0),
    CorrectionRequest(prompt=("ab",)),
]


def quiet(doing: str, fraction: float) -> None:
    pass


def test_every_analysis_is_here() -> None:
    assert {type(r) for r in EVERY} == {kind for kind in known().values() if kind.__module__.startswith("infoflow.")}


@pytest.mark.parametrize("request_", EVERY, ids=lambda r: r.analysis)
def test_every_analysis_tells_how_far_it_is_and_ends_at_its_end(request_: Request[Any]) -> None:
    """A study of several steps begins anew with each; within one it only rises, and nothing is ever more than whole."""
    told: list[tuple[str, float]] = []
    request_.run(tiny.model("llama"), lambda doing, fraction: told.append((doing, fraction)))
    assert all(doing and 0 <= fraction <= 1 for doing, fraction in told) and told[-1][1] == 1
    for (before, one), (after, other) in pairwise(told):
        assert one <= other or one == 1 or before.split()[0] != after.split()[0]
    counted = [(re.search(r"(\d+) of (\d+)", doing), fraction) for doing, fraction in told]
    assert all(said is None or int(said[1]) <= int(said[2]) for said, _ in counted)


IN_PARTS = {
    "generation",
    "logit_lens",
    "promotions",
    "causal",
    "patching",
    "pairs",
    "circuits",
    "roles",
    "correction",
    "corrections",
}
"""analyses that do with less what is allowed: more passes, smaller steps"""


@pytest.mark.parametrize("request_", [r for r in EVERY if r.analysis not in IN_PARTS], ids=lambda r: r.analysis)
def test_what_is_refused_is_what_was_estimated(request_: Request[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("llama")
    needed = request_.estimate(model).bytes
    monkeypatch.setattr(infoflow.Model, "memory_limit", lambda self: needed)
    request_.run(model)
    monkeypatch.setattr(infoflow.Model, "memory_limit", lambda self: needed - 1)
    with pytest.raises(TooLarge):
        request_.run(model)


@pytest.mark.parametrize("name", ["generation", "logit_lens", "promotions"])
def test_so_is_what_takes_smaller_steps_where_less_is_allowed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (request,), asked = [r for r in EVERY if r.analysis == name], list[int]()
    monkeypatch.setattr(f"infoflow.analyses.{name}.refuse_here", lambda model, needed, *words: asked.append(needed))
    request.run(tiny.model("llama"))
    assert asked == [request.estimate(tiny.model("llama")).bytes]


def test_what_is_known_of_a_model_is_asked_without_its_lock() -> None:
    """Two layouts that fit, one of them wrong: settled and tested once, then neither waits for another reader's run."""
    model = tiny.model("llama")
    model.candidates = (replace(model.architecture, mlp_norm="input_layernorm"), model.architecture)
    verdict = perform.self_tested(model, quiet)
    assert model.architecture == model.candidates[1]
    with in_use(model), ThreadPoolExecutor(1) as pool:
        assert pool.submit(perform.self_tested, model, quiet).result(20) is verdict
        assert pool.submit(model.plan).result(20).mlp_norm == model.candidates[1].mlp_norm
        assert pool.submit(infoflow.estimate, model, 8).result(20).bytes > 0
        request = pool.submit(AttributionRequest(prompt="ab", target="a").exactly, model).result(20)
        assert request.model == model.spec


def test_who_waits_for_a_model_is_told_and_may_leave() -> None:
    model = tiny.model("llama")
    said: list[str] = []

    def leave(doing: str, fraction: float) -> None:
        said.append(doing)
        if "Waiting for the model" in doing:
            raise Cancelled("left")

    with in_use(model):
        for work in (lambda: perform.self_tested(model, leave), lambda: perform.run_now(FlowRequest(prompt="ab"), model, leave)):
            with ThreadPoolExecutor(1) as pool, pytest.raises(Cancelled):
                pool.submit(work).result(20)
    assert said[-1].startswith("Waiting for the model: another run")
    result, cost = perform.run_now(FlowRequest(prompt="ab"), model, quiet)
    assert result.max_error < 1e-5 and cost.bytes > 0


def test_the_line_of_a_model_is_as_long_as_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    model, most = tiny.model("llama"), []
    monkeypatch.setattr(model.turns, "turn", lambda say, longest: (most.append(longest), nullcontext())[1])
    for said in ("7", ""):
        monkeypatch.setenv("INFOFLOW_QUEUE_LENGTH", said)
        perform.run_now(FlowRequest(prompt="ab"), model, quiet)
    assert most == [7, None]


def test_the_time_of_a_run_begins_when_it_has_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it waited for that."""
    model, began = tiny.model("llama"), []

    def begins(say: Any) -> Any:
        began.append((model.turns._has == threading.get_ident(), ACCOUNT.promised("cpu") > 0))
        return say

    monkeypatch.setattr(perform, "in_time", begins)
    perform.run_now(FlowRequest(prompt="ab"), model, quiet)
    assert began == [(True, True)]


def test_loads_and_runs_are_promised_their_memory_before_they_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """So they wait, in words, while others have been promised what they would need."""
    monkeypatch.setattr(memory, "free", lambda device="cpu": 1_000_000_000)
    model, promised = tiny.model("llama"), []

    def leave(doing: str, fraction: float = 0.0) -> None:
        if doing.startswith("Waiting for memory"):
            raise Cancelled(doing)

    def note(doing: str, fraction: float = 0.0) -> None:
        if doing.startswith(("Layer", "Reading")):
            promised.append(ACCOUNT.promised("cpu"))

    with ACCOUNT.reserved(999_000_000, "cpu"):
        with pytest.raises(Cancelled, match="999 MB are promised to other runs"):
            perform.run_now(FlowRequest(prompt="ab"), model, leave)
        with pytest.raises(Cancelled, match="20 MB are needed"):
            infoflow.load_model("demo", on_progress=leave)
    _, cost = perform.run_now(FlowRequest(prompt="ab"), model, note)
    assert set(promised) == {cost.bytes}
    promised.clear()
    loaded = infoflow.load_model("demo", on_progress=note)
    assert set(promised) == {loaded.bytes} and ACCOUNT.promised("cpu") == 0


CHANCE = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.07 GB)."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000 bytes. Error code 12"),
    RemoteRunError("lost", "The connection to the service was lost during the run, twice. Try again."),
]


@pytest.mark.parametrize("failure", CHANCE, ids=lambda e: type(e).__name__)
def test_a_self_test_that_fails_by_chance_is_told_and_not_kept(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("llama")

    def fail(*_: object, **__: object) -> None:
        raise failure

    with monkeypatch.context() as patch, pytest.raises((TooLarge, RemoteRunError)):
        patch.setattr(selftest, "decompose", fail)
        perform.self_tested(model, quiet)
    assert model.tested is None and perform.self_tested(model, quiet).verdict == "exact"


def test_a_verdict_that_measured_nothing_is_told_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("llama")
    with monkeypatch.context() as patch, pytest.raises(UnsupportedModel, match="does not run on this model .ZeroDivisionError"):
        patch.setattr(selftest, "decompose", lambda *_, **__: 1 / 0)
        perform.self_tested(model, quiet)
    assert model.tested is None and perform.self_tested(model, quiet).verdict == "exact"


def test_a_layout_is_not_chosen_by_chance() -> None:
    """Memory that runs out under the right layout says nothing of it; where none runs, none is kept."""
    model = tiny.model("llama")
    right = model.architecture
    model.candidates = (right, replace(right, mlp_norm="input_layernorm"))
    with failing(model, MemoryError()), pytest.raises(TooLarge):
        model.plan()
    assert model.plan().mlp_norm == right.mlp_norm
    model = tiny.model("llama")
    model.candidates = (right, replace(right, mlp_norm="input_layernorm"))
    with failing(model, ZeroDivisionError("here")), pytest.raises(UnsupportedModel, match="does not run on this model .*here"):
        model.plan()
    assert model.plan().mlp_norm == right.mlp_norm


@contextmanager
def failing(model: infoflow.Model, error: Exception) -> Iterator[None]:
    """The model's second layer raises."""

    def fail(*_: object) -> None:
        raise error

    hook = model._hf.model.layers[1].register_forward_pre_hook(fail)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.slow
@pytest.mark.parametrize("request_", EVERY, ids=lambda r: r.analysis)
def test_memory_that_runs_out_is_a_sentence_with_numbers_and_after_any_fault_the_next_run_is_right(
    request_: Request[Any],
) -> None:
    model = tiny.model("llama")
    load = lambda spec, say: nullcontext(model)  # noqa: E731
    before = perform.perform(request_, load, quiet).result
    for error in CHANCE[:4]:
        with failing(model, error), pytest.raises(TooLarge, match=r"Memory ran out during the run.*\d GB are free on cpu"):
            perform.perform(request_, load, quiet)
        if "4000000" in str(error):
            with failing(model, error), pytest.raises(TooLarge, match="It wanted 4 MB more"):
                perform.perform(request_, load, quiet)
    with failing(model, ZeroDivisionError("in the trace")), pytest.raises(ZeroDivisionError):  # a bug stays one
        perform.perform(request_, load, quiet)
    after = perform.perform(request_, load, quiet).result
    for name, value in vars(before).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(after, name))
    assert type(after) is type(before)


def test_memory_that_runs_out_after_the_run_is_a_sentence_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("llama")

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 9.31 GiB for an array")

    with monkeypatch.context() as patch, pytest.raises(TooLarge, match="It wanted 10.0 GB more"):
        patch.setattr(Provenance, "of", fail)
        perform.run_now(AttentionRequest(prompt="ab"), model, quiet)


def test_another_error_stays_what_it_is() -> None:
    model = tiny.model("llama")
    with failing(model, RuntimeError("shapes do not fit")), pytest.raises(RuntimeError, match="shapes do not fit"):
        infoflow.attention(model, "ab")


def test_a_lens_is_fetched_before_its_run_has_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download may take long, and nobody else shall wait for it."""
    model, said = tiny.model("llama"), []

    def fetch(which: infoflow.Model, source: str, say: Any) -> None:
        assert which.lock.acquire(blocking=False)
        which.lock.release()
        said.append(source)
        raise BadLens("It is not there.")

    monkeypatch.setattr(lenses, "fetch", fetch)
    with pytest.raises(BadLens, match="It is not there"):
        perform.run_now(LensRequest(prompt="ab", kind="jacobian", lens="a/b/c.pt"), model, quiet)
    assert said == ["a/b/c.pt"]
    perform.run_now(LensRequest(prompt="ab", kind="frozen"), model, quiet)  # needs none
