"""The self-test: families are exact, a model that computes something else is not, and it says why."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses import provenance
from infoflow.analyses.selftest import judge
from tests.helpers import tiny


def test_every_family_is_exact(family: infoflow.Model) -> None:
    found = infoflow.check(family)
    assert found.verdict == "exact", found.reason
    assert set(found.errors) == {"reconstruction", "logits", "pattern_rows"}
    assert max(found.errors["reconstruction"], found.errors["logits"]) < 1e-5
    sinks = family._hf.config.model_type == "gpt_oss"  # part of its softmax goes to no token
    assert (found.errors["pattern_rows"] > 0.1) if sinks else (found.errors["pattern_rows"] < 1e-5)


def test_a_model_that_computes_something_else_is_unsupported_with_the_number() -> None:
    hf = tiny.hf_model("llama")
    plain = hf.model.layers[1].forward
    hf.model.layers[1].forward = lambda *args, **kwargs: torch.tanh(plain(*args, **kwargs))
    found = infoflow.check(infoflow.wrap_model(hf, tiny.tokenizer()))
    assert found.verdict == "unsupported"
    assert found.errors["reconstruction"] > 0.02
    assert f"{max(found.errors['reconstruction'], found.errors['logits']):.1e}" in found.reason


def test_a_small_difference_is_approximate() -> None:
    hf = tiny.hf_model("llama")
    plain = hf.model.layers[1].forward
    hf.model.layers[1].forward = lambda *args, **kwargs: plain(*args, **kwargs) * 1.002
    assert infoflow.check(infoflow.wrap_model(hf, tiny.tokenizer())).verdict == "approximate"


def test_a_model_that_does_not_run_is_unsupported_not_a_crash() -> None:
    hf = tiny.hf_model("llama")
    hf.model.layers[0].self_attn.forward = lambda *args, **kwargs: (kwargs["hidden_states"], None)
    found = infoflow.check(infoflow.wrap_model(hf, tiny.tokenizer()))
    assert found.verdict == "unsupported" and "does not run" in found.reason


# not in the table: which of its layouts fits is found by numbers
UNKNOWN = {
    "Olmo": ({}, "exact"),
    "Olmo3": ({}, "exact"),
    "Olmoe": ({"num_experts": 4, "num_experts_per_tok": 2}, "exact"),
    "Helium": ({"head_dim": 12}, "exact"),
    "Arcee": ({}, "exact"),  # has Llama's modules, but no gate
    "Starcoder2": ({}, "exact"),
    "Qwen2Moe": (  # its shared expert is in no row
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 40},
        "unsupported",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_family_is_tried_and_judged_by_its_numbers(name: str) -> None:
    extra, verdict = UNKNOWN[name]
    model = infoflow.wrap_model(tiny.other_model(name, **extra), tiny.tokenizer())
    error = infoflow.decompose(model, "abc def").max_error  # nobody needs to ask for the self-test first
    found = infoflow.check(model)
    assert found.verdict == verdict, found.reason
    if verdict == "exact":
        assert error < 1e-5
    else:
        assert error > 0.02 and "the parts do not add up" in found.reason


@pytest.mark.parametrize(("errors", "times"), [({"flow": 1e-7}, 1), ({}, 2)])
def test_an_unknown_family_is_tested_once_unless_nothing_was_measured(
    errors: dict[str, float], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[infoflow.Model] = []
    said = SimpleNamespace(errors=errors, verdict="exact", reason="")
    monkeypatch.setattr(provenance, "_tests", [lambda model: asked.append(model) or said])
    model = infoflow.wrap_model(tiny.other_model("Arcee"), tiny.tokenizer())
    assert [provenance._verdict(model) for _ in range(2)] == ["exact", "exact"] and asked == [model] * times


def test_a_verdict_names_what_decided_it() -> None:
    flow = infoflow.decompose(tiny.model(), "abc")
    assert judge(replace(flow, logit_error=float("nan"))).verdict == "unsupported"
    assert judge(replace(flow, error=flow.error * np.nan)).verdict == "unsupported"
    ranked = judge(replace(flow, top_agrees=False))
    assert ranked.verdict == "approximate" and "rank the likeliest" in ranked.reason


def test_weights_in_half_precision_are_approximate_and_say_so() -> None:
    for family in ("llama", "qwen2", "gpt2", "gpt_oss"):
        found = infoflow.check(infoflow.wrap_model(tiny.hf_model(family).to(torch.bfloat16), tiny.tokenizer()))
        assert found.verdict == "approximate", found.reason
        assert "bfloat16" in found.reason


@pytest.mark.slow
def test_the_bundled_model_is_exact(demo: infoflow.Model) -> None:
    assert infoflow.check(demo).verdict == "exact"
