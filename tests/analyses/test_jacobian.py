"""Fitting a Jacobian lens: against a plain loop of backward passes, finite differences, and a case on paper."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.errors import BadLens, BadPrompt, TooLarge
from infoflow.models.lenses import read_lens
from tests.helpers import tiny

TEXTS = (
    "The quick brown fox jumps", "over lazy dogs, and more", "A cat sat here on a mat", "It rained for seven days",
    "Nobody came to the house", "Two and two make four, so", "All roads lead to a town", "She wrote a short letter",
)  # fmt: skip
SKIP, MOST = 4, 14
FEW: dict[str, Any] = {"max_tokens": MOST, "skip": SKIP}


@pytest.fixture(scope="module")
def gpt2() -> infoflow.Model:
    return tiny.model("gpt2")


@pytest.fixture(scope="module")
def apart(gpt2: infoflow.Model) -> list[np.ndarray]:
    """The lens of each text alone, [row, d_model, d_model]."""
    return [matrices(infoflow.fit_lens(gpt2, [text], **FEW)) for text in TEXTS]


def matrices(lens: infoflow.FittedLens) -> np.ndarray:
    return np.stack([lens.matrices[row] for row in lens.rows])


class Stream:
    """The residuals of a plain forward pass: the embeddings, which may be moved, and after each layer."""

    def __init__(self, hf_model: Any, layers: str) -> None:
        self.hf_model, self.layers = hf_model, hf_model.get_submodule(layers)

    def __call__(self, ids: Sequence[int], row: int = 0, move: Any = None) -> list[torch.Tensor]:
        held: list[torch.Tensor] = []

        def before(module: Any, given: Any, named: Any) -> Any:
            x = (given[0] if given else named["hidden_states"]).detach()
            x = (x + move if move is not None and row == 0 else x).requires_grad_()
            held.append(x)
            return ((x, *given[1:]), named) if given else (given, {**named, "hidden_states": x})

        def after(module: Any, given: Any, out: Any) -> Any:
            x = out[0] if isinstance(out, tuple) else out
            x = x + move if move is not None and row == len(held) else x
            held.append(x)
            return (x, *out[1:]) if isinstance(out, tuple) else x

        hooks = [self.layers[0].register_forward_pre_hook(before, with_kwargs=True)]
        hooks += [layer.register_forward_hook(after) for layer in self.layers]
        try:
            self.hf_model(input_ids=torch.tensor([list(ids)]), use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return held


def cut(model: infoflow.Model, text: str) -> list[int]:
    return [t.id for t in model.encode(text)][:MOST]


@pytest.mark.parametrize("name", ["gpt2", "qwen2", "gpt_neox"])
def test_it_is_the_mean_of_plain_backward_passes(name: str) -> None:
    """One a dimension, one at a time; targets summed, sources averaged, the first and the last left out on both sides."""
    model = tiny.model(name)
    expected = 0.0
    for text in TEXTS[:2]:
        *rows, last = Stream(model._hf, model.architecture.layers)(cut(model, text))
        lines = [
            torch.autograd.grad(last[0, SKIP:-1, i].sum(), rows, retain_graph=True) for i in range(last.shape[-1])
        ]  # fmt: skip
        expected += np.stack([[g[0, SKIP:-1].mean(0).numpy() for g in line] for line in lines], 1) / 2
    lens = infoflow.fit_lens(model, TEXTS[:2], **FEW)
    np.testing.assert_allclose(matrices(lens), expected, atol=2e-5 * np.abs(expected).max())
    assert lens.rows == ("embed", "L0.post", "L1.post") and lens.kind == "jacobian" and not lens.biases
    assert (lens.n_prompts, lens.d_model, lens.n_layers) == (2, 48, 3)
    assert (lens.model, lens.revision) == (model.name, model.revision)
    assert all(p.grad is None for p in model._hf.parameters()) and torch.is_grad_enabled()


@pytest.mark.parametrize("name", ["gpt2", "qwen2"])
def test_it_is_what_a_small_step_does(name: str) -> None:
    hf_model = tiny.hf_model(name).double()
    model = infoflow.wrap_model(hf_model, tiny.tokenizer(), name="double")
    ids, step = cut(model, TEXTS[0]), 1e-3
    lens, stream = infoflow.fit_lens(model, [ids], **FEW), Stream(hf_model, model.architecture.layers)
    for row, of in enumerate(lens.rows):
        for column in (0, 17):
            slopes = []
            for at in range(SKIP, len(ids) - 1):
                move = torch.zeros(1, len(ids), 48, dtype=torch.float64)
                move[0, at, column] = step
                up, down = (stream(ids, row, sign * move)[-1][0, SKIP:-1].sum(0) for sign in (1, -1))
                slopes.append(((up - down) / (2 * step)).detach().numpy())
            there = lens.matrices[of][:, column]
            np.testing.assert_allclose(there, np.mean(slopes, 0), atol=5e-3 * np.abs(lens.matrices[of]).max())


def test_on_paper() -> None:
    """Three tokens (1, 1), of which the first two count. Attention adds N(x)'s mean over positions so far, N' = I - 1/2 there:
    the first source reaches two targets by 1 + 1/2, the second one by 1/2, in the mean by 1. The MLP reads (2, 2) and writes
    silu(g) u to the first coordinate, of which the slope is (silu'(1) - silu(1)) / 4 = s (1 - s) / 4 times (1, -1)."""
    lens = infoflow.fit_lens(tiny.on_paper(), [(1, 1, 1)], skip=0)
    s = 1 / (1 + np.exp(-1.0))
    more = 2 * s * (1 - s) / 4
    np.testing.assert_allclose(lens.matrices["embed"], [[1.5 + more, -0.5 - more], [-0.5, 1.5]], atol=1e-6)
    assert lens.rows == ("embed",)


def test_halves_are_the_even_and_the_odd_prompts(gpt2: infoflow.Model, apart: list[np.ndarray]) -> None:
    lens = infoflow.fit_lens(gpt2, TEXTS[:5], **FEW)
    even, odd = sum(apart[0:5:2]) / 3, sum(apart[1:5:2]) / 2
    for row, a, b in zip(lens.rows, even, odd, strict=True):
        assert lens.halves[row] == pytest.approx((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()), abs=1e-6)
    np.testing.assert_allclose(matrices(lens), sum(apart[:5]) / 5, atol=1e-5)
    assert infoflow.fit_lens(gpt2, TEXTS[:1], **FEW).halves == {}


# --- directions


def test_all_directions_are_the_exact_lens(gpt2: infoflow.Model) -> None:
    exact = infoflow.fit_lens(gpt2, TEXTS[:2], **FEW)
    turned = infoflow.fit_lens(gpt2, TEXTS[:2], **FEW, directions=48, batch=5, seed=3)
    np.testing.assert_allclose(matrices(turned), matrices(exact), atol=1e-5 * np.abs(matrices(exact)).max())
    assert turned.halves == pytest.approx(exact.halves, abs=1e-5)


def test_each_direction_has_the_mean_of_its_prompts(gpt2: infoflow.Model, apart: list[np.ndarray]) -> None:
    """20 of 48 a prompt, in turn, so that some have three prompts and some four of eight."""
    from infoflow.analyses.jacobian import _rotation

    turned = _rotation(48, 3)
    np.testing.assert_allclose(turned @ turned.T, np.eye(48), atol=1e-5)
    visits = [[p for p in range(8) if (i - 20 * p) % 48 < 20] for i in range(48)]
    assert {len(v) for v in visits} == {3, 4}
    expected = sum(
        np.einsum("i,rj->rij", q, np.mean([np.einsum("rij,i->rj", apart[p], q) for p in who], 0))
        for q, who in zip(turned.astype(np.float64), visits, strict=True)
    )
    lens = infoflow.fit_lens(gpt2, TEXTS, **FEW, directions=20, seed=3)
    np.testing.assert_allclose(matrices(lens), expected, atol=1e-5 * np.abs(expected).max())
    assert all(0 < value < 1 for value in lens.halves.values()) and set(lens.halves) == set(lens.rows)


def test_directions_seen_once_have_no_halves(gpt2: infoflow.Model) -> None:
    assert infoflow.fit_lens(gpt2, TEXTS[:3], **FEW, directions=16).halves == {}


# --- stopped, resumed, merged


def test_a_fit_that_was_stopped_goes_on(gpt2: infoflow.Model, tmp_path: Path) -> None:
    out, again = tmp_path / "lens.safetensors", tmp_path / "again.safetensors"
    state = tmp_path / "lens.safetensors.partial"
    said: list[float] = []

    def stop(doing: str, fraction: float) -> None:
        said.append(fraction)
        if fraction > 0.6:
            raise infoflow.Cancelled("stopped")

    with pytest.raises(infoflow.Cancelled):
        infoflow.fit_lens(gpt2, TEXTS[:4], out, **FEW, on_progress=stop)
    assert state.is_file() and not out.exists() and said == sorted(said)
    begun: list[str] = []
    resumed = infoflow.fit_lens(gpt2, TEXTS[:5], out, **FEW, on_progress=lambda doing, _: begun.append(doing))  # and one more
    assert begun[0].startswith("Prompt 3 of 5") and not state.exists()
    whole = infoflow.fit_lens(gpt2, TEXTS[:5], again, **FEW)
    np.testing.assert_array_equal(matrices(resumed), matrices(whole))
    assert resumed.halves == whole.halves and out.read_bytes() == again.read_bytes() and resumed.digest == whole.digest
    np.testing.assert_array_equal(matrices(read_lens(out)), matrices(whole))


def test_the_state_of_another_fit_is_refused(gpt2: infoflow.Model, tmp_path: Path) -> None:
    out = tmp_path / "lens.safetensors"

    def stop(doing: str, fraction: float) -> None:
        if fraction > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        infoflow.fit_lens(gpt2, TEXTS[:2], out, **FEW, on_progress=stop)
    others: list[Any] = [
        ((TEXTS[3], TEXTS[1]), FEW), (TEXTS[:2], {**FEW, "skip": 5}), (TEXTS[:2], {**FEW, "max_tokens": 12}),
        (TEXTS[:2], {**FEW, "directions": 48}),
    ]  # fmt: skip
    for texts, how in others:
        with pytest.raises(BadLens, match="the state of another fit"):
            infoflow.fit_lens(gpt2, texts, out, **how)
    with pytest.raises(BadLens, match="the state of another fit"):
        infoflow.fit_lens(tiny.model("gpt2", seed=1), TEXTS[:2], out, **FEW)
    anew = infoflow.fit_lens(gpt2, TEXTS[1:3], out, **FEW, resume=False)
    assert anew.n_prompts == 2 and out.is_file()
    (tmp_path / "lens.safetensors.partial").write_bytes(b"no state")
    with pytest.raises(BadLens, match="can't be read"):
        infoflow.fit_lens(gpt2, TEXTS[:2], out, **FEW)


def test_shards_merge_to_what_all_together_give(gpt2: infoflow.Model) -> None:
    shards = [infoflow.fit_lens(gpt2, TEXTS[at], **FEW) for at in (slice(0, 1), slice(1, 4), slice(4, 6))]
    merged, whole = infoflow.merge_lenses(shards), infoflow.fit_lens(gpt2, TEXTS[:6], **FEW)
    np.testing.assert_allclose(matrices(merged), matrices(whole), atol=1e-5)
    assert merged.n_prompts == 6 and merged.rows == whole.rows
    one, other = sum(matrices(s) * (s.n_prompts or 0) for s in shards[::2]), matrices(shards[1])  # 1 + 2 prompts beside 3
    cosines = (one * other).sum((1, 2)) / np.sqrt((one**2).sum((1, 2)) * (other**2).sum((1, 2)))
    assert list(merged.halves.values()) == pytest.approx(list(cosines), abs=1e-6)
    assert infoflow.merge_lenses(shards[:1]) is shards[0]


def test_what_can_not_be_merged(gpt2: infoflow.Model) -> None:
    from dataclasses import replace

    one = infoflow.fit_lens(gpt2, TEXTS[:1], **FEW)
    with pytest.raises(BadLens, match="no lens to merge"):
        infoflow.merge_lenses([])
    with pytest.raises(BadLens, match="on how many prompts"):
        infoflow.merge_lenses([one, replace(one, n_prompts=None)])
    for other in (replace(one, rows=one.rows[1:]), replace(one, model="another"), replace(one, revision="another")):
        with pytest.raises(BadLens, match="not of one model"):
            infoflow.merge_lenses([one, other])


# --- what is refused


def test_prompts_that_are_too_short_are_left_out(gpt2: infoflow.Model) -> None:
    long = infoflow.fit_lens(gpt2, TEXTS[:1], **FEW)
    mixed = infoflow.fit_lens(gpt2, ["ab", " ", (), TEXTS[0], (5,) * (SKIP + 1)], **FEW)
    np.testing.assert_array_equal(matrices(mixed), matrices(long))
    assert mixed.n_prompts == 1
    with pytest.raises(BadPrompt, match="None of the 2 prompts is longer than 5 tokens"):
        infoflow.fit_lens(gpt2, ["ab", ""], **FEW)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"max_tokens": 5, "skip": 4}, "none stays"),
        ({"skip": -1}, "none stays"),
        ({**FEW, "directions": 49}, "1 to 48 directions"),
        ({**FEW, "directions": 0}, "1 to 48 directions"),
        ({**FEW, "batch": 0}, "1 to 48 directions"),
        ({**FEW, "directions": 8}, "Give 6 prompts, or 24 directions"),
    ],
)
def test_numbers_that_are_none(how: dict[str, Any], said: str, gpt2: infoflow.Model) -> None:
    with pytest.raises(BadPrompt, match=said):
        infoflow.fit_lens(gpt2, TEXTS[:2], **how)


def test_what_does_not_fit_in_memory(gpt2: infoflow.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    with pytest.raises(TooLarge, match="smaller max_tokens"):
        infoflow.fit_lens(gpt2, ["word " * 30], max_tokens=100)
    with pytest.raises(TooLarge, match="smaller batch"):
        infoflow.fit_lens(gpt2, TEXTS[:1], **FEW, batch=48)
    assert infoflow.fit_lens(gpt2, TEXTS[:1], **FEW).n_prompts == 1  # as many at a time as fit


def test_hosted_models_are_refused(gpt2: infoflow.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infoflow.Model, "hosted", property(lambda self: True))
    with pytest.raises(BadPrompt, match="the service does not give"):
        infoflow.fit_lens(gpt2, TEXTS[:1], **FEW)


def test_gradients_that_are_no_numbers_are_refused() -> None:
    hf_model = tiny.hf_model("gpt2")
    with torch.no_grad():
        hf_model.transformer.h[1].mlp.c_proj.weight[0, 0] = float("nan")
    model = infoflow.wrap_model(hf_model, tiny.tokenizer(), name="broken")
    with pytest.raises(BadLens, match="not finite"):
        infoflow.fit_lens(model, TEXTS[:1], **FEW)
