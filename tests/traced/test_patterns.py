"""Attention patterns as a model's own modules give them: where there is none, that is told and nothing is made up."""

from types import SimpleNamespace

import pytest
import torch

from infoflow.traced import patterns


def test_the_pattern_is_the_first_prompts_in_full_precision() -> None:
    held = torch.tensor([[[1.0, 0.0], [0.25, 0.75]]], dtype=torch.bfloat16)
    found = patterns.pattern_returned((None, held[None]))
    assert found.dtype == torch.float32 and found.tolist() == [[[1.0, 0.0], [0.25, 0.75]]]


def test_a_module_that_gives_none_is_told() -> None:
    with pytest.raises(ValueError, match=patterns.NO_PATTERN):
        patterns.pattern_returned((torch.ones(1, 2, 4), None))
    with pytest.raises(ValueError, match=patterns.NO_PATTERN):
        patterns.pattern_given(SimpleNamespace(source=SimpleNamespace()))
