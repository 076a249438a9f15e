"""Runs of prompts of one length share a pass, and give what each gives alone; what fails, fails alone; nobody is left waiting."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import infoflow
from infoflow.errors import BadPrompt, Cancelled
from infoflow.interventions import Zero
from infoflow.models import together as of
from infoflow.models.together import together
from tests.helpers import tiny

PROMPTS = ("When Mary", "Then Paul", "Now Anna!", "Short")
"""three of one length, and another"""
WORKS: dict[str, Callable[["infoflow.Model", str], Any]] = {
    "flow": lambda m, p: infoflow.decompose(m, p).gram,
    "lens": lambda m, p: infoflow.logit_lens(m, p, mids=False).logits,
    "attention": lambda m, p: infoflow.attention(m, p).pattern,
    "attribution": lambda m, p: infoflow.attribute(m, p, 65).by_source,
    "location": lambda m, p: infoflow.locate(m, p, 65).by_cell,
}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts each shared pass had."""
    seen: list[int] = []
    run = infoflow.Model.run_together

    def counted(self: "infoflow.Model", calls: Any) -> Any:
        seen.append(len(calls))
        return run(self, calls)

    monkeypatch.setattr(infoflow.Model, "run_together", counted)
    return seen


def works(
    make: Callable[["infoflow.Model", str], Any], prompts: Sequence[str] = PROMPTS
) -> list[Callable[["infoflow.Model"], Any]]:
    return [lambda seat, p=p: make(seat, p) for p in prompts]  # type: ignore[misc]


@pytest.mark.slow
def test_together_is_as_alone(family: "infoflow.Model", passes: list[int]) -> None:
    for name in ("flow", "attribution"):
        check_one(family, name, PROMPTS[:2])
    sparse = bool(family.plan().sparse)  # a router takes all rows for one text: they go alone
    assert passes == [2] * (0 if sparse else 2)


def check_one(model: "infoflow.Model", name: str, prompts: Sequence[str] = PROMPTS) -> None:
    shared = [one.result() for one in together(model, works(WORKS[name], prompts))]
    for prompt, ours in zip(prompts, shared, strict=True):
        alone = WORKS[name](model, prompt)
        assert np.abs(ours - alone).max() <= 1e-4 * max(1.0, np.abs(alone).max()), (name, prompt)


@pytest.mark.parametrize("name", WORKS)
def test_each_analysis_is_as_alone(name: str, passes: list[int]) -> None:
    check_one(tiny.model("gpt2"), name)
    assert passes == [3]  # the fourth is of another length


def test_several_analyses_share_a_pass_too(passes: list[int]) -> None:
    model = tiny.model("llama")
    found = together(model, [lambda seat, make=make: make(seat, PROMPTS[0]) for make in WORKS.values()])  # type: ignore[misc]
    assert passes == [5]
    for one, make in zip(found, WORKS.values(), strict=True):
        assert np.allclose(one.result(), make(model, PROMPTS[0]), atol=1e-4)


def test_works_that_run_several_times_meet_each_time(passes: list[int]) -> None:
    def twice(seat: "infoflow.Model", prompt: str) -> Any:
        return infoflow.attention(seat, prompt).pattern, infoflow.logit_lens(seat, prompt).logits

    together(tiny.model("llama"), works(twice))
    assert passes == [3, 3]


def test_one_that_fails_fails_alone(passes: list[int]) -> None:
    model = tiny.model("gpt2")

    def some(seat: "infoflow.Model", prompt: str) -> Any:
        if prompt == PROMPTS[1]:
            seat.run([t.id for t in seat.encode(prompt)], _breaks)
        if prompt == PROMPTS[2]:
            raise BadPrompt("before it runs")
        return infoflow.attention(seat, prompt).pattern

    first, second, third, fourth = together(model, works(some))
    assert np.allclose(first.result(), infoflow.attention(model, PROMPTS[0]).pattern, atol=1e-5)
    assert isinstance(second.exception(), ZeroDivisionError) and isinstance(third.exception(), BadPrompt)
    assert fourth.exception() is None and passes == [2]  # tried together, then each alone


def _breaks(nn: Any, tracer: Any) -> float:
    return 1 / 0


def test_a_changed_run_goes_alone(passes: list[int]) -> None:
    model = tiny.model("llama")
    cut = [Zero("mlp", 1)]
    found = together(model, works(lambda seat, p: infoflow.attention(seat, p, interventions=cut).pattern))
    assert passes == []
    assert np.allclose(found[1].result(), infoflow.attention(model, PROMPTS[1], interventions=cut).pattern, atol=1e-6)


def test_nobody_is_left_waiting_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("llama")

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(of, "_pass", stopped)
    with pytest.raises(KeyboardInterrupt):
        together(model, works(WORKS["attention"]))
    monkeypatch.undo()
    assert np.allclose(together(model, works(WORKS["attention"]))[0].result(), WORKS["attention"](model, PROMPTS[0]), atol=1e-5)
    assert model.table is None  # it runs at once, as before


def test_nobody_is_left_waiting_when_it_is_stopped_before_all_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, submit = list[Future[Any]](), ThreadPoolExecutor.submit

    def submitted(pool: ThreadPoolExecutor, *work: Any) -> "Future[Any]":
        if len(begun) == 2:
            raise KeyboardInterrupt
        begun.append(submit(pool, *work))
        return begun[-1]

    def stopped() -> None:
        with pytest.raises(KeyboardInterrupt):
            together(tiny.model("llama"), works(WORKS["attention"]))

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submitted)
    thread = threading.Thread(target=stopped, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive() and all(isinstance(one.exception(0), Cancelled) for one in begun)


def _ctrl_c(nn: Any, tracer: Any) -> float:
    raise KeyboardInterrupt


_ctrl_c.__code__ = _ctrl_c.__code__.replace(co_linetable=b"")
"""as at the end of a loop, which is at no line"""


def _raised(call: Callable[[], Any]) -> type[BaseException] | None:
    try:
        call()
    except BaseException as error:  # noqa: BLE001  its traceback, which has no line, is more than pytest can print
        return type(error)
    return None


def test_ctrl_c_at_a_place_without_a_line_is_no_error_of_a_prompt() -> None:
    model = tiny.model("llama")
    ids = [token.id for token in model.encode(PROMPTS[0])]
    calls: list[Callable[[], Any]] = [
        lambda: model.run(ids, _ctrl_c),
        lambda: model.run_together([(ids, _ctrl_c, ())] * 2),
        lambda: together(model, works(lambda seat, _: seat.run(ids, _ctrl_c))),
    ]
    assert [_raised(call) for call in calls] == [KeyboardInterrupt] * 3
    assert np.allclose(together(model, works(WORKS["attention"]))[0].result(), WORKS["attention"](model, PROMPTS[0]), atol=1e-5)
