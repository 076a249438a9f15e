"""What strangers may ask: which models, how much in one request, how often."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from infoflow.analyses.attribution import AttributionRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.generation import GenerationRequest
from infoflow.analyses.location import LocationRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.analyses.patching import PatchRequest
from infoflow.errors import Busy, InfoflowError, NotAllowed, TooLarge
from infoflow.interventions import Mean, Replace, Steer, Zero
from infoflow.models.spec import ModelSpec
from infoflow.server.limits import MOST, OF_LENSES, Allowance, check, check_answer, check_model
from infoflow.settings import PUBLIC_HOST

HERE = FlowRequest(prompt="abc")


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NDIF_HOST", "INFOFLOW_MODELS", "INFOFLOW_NDIF_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INFOFLOW_HOSTED", "1")


def test_an_app_for_its_owner_allows_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for request in (
        replace(HERE, model=ModelSpec(name="/etc/models", device="cuda:7")),
        LensRequest(prompt="abc" * 30_000, lens="/etc/lens.pt", k=5_000),
        GenerationRequest(prompt="abc", max_new_tokens=100_000),
    ):
        check(request)


def test_each_number_has_its_limit() -> None:
    assert MOST == {"k": 200, "top_k": 1000, "draws": 8, "strongest": 20, "length": 64, "samples": 8}
    assert OF_LENSES == {**MOST, "k": 50}


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(name="openai-community/gpt2"), ModelSpec(name="smollm2"), ModelSpec(name="/etc"), ModelSpec(name="../demo"),
        ModelSpec(name="demo", revision="main"), ModelSpec(name="demo@main"), ModelSpec(device="cpu"), ModelSpec(dtype="float16"),
        ModelSpec(name="Demo"), ModelSpec(name=""), ModelSpec(host=PUBLIC_HOST), ModelSpec(host="http://169.254.169.254"),
    ],
)  # fmt: skip
def test_a_model_that_is_not_listed_is_refused(spec: ModelSpec, hosted: None) -> None:
    with pytest.raises(NotAllowed):
        check_model(spec)
    with pytest.raises(NotAllowed):
        check(replace(HERE, model=spec))


def test_what_is_listed_may_be_asked(hosted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    check(HERE)
    monkeypatch.setenv("INFOFLOW_MODELS", "smollm2, a/b@c0ffee")
    monkeypatch.setenv("INFOFLOW_NDIF_MODELS", "meta-llama/Llama-3.1-8B")
    there = ModelSpec(name="meta-llama/Llama-3.1-8B", host=PUBLIC_HOST)
    for spec in (
        ModelSpec(),
        ModelSpec(name="smollm2"),
        ModelSpec(name="a/b@c0ffee"),
        ModelSpec(name="a/b", revision="c0ffee"),
        there,
    ):
        check_model(spec)
    for spec in (
        ModelSpec(name="a/b"),
        replace(there, host=""),
        replace(there, host="http://elsewhere"),
        ModelSpec(host=PUBLIC_HOST),
    ):
        with pytest.raises(NotAllowed):
            check_model(spec)


def test_a_model_that_is_held_may_be_asked_as_results_name_it(hosted: None) -> None:
    exactly = ModelSpec(revision="sha256:0123", device="cpu", dtype="float32")
    with pytest.raises(NotAllowed):
        check_model(exactly)
    check_model(exactly, {exactly})
    check(replace(HERE, model=exactly), {exactly})


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (GenerationRequest(prompt="abc", max_new_tokens=65), "at most 64 in one run"),
        (LensRequest(prompt="abc", k=51), "k is 51; this app takes at most 50"),
        (LocationRequest(prompt="abc", top_k=1001), "top_k is 1,001; this app takes at most 1000"),
        (LensRequest(prompt="abc", targets=(1,) * 51), "51 targets"),
        (GenerationRequest(prompt="abc", output=(1,) * 65), "65 new tokens are asked for"),
        (replace(HERE, interventions=(Mean("mlp", prompts=[f"a {i}" for i in range(17)]),)), "read 17 other texts"),
        (replace(HERE, interventions=tuple(Steer("mlp", (f"a {i}", f"b {i}")) for i in range(9))), "read 18 other texts"),
        (replace(HERE, interventions=tuple(Replace("mlp", f"a {i}") for i in range(17))), "read 17 other texts"),
        (PatchRequest(prompt="abc", corrupted=Mean("embed", prompts=[f"a {i}" for i in range(17)])), "read 17 other texts"),
        (PatchRequest(prompt="abc", draws=9), "draws is 9"),
        (replace(HERE, prompt="a" * 20_001), "prompt has 20,001 characters"),
        (AttributionRequest(prompt="abc", target="d", contrast=("a",) * 17), "contrast has 17 texts"),
        (replace(HERE, interventions=(Zero("mlp"),) * 33), "33 interventions"),
        (replace(HERE, interventions=(Steer("resid_post", (0.125,) * 40_000, 1.0),)), "characters long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_more_than_one_request_may_ask_is_refused(request_: Any, words: str, hosted: None) -> None:
    with pytest.raises(TooLarge, match=words):
        check(request_)


@pytest.mark.parametrize(
    "request_",
    [
        GenerationRequest(prompt="abc", max_new_tokens=64), LensRequest(prompt="abc", k=50),
        PatchRequest(prompt="abc", corrupted="abd", draws=8),
        LocationRequest(prompt="abc", top_k=1000), LensRequest(prompt="abc", targets=(1,) * 50),
        replace(HERE, interventions=(Zero("mlp"),) * 32),
        replace(HERE, prompt="a" * 20_000), AttributionRequest(prompt="abc", target="d", contrast=("a",) * 16),
        replace(HERE, interventions=tuple(Replace("mlp", f"a {i}") for i in range(16))),
    ],
    ids=lambda request: request.analysis,
)  # fmt: skip
def test_as_much_as_one_request_may_ask_is_asked(request_: Any, hosted: None) -> None:
    check(request_)


def test_an_answer_is_no_larger_than_memory_has_room_for(hosted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    result = SimpleResult((1,), np.zeros((3, 4)), Part(np.zeros(5)))
    monkeypatch.setattr("infoflow.server.limits.NUMBERS", 17)
    check_answer(result)
    monkeypatch.setattr("infoflow.server.limits.NUMBERS", 16)
    with pytest.raises(TooLarge, match="17 numbers; this app sends at most 16"):
        check_answer(result)


@dataclass
class Part:
    numbers: np.ndarray


@dataclass
class SimpleResult:
    tokens: tuple[int, ...]
    numbers: np.ndarray
    part: Part


def test_a_lens_of_a_file_or_of_the_hub_is_refused(hosted: None) -> None:
    for lens in ("/etc/passwd", "owner/name/lens.pt", "hub:owner/name/lens.pt", "https://a.b/lens.pt"):
        with pytest.raises(NotAllowed, match="reads no lens"):
            check(LensRequest(prompt="abc", kind="jacobian", lens=lens))
    for bundled in (None, "bundled"):
        check(LensRequest(prompt="abc", kind="jacobian", lens=bundled))


def test_each_visitor_has_so_many_runs_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worked by hand: three runs at 0, 10 and 20 s; at 30 s the next is refused until 60 s, at 65 s one is free again."""
    monkeypatch.setenv("INFOFLOW_RUNS_PER_MINUTE", "3")
    now = [0.0]
    allowance = Allowance(lambda: now[0])
    for at in (0.0, 10.0, 20.0):
        now[0] = at
        allowance.take("a")
    now[0] = 30.0
    with pytest.raises(Busy, match="3 runs were begun for you in the last minute") as told:
        allowance.take("a")
    assert told.value.retry_after == 30.0
    allowance.take("b", 3)  # another visitor's are their own
    now[0] = 65.0
    allowance.take("a")
    with pytest.raises(Busy) as told:
        allowance.take("a", 2)  # those of 10 and 20 s must be gone for two more
    assert told.value.retry_after == 15.0
    with pytest.raises(TooLarge, match="4 runs are asked for at once"):
        allowance.take("c", 4)


def test_visitors_are_forgotten_and_nothing_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_RUNS_PER_MINUTE", "1")
    monkeypatch.setattr("infoflow.server.limits.VISITORS", 3)
    allowance = Allowance(lambda: 0.0)
    for who in "abcd":
        allowance.take(who)
    assert list(allowance._begun) == ["b", "c", "d"]
    for who in "efgh":  # one who is refused is remembered too
        with pytest.raises(TooLarge):
            allowance.take(who, 2)
    assert list(allowance._begun) == ["f", "g", "h"]


def test_without_a_limit_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFOFLOW_RUNS_PER_MINUTE", raising=False)
    allowance = Allowance(lambda: 0.0)
    for _ in range(1_000):
        allowance.take("a")
    assert not allowance._begun


def test_every_refusal_is_a_sentence_without_what_only_an_owner_can_do(hosted: None) -> None:
    with pytest.raises(InfoflowError) as told:
        check_model(ModelSpec(name="x" * 5_000))
    assert len(str(told.value)) < 250 and "INFOFLOW" not in str(told.value)
