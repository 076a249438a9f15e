"""The self-test: families are exact, a model that computes something else is not, and it says why."""

import pytest
import torch

import infoflow
from tests import tiny


def test_every_family_is_exact(family: infoflow.Model) -> None:
    found = infoflow.check(family)
    assert found.verdict == "exact", found.reason
    assert set(found.errors) == {"reconstruction", "logits", "pattern_rows"}
    assert max(found.errors.values()) < 1e-4


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


@pytest.mark.slow
def test_the_bundled_model_is_exact(demo: infoflow.Model) -> None:
    assert infoflow.check(demo).verdict == "exact"
