"""What a run will take is said before it, is right within a factor of 2, and what does not fit is refused with numbers."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

import infoflow
from infoflow.analyses import flow_cost
from infoflow.errors import TooLarge
from infoflow.models import memory
from infoflow.models.sizes import Sizes
from tests.helpers import tiny

LLAMA_1B = Sizes(
    layers=16, d_model=2048, d_head=64, heads=32, kv_heads=8, vocabulary=128_256, hidden=8192, parameters=1_236_000_000,
    passing_parameters=973_000_000, mapped_parameters=16 * (2048 * 512 + 2048 * 2048 + 2 * 2048 * 8192), biased=False,
    parallel=False, half=False,
)  # fmt: skip


def like(sizes: Sizes) -> Any:
    return SimpleNamespace(
        sizes=lambda: sizes, speed=lambda: 5e10, connection=None, hosted=False, memory_limit=lambda: memory.limit(memory.free())
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(("n_tokens", "spans"), [(128, 0), (512, 64)])
def test_estimated_memory_is_within_a_factor_of_two(
    n_tokens: int, spans: int, demo: infoflow.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import decompose as benchmark

    expected = flow_cost.estimate(demo, n_tokens, spans or n_tokens).bytes
    happened = benchmark.memory_of("demo", n_tokens, spans, "ours")
    assert expected / 2 < happened < expected * 2, (expected, happened)
    sys.modules.pop("decompose", None)


def counted(model: infoflow.Model, n_tokens: int, spans: int) -> int:
    """Multiply-adds of every matrix product of one run, as torch counts them."""
    ids = [5 + i % 200 for i in range(n_tokens)]
    infoflow.decompose(model, ids[:2])  # the first run of a model also finds out how it is laid out
    with FlopCounterMode(display=False) as counter:
        infoflow.decompose(model, ids, f"{spans} spans")
    return counter.get_total_flops() // 2


@pytest.mark.slow
@pytest.mark.parametrize(("n_tokens", "spans"), [(16, 16), (64, 64), (64, 16)])
def test_time_is_reckoned_from_the_multiply_adds_that_happen(n_tokens: int, spans: int, demo: infoflow.Model) -> None:
    """How long they take is for benchmarks/decompose.py to say, which prints estimate and outcome side by side."""
    expected, happened = flow_cost.multiply_adds(demo.sizes(), n_tokens, spans), counted(demo, n_tokens, spans)
    assert 0.85 * happened < expected < 1.25 * happened, (expected, happened)
    model = like(demo.sizes())
    usual = flow_cost.estimate(model, n_tokens, spans).seconds
    model.speed = lambda: 2.5e10  # half as fast: the same products once more
    assert flow_cost.estimate(model, n_tokens, spans).seconds - usual == pytest.approx(expected / 5e10, rel=0.2)


def test_costs_grow_as_they_should() -> None:
    model = like(LLAMA_1B)
    small, long = flow_cost.estimate(model, 64), flow_cost.estimate(model, 512, 32)
    assert flow_cost.estimate(model, 128).seconds > 3 * small.seconds
    assert long.bytes < 8e9  # 512 tokens in 32 sources on a model of that size
    assert flow_cost.estimate(model, 512).bytes > 8e9  # each a source: 2 L T^3 inner products
    assert re.fullmatch(r"about \d+ MB of memory and \d+ seconds", str(small))


def test_what_does_not_fit_is_refused_with_numbers_and_the_advice_fits(
    monkeypatch: pytest.MonkeyPatch, demo: infoflow.Model
) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "20")
    ids = [5 + i % 1900 for i in range(60)]
    with pytest.raises(
        TooLarge, match=r"60 tokens in 60 sources need about \d+ MB; 20 MB are allowed. Group it into \d+ spans"
    ) as e:
        infoflow.decompose(demo, ids)
    spans = int(re.search(r"into (\d+) spans", str(e.value))[1])  # type: ignore[index]
    assert infoflow.decompose(demo, ids, sources=f"{spans} spans").max_error < 1e-5
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    with pytest.raises(TooLarge, match="Shorten it"):
        infoflow.decompose(demo, ids)
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "lots")
    with pytest.raises(infoflow.InfoflowError, match="INFOFLOW_MAX_MEMORY_MB is 'lots'"):
        infoflow.decompose(demo, ids)


def test_an_attribution_that_does_not_fit_is_refused_with_numbers(monkeypatch: pytest.MonkeyPatch, demo: infoflow.Model) -> None:
    ids = [5 + i % 1900 for i in range(300)]
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "20")
    with pytest.raises(TooLarge, match=r"over 300 tokens needs about \d+ MB; 20 MB are allowed"):
        infoflow.attribute(demo, ids, 5)


def test_a_long_prompt_runs_in_groups(demo: infoflow.Model) -> None:
    """Beyond the limit of separate sources, the same prompt in spans gives exact results with as many sources."""
    ids = [5 + i % 1900 for i in range(300)]
    with pytest.raises(TooLarge, match="has 300 tokens; the limit is 64.*'32 spans'"):
        infoflow.decompose(demo, ids)
    flow = infoflow.decompose(demo, ids, sources="32 spans")
    assert len(flow.source_labels) == 32 and flow.max_error < 1e-5
    assert flow.gram.shape == (6, 2, 300, 32, 32)


@pytest.mark.slow
def test_every_family_has_sizes(family: infoflow.Model) -> None:
    sizes = family.sizes()
    assert 0 < sizes.mapped_parameters < sizes.parameters == family._hf.num_parameters()
    inside = sum(p.numel() for name, p in family._hf.named_parameters() if f"{family.architecture.layers}." in name)
    experts = [m for m in family._hf.modules() if hasattr(m, "gate_up_proj") and hasattr(m, "_apply_gate")]
    idle = sum(1 - family._hf.config.num_experts_per_tok / m.num_experts for m in experts) * (
        sum(p.numel() for p in experts[0].parameters()) if experts else 0
    )
    words = sizes.vocabulary * sizes.d_model
    outside = [p.numel() for name, p in family._hf.named_parameters() if f"{family.architecture.layers}." not in name]
    beside = sum(n for n in outside if n != words)  # norms, and places
    assert inside - idle - 1 <= sizes.passing_parameters <= inside - idle + beside
    assert sizes.hidden >= 40 and sizes.d_model == 48
    expected, happened = flow_cost.multiply_adds(sizes, 16, 16), counted(family, 16, 16)
    assert 0.8 * happened < expected < 1.4 * happened, (expected, happened)


def test_grouping_before_the_run_is_grouping_after_it() -> None:
    model = tiny.model("qwen2")
    before = infoflow.decompose(model, "When Mary and John", sources="words")
    after = infoflow.decompose(model, "When Mary and John").grouped("words")
    assert before.source_labels == after.source_labels
    assert abs(before.gram - after.gram).max() < 1e-3 * abs(after.gram).max()
