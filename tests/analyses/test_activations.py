"""The stream itself against a plain forward pass of transformers, in every family."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses.activations import ActivationsRequest, needed_bytes
from infoflow.errors import BadPrompt, TooLarge
from infoflow.interventions import Scale, Steer, Zero
from infoflow.traced.interventions import states_at
from tests.helpers import tiny

PROMPT = "When Mary and John"


def hidden_states(model: "infoflow.Model", prompt: str) -> np.ndarray:
    """The residual before every layer, as transformers gives it; the last one it gives is after the final norm."""
    ids = torch.tensor([[t.id for t in model.encode(prompt)]])
    with torch.no_grad():
        out = model._hf(ids, output_hidden_states=True)
    return torch.stack(out.hidden_states[:-1])[:, 0].float().numpy()


def test_states_are_those_of_a_plain_run(family: "infoflow.Model") -> None:
    found = infoflow.activations(family, PROMPT)
    assert np.allclose(found.resid_pre, hidden_states(family, PROMPT), atol=1e-5)
    assert np.array_equal(found.resid_post[:-1], found.resid_pre[1:])
    assert np.allclose(found.resid_pre + found.attn_out + found.mlp_out, found.resid_post, atol=1e-5) and found.max_error < 1e-6
    assert found.pattern is not None and np.allclose(found.pattern, infoflow.attention(family, PROMPT).pattern, atol=1e-6)


def test_what_was_added_is_what_the_modules_wrote(family: "infoflow.Model") -> None:
    found, plan = infoflow.activations(family, PROMPT), family.plan()
    wanted = [(layer, site) for layer in range(plan.n_layers) for site in ("z", "attn", "mlp")]
    states = family.run([t.id for t in family.encode(PROMPT)], states_at, plan, wanted)
    for (layer, site), state in zip(wanted, states, strict=True):
        ours = {"z": found.z, "attn": found.attn_out, "mlp": found.mlp_out}[site]
        assert ours is not None
        scale = 1.0 if site == "z" else plan.residual_multiplier
        assert np.allclose(ours[layer].reshape(len(found.tokens), -1), scale * state.numpy(), atol=2e-5), (layer, site)


def test_changes_are_in_it() -> None:
    model = tiny.model("llama")
    plain = infoflow.activations(model, PROMPT)
    changed = infoflow.activations(model, PROMPT, interventions=[Zero("mlp", 1), Scale("z", 0.5, 0, None, 2)])
    assert np.allclose(changed.mlp_out[1], 0, atol=1e-6) and not np.allclose(plain.mlp_out[1], 0, atol=1e-2)
    assert plain.z is not None and changed.z is not None
    assert np.allclose(changed.z[0, :, 2], 0.5 * plain.z[0, :, 2]) and np.array_equal(changed.z[0, :, 1], plain.z[0, :, 1])
    steered = infoflow.activations(model, PROMPT, interventions=[Steer("resid_pre", ("It", "a"), 2.0, 1)])
    assert not np.array_equal(steered.resid_pre[1], steered.resid_post[0])  # what was put there is in the part before the layer
    assert steered.max_error < 1e-6


def test_angles_are_cosines_of_its_rows() -> None:
    found = infoflow.activations(tiny.model("gpt2"), PROMPT)

    def by_hand(x: np.ndarray, y: np.ndarray) -> float:
        return float(sum(a * b for a, b in zip(x, y, strict=True)) / (sum(a * a for a in x) * sum(b * b for b in y)) ** 0.5)

    assert found.turns[1, 3] == pytest.approx(by_hand(found.resid_pre[1, 3], found.resid_post[1, 3]), abs=1e-6)
    assert found.between(2, -1)[0] == pytest.approx(by_hand(found.resid_pre[0, 2], found.resid_pre[0, -1]), abs=1e-6)
    assert found.between(2, -1)[3] == pytest.approx(by_hand(found.resid_post[2, 2], found.resid_post[2, -1]), abs=1e-6)
    direction = np.linspace(-1, 1, found.resid_pre.shape[-1]).astype(np.float32)
    assert found.along(direction, 1)[2] == pytest.approx(by_hand(found.resid_post[1, 1], direction), abs=1e-6)
    assert np.allclose(found.along(found.stream[:, 4], 4), 1) and np.allclose(found.beside(found), 1, atol=1e-6)
    other = infoflow.activations(tiny.model("gpt2"), "When Mary")
    assert np.allclose(found.beside(other, 5, 5), 1, atol=1e-6)  # causal: what comes later changes nothing
    last = len(found.tokens) - 1
    assert found.along(direction)[2] == pytest.approx(by_hand(found.resid_post[1, last], direction), abs=1e-6)
    assert np.array_equal(found.beside(other, its=2), found.beside(other, last, 2)) and found.beside(other, its=2).min() < 0.99
    frame = found.to_frame()
    row = frame[(frame["layer"] == 1) & (frame["position"] == 3)].iloc[0]
    assert row["attn_out"] == pytest.approx(np.linalg.norm(found.attn_out[1, 3]), rel=1e-5)
    assert row["turn"] == pytest.approx(found.turns[1, 3], abs=1e-6)


def test_its_error_is_the_worst_of_all_layers_and_positions() -> None:
    found = infoflow.activations(tiny.model("llama"), PROMPT)
    off = found.mlp_out.copy()
    off[1, 2] += 0.5 * found.resid_post[1, 2]
    assert replace(found, mlp_out=off).max_error == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda f: f.between(0, 99), "no position 99"),
        (lambda f: f.along(np.ones(3, np.float32)), "A direction has 48 numbers"),
        (lambda f: f.beside(infoflow.activations(tiny.model("phi3", num_hidden_layers=2), "ab")), "different depth"),
    ],
)
def test_what_can_not_be_compared_is_told(ask, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadPrompt, match=said):
        ask(infoflow.activations(tiny.model("llama"), PROMPT))


def test_its_cost_is_reckoned(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("llama")  # 3 layers, width 48, 4 heads of 16, 257 tokens
    assert needed_bytes(model, 10) == 4 * (3 * (10 * (5 * 48 + 4 * 16) + 4 * 100) + 10 * 257)
    assert ActivationsRequest(prompt="abc").estimate(model).bytes == needed_bytes(model, len(model.encode("abc")))
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    with pytest.raises(TooLarge, match="states of 201 tokens"):
        infoflow.activations(model, "a" * 200)
