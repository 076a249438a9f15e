"""Removing sources, all in a few batches, is what removing one a run gives; what can't be removed is told."""

import numpy as np
import pytest

import infoflow
from infoflow.analyses import attribution
from infoflow.analyses.causal import By, Causal, CausalRequest, correlation
from infoflow.errors import BadPrompt, Cancelled
from infoflow.interventions import Block, Intervention, Mean, Replace, Scale, Zero
from infoflow.text.neutral import NEUTRAL, neutral_ids
from tests.helpers import made, tiny

PROMPT = "When Mary and"
FAMILIES = ("llama", "gemma2", "gpt2", "gpt_neox", "mixtral", "bloom", "gpt_oss")


def one_a_run(model: infoflow.Model, found: Causal, removed: Intervention, *more: Intervention) -> float:
    """The lead, less what it is in a run of its own without a source."""
    told = infoflow.attribute(model, PROMPT, found.target, found.against, position=found.position, interventions=[*more, removed])
    return found.total - told.model_total


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_effect_is_that_of_a_run_of_its_own(name: str) -> None:
    model = tiny.model(name)
    n = len(model.encode(PROMPT))
    told = infoflow.attribute(model, PROMPT, 65, 66)
    by: dict[str, list[Intervention]] = {
        By.BLOCK: [Block(p, tuple(range(p + 1, n))) for p in range(n - 1)],
        By.MEAN: [Mean("embed", None, p) for p in range(n)],
        By.ZERO: [Zero("embed", None, p) for p in range(n)],
    }
    for way, removed in by.items():
        found = infoflow.causal(model, PROMPT, 65, 66, by=way)
        np.testing.assert_allclose(found.linear, told.by_source, atol=1e-5)
        scale = max(1.0, float(np.nanmax(np.abs(found.effect))))
        for p in (0, 1, n // 2, n - 2, *([n - 1] if len(removed) == n else [])):
            assert found.effect[p] == pytest.approx(one_a_run(model, found, removed[p]), abs=1e-5 * scale), (way, p)
        assert np.isnan(found.effect[-1]) == (way == By.BLOCK) and np.abs(found.effect[:-1]).max() > 1e-3
        assert found.max_error < 1e-5


def test_of_one_token_the_effect_is_on_its_logit_and_no_lead() -> None:
    model = tiny.model("llama")
    found = infoflow.causal(model, PROMPT, 65, by="zero")
    assert found.against is None and found.total == pytest.approx(infoflow.attribute(model, PROMPT, 65).model_total, abs=1e-4)
    for p in (1, 3):
        assert found.effect[p] == pytest.approx(one_a_run(model, found, Zero("embed", None, p)), abs=1e-5)


def test_a_swap_puts_a_neutral_texts_token_there() -> None:
    model = tiny.model("llama")
    n = len(model.encode(PROMPT))
    other = neutral_ids(model.encode, 3, n)
    assert other == neutral_ids(model.encode, 3, n)
    found = infoflow.causal(model, PROMPT, 65, 66, by="swap")
    text = " ".join((*NEUTRAL[3:], *NEUTRAL[:3]))
    same = next(t for t in (text[:k] for k in range(1, 60)) if len(model.encode(t)) == n)
    assert [t.id for t in model.encode(same)] == other
    shared = [p for p, t in enumerate(model.encode(PROMPT)) if t.id == other[p]]
    for p in [p for p in (3, 4, n - 1) if p not in shared]:
        assert found.effect[p] == pytest.approx(one_a_run(model, found, Replace("embed", same, None, p)), abs=1e-5)
    assert len(shared) < n and np.isnan(found.effect).nonzero()[0].tolist() == shared  # what stands there anyway is not removed


def test_words_a_position_within_and_a_changed_run() -> None:
    model = tiny.model("llama")
    found = infoflow.causal(model, PROMPT, 65, 66, sources="words", position=8, interventions=[Scale("mlp", 0.5, 1)])
    word = [p for p, s in enumerate(found.source_of) if s == 1]
    cut = Block(tuple(word), tuple(range(word[-1] + 1, len(found.tokens))))
    assert found.effect[1] == pytest.approx(one_a_run(model, found, cut, Scale("mlp", 0.5, 1)), abs=1e-5)
    late = [s for s in range(len(found.source_labels)) if min(np.flatnonzero(found.source_of == s)) > 8]
    assert late and np.isnan(found.effect[late]).all() and not found.linear[late].any()


def test_it_is_done_in_batches_told_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    model, told = tiny.model("llama"), []
    whole = infoflow.causal(model, PROMPT, 65, 66, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(whole.tokens) - 1,) * 2 and len(told) == 2
    monkeypatch.setattr("infoflow.analyses.causal.MOST", 3)
    few = infoflow.causal(model, PROMPT, 65, 66)
    np.testing.assert_allclose(few.effect, whole.effect, atol=1e-5)

    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        infoflow.causal(model, PROMPT, 65, 66, on_progress=stop)
    assert infoflow.attribute(model, PROMPT, 65).max_error < 1e-5  # and the next run is right


def test_correlations_by_hand() -> None:
    found = made.causal([9.0, 1.0, 2.0, 3.0], [0.0, 1.0, 4.0, 9.0])
    assert found.pearson(first=False) == pytest.approx(8 / np.sqrt(2 * 98 / 3), abs=1e-6)  # sums: 8, 2, 98/3
    assert found.spearman(first=False) == pytest.approx(1.0) and found.spearman() == pytest.approx(-0.2)
    assert found.pearson() == pytest.approx(-16.5 / np.sqrt(38.75 * 49), abs=1e-6)  # means 3.75 and 3.5
    assert found.agreement.endswith("by 0.99; of their ranks 1.00.")
    assert np.isnan(correlation(np.ones(3), np.arange(3.0))) and np.isnan(made.causal([1.0, 2.0], [1.0, 2.0]).pearson())


def test_what_can_not_be_asked_is_said() -> None:
    model = tiny.model("llama")
    with pytest.raises(BadPrompt, match="way to remove a source"):
        infoflow.causal(model, PROMPT, 65, by="magic")
    with pytest.raises(BadPrompt, match="no position 99"):
        infoflow.causal(model, PROMPT, 65, position=99)


def test_what_it_will_take_is_told_before() -> None:
    model = tiny.model("llama")
    s, n = model.sizes(), len(model.encode(PROMPT))
    copy = 4 * (n * (4 * s.hidden + 8 * s.d_model) + 3 * s.heads * n * n + 2 * s.vocabulary)
    cost = CausalRequest(prompt=PROMPT, target=65, sources="words").estimate(model)
    assert cost.bytes == max(attribution.needed_bytes(model, n), 32 * copy)
    assert cost.n_sources == len(infoflow.causal(model, PROMPT, 65, sources="words").source_labels) < n
