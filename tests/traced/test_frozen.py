"""The linear maps by themselves: half precision, and work done in pieces."""

import numpy as np
import pytest
import torch

import infoflow
from infoflow.models import memory
from infoflow.traced import frozen
from tests.helpers import tiny

PROMPT = "When Mary and John went"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("biased", [True, False])
def test_maps_of_half_precision_weights_are_computed_in_float32(dtype: torch.dtype, biased: bool) -> None:
    """Calling the module would round every output to 8 or 11 bits; the map must not."""
    torch.manual_seed(0)
    module = torch.nn.Linear(300, 40, bias=biased, dtype=dtype)
    pairs = frozen.pairs_of([0, 1, 2], biased, "cpu")
    rows = torch.randn(len(pairs["position"]), 300)
    expected = rows @ module.weight.T.float()
    if biased:
        expected[pairs["is_bias"]] += module.bias.float()
    every = slice(None)
    with torch.no_grad():
        by_map = frozen.linear(frozen.affine(module, 300, dtype, pairs), rows, every, pairs)
        by_blocks = frozen.unembed(module, rows, dtype, every, pairs)
        rounded = module(rows.to(dtype)).float()
        if biased:
            rounded[~pairs["is_bias"]] -= module.bias.float()
    tolerance = 1e-5 if not biased or dtype == torch.bfloat16 else 2e-4  # float16 has no room to drown the bias in a probe
    torch.testing.assert_close(by_map, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(by_blocks, expected, rtol=0, atol=tolerance)
    assert (rounded - expected).abs().max() > 2 * tolerance


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2", "gpt_neox", "gemma2", "gpt_oss"])
def test_work_in_small_pieces_gives_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model(name)
    whole = infoflow.decompose(model, PROMPT)
    monkeypatch.setattr(memory, "chunk", lambda allowed: 1)
    pieces = infoflow.decompose(model, PROMPT)
    np.testing.assert_allclose(pieces.gram, whole.gram, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(pieces.source_logits, whole.source_logits, rtol=1e-3, atol=1e-3)
    assert pieces.max_error < 1e-5


def test_pieces_are_whole_sources_and_cover_every_row_once() -> None:
    pairs = frozen.pairs_of([0, 0, 1, 2, 1, 3], True, "cpu")
    for at_most in (1, 2, 3, 9):
        parts = frozen.source_parts(pairs, at_most)
        rows = torch.cat([torch.arange(len(pairs["position"]))[part] for part, _, _ in parts])
        assert sorted(rows.tolist()) == list(range(len(pairs["position"])))
        for part, first, n in parts:
            held = pairs["src"][part]
            assert ((held >= first) & (held < first + n)).all() and n <= max(at_most, 1)
