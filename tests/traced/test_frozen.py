"""The linear maps by themselves: half precision, and work done in pieces."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import infoflow
from infoflow.models import memory
from infoflow.traced import flow as traced_flow
from infoflow.traced import frozen
from infoflow.traced import patterns as of_model
from infoflow.traced.attention import patterns
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
        by_map = frozen.linear(frozen.affine("up", module, 300, dtype, pairs), rows, every, pairs)
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


class Seen:
    """A module as a trace shows it: what it gave on this run, and itself to be called."""

    def __init__(self, module: Callable[[torch.Tensor], torch.Tensor], output: torch.Tensor) -> None:
        self.module, self.output = module, output

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x)


@pytest.mark.parametrize(
    ("act", "slope"), [(torch.nn.functional.gelu, 0.5), (torch.nn.functional.silu, 0.5), (torch.tanh, 1.0), (torch.relu, 0.5)]
)
def test_an_mlp_without_a_gate_is_multiplied_by_its_own_activation(
    act: Callable[[torch.Tensor], torch.Tensor], slope: float
) -> None:
    """act(u) / u, and its slope at zero where u is so small that the quotient says nothing."""
    u = torch.tensor([[0.0, 1e-9, -1e-7], [2.0, -3.0, 0.25]])
    modules = {"up": Seen(lambda x: x, u[None]), "act": Seen(act, act(u)[None])}
    plan = SimpleNamespace(gated=False, up="up", gate="act")
    gate = frozen._gate_of(SimpleNamespace(get=modules.__getitem__), plan, 2)
    torch.testing.assert_close(gate[0], torch.full((3,), slope), rtol=0, atol=1e-3)
    torch.testing.assert_close(gate[1], act(u[1]) / u[1])


def test_a_gate_is_taken_as_it_is() -> None:
    given = torch.arange(6, dtype=torch.bfloat16).reshape(1, 2, 3)
    gate = frozen._gate_of(SimpleNamespace(get=lambda name: Seen(torch.relu, given)), SimpleNamespace(gated=True, gate="act"), 2)
    assert gate.dtype == torch.float32 and gate.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_rows_of_the_packed_state_by_hand() -> None:
    pairs = frozen.pairs_of([0, 1, 0, 2], True, "cpu")
    assert pairs["position"].tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert pairs["src"].tolist() == [0, 1, 0, 1, 2, 0, 1, 2, 0, 1, 2, 3] and pairs["own"].tolist() == [1, 4, 6, 11]
    assert pairs["is_bias"].tolist() == [s == 0 for s in pairs["src"].tolist()]
    assert (pairs["n_sources"], pairs["start"], pairs["size"]) == (4, [0, 2, 5, 8], [2, 3, 3, 4])
    plain = frozen.pairs_of([0, 1, 0], False, "cpu")
    assert plain["own"].tolist() == [0, 2, 3] and not plain["is_bias"].any() and plain["n_sources"] == 2
    column = frozen.column_of(3, True, True, "cpu")
    assert column["position"].tolist() == [0, 1, 2] and column["is_bias"].all() and column["size"] == [1, 1, 1]
    assert not frozen.column_of(3, False, True, "cpu")["is_bias"].any() and column["start"] == [0, 1, 2]


def test_a_norm_is_read_off_probes() -> None:
    """Of either kind, with a gain and a bias that are not trivial: frozen, it gives at its own input what it gave there."""
    torch.manual_seed(0)
    x = 3 + torch.randn(1, 4, 8)
    layer, rms = torch.nn.LayerNorm(8), torch.nn.RMSNorm(8)
    pairs = frozen.column_of(4, True, True, "cpu")
    plain = frozen.column_of(4, False, False, "cpu")
    with torch.no_grad():
        layer.weight.copy_(torch.randn(8))
        layer.bias.copy_(torch.randn(8))
        rms.weight.copy_(torch.randn(8))
        for module, of, centred in ((layer, pairs, True), (rms, plain, False)):
            seen = Seen(module, module(x))
            seen.input = x  # type: ignore[attr-defined]
            norm = frozen.norm_of(SimpleNamespace(get={"n": seen}.__getitem__), "n", of)
            assert norm is not None and norm["centred"] == centred
            torch.testing.assert_close(norm["gain"], module.weight, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(frozen.normed(x[0], norm, slice(None), of), module(x)[0], rtol=1e-4, atol=1e-4)
            twice = frozen.normed(2 * x[0], norm, slice(None), of)  # linear now: the scale stays
            bias = norm["bias"] if centred else 0.0
            torch.testing.assert_close(twice - bias, 2 * (module(x)[0] - bias), rtol=1e-4, atol=1e-4)
    assert frozen.norm_of(None, None, pairs) is None and frozen.norm_of(None, "", pairs) is None


def test_values_are_found_in_what_a_projection_gives() -> None:
    plan = SimpleNamespace(n_heads=2, n_kv_heads=1, d_head=3, fused="")
    inner = torch.arange(24.0).reshape(2, 12)
    assert of_model.of_values(inner, plan) is inner
    assert of_model.of_values(inner, SimpleNamespace(**{**vars(plan), "fused": "blocks"})).tolist() == [[9, 10, 11], [21, 22, 23]]
    three = torch.arange(18.0).reshape(1, 18)
    per_head = SimpleNamespace(**{**vars(plan), "fused": "per head"})
    assert of_model.of_values(three, per_head).tolist() == [[6, 7, 8, 15, 16, 17]]


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        ({}, True),
        ({3: 2.5}, True),  # other places among the same eight
        ({1: 20.0}, False),  # the first is another
        ({7: -50.0}, False),  # the eighth is another
        ({9: 4.5}, False),  # a newcomer among the eight
    ],
)
@pytest.mark.parametrize("top_k", [1, 8, 10])
def test_the_parts_agree_where_they_put_the_same_first_and_the_same_eight_on_top(
    change: dict[int, float], agrees: bool, top_k: int
) -> None:
    logits = torch.arange(12.0, 0.0, -1)
    parts = torch.stack([logits / 2, logits / 2])
    for token, more in change.items():
        parts[0, token] += more
    found = traced_flow._final(parts, logits, logits, [3, 11], top_k, PLAIN)
    assert found["top_agrees"] is agrees
    assert [i for i, *_ in found["top"]] == list(range(top_k)) and [i for i, *_ in found["targets"]][:2] == [3, 11]
    assert len(found["targets"]) == len({3, 11, *range(top_k)}) and found["source_logits"].shape == (2, len(found["targets"]))
    p = torch.softmax(logits, -1)
    assert found["top"][0] == (0, pytest.approx(float(p[0])), 12.0, 12.0)
    assert found["logit_error"] == pytest.approx(max(map(abs, change.values()), default=0.0) / 12, abs=1e-6)


PLAIN = SimpleNamespace(softcap=0.0)


def test_a_capped_logit_is_told_before_and_after_the_cap() -> None:
    logits = torch.tensor([50.0, 20.0, 3.0])
    answer = 30 * torch.tanh(logits / 30)
    found = traced_flow._final(logits[None] / 1, logits, answer, [2], 2, SimpleNamespace(softcap=30.0))
    assert found["top"][0] == (0, pytest.approx(float(torch.softmax(answer, -1)[0])), pytest.approx(float(answer[0])), 50.0)
    assert found["source_logits"][0].tolist() == [3.0, 50.0, 20.0] and found["logit_error"] < 1e-6
    wrong = traced_flow._final(logits[None], logits, answer, [], 2, PLAIN)
    assert wrong["logit_error"] > 0.5 and wrong["top_agrees"]


def test_numbers_that_are_none_agree_with_nothing() -> None:
    logits = torch.tensor([float("nan"), 2.0, 1.0])
    found = traced_flow._final(logits[None], logits, logits, [], 2, PLAIN)
    assert found["top_agrees"] is False and found["logit_error"] != found["logit_error"]


def test_a_vocabulary_of_fewer_than_eight_is_all_on_top() -> None:
    logits = torch.tensor([3.0, 2.0, 1.0])
    found = traced_flow._final(logits[None], logits, logits, [], 8, PLAIN)
    assert found["top_agrees"] and [i for i, *_ in found["top"]] == [0, 1, 2]


def test_what_travels_of_the_inner_products_is_what_is_neither_zero_nor_said_twice() -> None:
    entries = list(zip(*(i.tolist() for i in traced_flow.packed_entries([0, 1, 0], True)), strict=True))
    assert entries == [
        (0, 0, 0), (0, 2, 0), (0, 2, 2),
        *((p, *pair) for p in (1, 2) for pair in ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2))),
    ]  # fmt: skip
    assert len(traced_flow.packed_entries([0, 1], False)[0]) == 1 + 3


@pytest.mark.parametrize("name", sorted(set(tiny.FAMILIES) - {"gptj", "bloom", "gpt_oss"}))
def test_patterns_come_of_what_attention_was_given_too(name: str) -> None:
    model = tiny.model(name)
    ids = [t.id for t in model.encode("When Mary and John")]
    given = model.plan()
    given.eager = False
    own = model.run(ids, patterns, model.plan(), len(ids), None)["pattern"]
    np.testing.assert_allclose(model.run(ids, patterns, given, len(ids), None)["pattern"], own, atol=1e-6)


@pytest.mark.parametrize("name", ["gptj", "bloom", "gpt_oss"])
def test_where_they_can_not_that_is_said(name: str) -> None:
    """No function of its own to look into, or one whose rows do not sum to 1."""
    model = tiny.model(name)
    given = model.plan()
    given.eager = False
    with pytest.raises(ValueError, match=of_model.NO_PATTERN):
        model.run([1, 2, 3], patterns, given, 3, None)


def test_a_pattern_by_hand() -> None:
    """One head, width 1, keys 0, log 2 and log 3 for a query of 1: weights 1, 2 and 3 over their sum; a service gives no mask."""
    queries, keys = torch.ones(1, 2, 3, 1), torch.tensor([1.0, 2.0, 3.0]).log()[None, None, :, None]
    expected = torch.tensor([[1, 0, 0], [1 / 3, 2 / 3, 0], [1 / 6, 2 / 6, 3 / 6]])
    for mask in (None, torch.tensor([[0, -1e9, -1e9], [0, 0, -1e9], [0, 0, 0]])[None, None], torch.ones(1, 1, 3, 3).tril() > 0):
        found = of_model.pattern_from(queries, keys, mask, {})
        np.testing.assert_allclose(found, expected.expand(2, -1, -1), atol=1e-6)  # two query heads share the keys
    near = of_model.pattern_from(queries, keys, None, {"sliding_window": 2})[0]
    np.testing.assert_allclose(near, [[1, 0, 0], [1 / 3, 2 / 3, 0], [0, 2 / 5, 3 / 5]], atol=1e-6)
    doubled = of_model.pattern_from(queries, keys, None, {"scaling": 2.0})[0]
    np.testing.assert_allclose(doubled[2], [1 / 14, 4 / 14, 9 / 14], atol=1e-6)
    capped = of_model.pattern_from(queries, keys, None, {"softcap": 0.5})[0, 1]
    assert float(capped[1] / capped[0]) == pytest.approx(np.exp(0.5 * np.tanh(np.log(2) / 0.5)), rel=1e-5)
