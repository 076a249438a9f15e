"""Where the answer is: every row sums to the logit, moves add up, a case on paper, and cells taken out of a frozen twin."""

from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.errors import BadPrompt, TooLarge
from tests.helpers import tiny
from tests.helpers.frozen_network import FrozenNetwork

PROMPT, TARGET, RIVAL = "When Mary and John", 65, 66


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_every_row_sums_to_the_logit_and_moves_add_up(name: str) -> None:
    model = tiny.model(name)
    found = infoflow.locate(model, PROMPT, TARGET, against=RIVAL)
    whole = infoflow.attribute(model, PROMPT, TARGET, against=RIVAL)
    assert found.total == whole.total and found.max_error < 1e-5 and (found.row_error < 1e-5).all()
    assert found.mids != bool(model.plan().parallel) and len(found.rows) == len(found.by_cell) == len(found.bias)
    np.testing.assert_allclose(found.by_cell.sum(1) + found.bias, whole.total, atol=2e-5)
    np.testing.assert_allclose(found.by_cell[0], whole.by_source, atol=1e-5)
    assert found.bias[0] == pytest.approx(whole.bias, abs=2e-5)
    assert not np.delete(found.by_cell[-1], found.position).any()  # on top all of it is where it is read off
    change, moved = np.diff(found.by_cell, axis=0), found.added.copy()
    for layer in range(model.n_layers):
        moved[found.row_after(layer) - 1] += (found.arrived[layer] - found.left[layer]).sum(0)
    np.testing.assert_allclose(moved, change, atol=2e-5)
    np.testing.assert_allclose(found.arrived.sum(-1), found.left.sum(-1), atol=2e-5)  # what arrives has left
    assert (np.abs(change).max() > 1e-3) and np.abs(found.arrived).max() > 1e-4  # or the above says nothing


@pytest.mark.slow
def test_what_is_kept_by_name_and_the_rest_are_the_change_of_a_cell(
    family: infoflow.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kept in (16, 2):
        monkeypatch.setattr("infoflow.analyses.location.KEPT", kept)
        found = infoflow.locate(family, PROMPT, TARGET)
        for layer in range(family.n_layers):
            row = found.row_after(layer)
            for position in (0, 3, len(found.labels) - 1):
                table = found.moved_at(layer, position)
                change = found.by_cell[row, position] - found.by_cell[row - 1, position]
                assert float(table["logit"].sum()) == pytest.approx(float(change), abs=2e-5)
                assert (table["kind"] == "in").sum() <= kept
    every = found.moves_frame()
    assert (every["source"] != every["dest"]).all() and every["logit"].abs().is_monotonic_decreasing


def test_a_move_taken_out_of_the_frozen_network_takes_its_part(llama_like: infoflow.Model) -> None:
    """What one head reads from one position is taken out of what goes into the output projection at another."""
    found, attn = infoflow.locate(llama_like, PROMPT, TARGET), infoflow.attention(llama_like, PROMPT)
    ids = [t.id for t in llama_like.encode(PROMPT)]
    network = FrozenNetwork(llama_like._hf, llama_like.architecture, ids)
    whole = float(network.post(network.embeddings)[1][TARGET])
    for move in found.moves_frame().head(6).itertuples():
        block, width, kept = network.layers[move.layer].self_attn, attn.pattern.shape[1], []
        shared = width // llama_like._hf.config.num_key_value_heads

        def less(module: torch.nn.Module, args: tuple, move: Any = move, shared: int = shared, kept: list = kept) -> tuple:
            z, value = args[0].clone(), kept[0]
            size = z.shape[-1] // attn.pattern.shape[1]
            read = value[0, move.source].view(-1, size)[move.head // shared]
            weight = float(attn.pattern[move.layer, move.head, move.dest, move.source])
            z[0, move.dest].view(-1, size)[move.head] -= weight * read
            return (z, *args[1:])

        def values(module: torch.nn.Module, args: tuple, y: torch.Tensor, kept: list = kept) -> None:
            kept.append(y if module.bias is None else y - module.bias)

        hooks = [block.v_proj.register_forward_hook(values), block.o_proj.register_forward_pre_hook(less)]
        left = float(network.post(network.embeddings)[1][TARGET])
        for hook in hooks:
            hook.remove()
        assert whole - left == pytest.approx(move.logit, abs=1e-4 * max(1, abs(whole)))


def test_a_case_on_paper() -> None:
    """Token 2 is read off. Attention leaves (2, -1) there; the MLP adds silu(2 s)(-s) to the first coordinate, s = 1 / sqrt 2.5,
    and the target's logit is the first coordinate over the final rms. At the embeddings the slope at position 1 is 1.5 times
    that of the row above (itself and half of itself), and half of it at position 0."""
    found = infoflow.locate(tiny.on_paper(), [1, 2], 1)
    s = 2.5**-0.5
    gate = 2 * s / (1 + np.exp(-2 * s)) * s  # what the MLP makes of the second coordinate
    first = 2 - gate
    rms = float(np.sqrt((first**2 + 1) / 2))
    slope = np.array([1.0, gate]) / rms
    assert found.total == pytest.approx(first / rms, abs=1e-5)
    expected = [[0.5 * slope @ [1, 1], 1.5 * slope @ [1, -1]], [0, first / rms], [0, first / rms]]
    np.testing.assert_allclose(found.by_cell, expected, atol=1e-5)
    assert not found.bias.any() and list(found.path) == [int(np.argmax(expected[0])), 1, 1]
    (move,) = found.moves_frame().to_dict("records")
    assert (move["layer"], move["head"], move["source"], move["dest"]) == (0, 0, 0, 1)
    assert move["logit"] == pytest.approx(float(0.5 * slope @ [1, 1]), abs=1e-5)
    assert found.by_mlp[0, 1] == pytest.approx(-gate / rms, abs=1e-5)


def test_a_cell_taken_out_of_the_frozen_network_takes_its_part(family: infoflow.Model) -> None:
    """transformers' own forward with patterns, gates and scales replayed: without the residual of one position at one layer, the
    logit is less by that cell."""
    found = infoflow.locate(family, PROMPT, TARGET)
    ids = [t.id for t in family.encode(PROMPT)]
    network = FrozenNetwork(family._hf, family.architecture, ids)
    scale = family.plan().logit_scale
    whole = scale * float(network.post(network.embeddings)[1][TARGET])
    for layer in range(1, family.n_layers):
        for position in (0, 2, len(ids) - 1):

            def without(module: torch.nn.Module, args: tuple, position: int = position) -> tuple:
                x = args[0].clone()
                x[0, position] = 0
                return (x, *args[1:])

            hook = network.layers[layer].register_forward_pre_hook(without)
            left = scale * float(network.post(network.embeddings)[1][TARGET])
            hook.remove()
            row = found.row_after(layer) - 1  # what this layer reads
            assert whole - left == pytest.approx(float(found.by_cell[row, position]), abs=2e-4 * max(1, abs(whole)))


def test_without_a_target_it_is_the_likeliest(demo: infoflow.Model) -> None:
    found = infoflow.locate(demo, "The capital of France is")
    assert found.target == found.top[0].id and found.top[0].token == " Paris" and found.against is None
    named = infoflow.locate(demo, "The capital of France is", " Paris")
    np.testing.assert_allclose(named.by_cell, found.by_cell, atol=1e-6)
    rival = infoflow.locate(demo, "The capital of France is", against=" Rome")
    assert rival.target == found.target and rival.against_name == " Rome"
    assert found.provenance.request.target == found.target


def test_of_an_earlier_position_later_cells_hold_nothing(family: infoflow.Model) -> None:
    found = infoflow.locate(family, PROMPT, TARGET, position=3)
    assert found.position == 3 and not found.by_cell[:, 4:].any() and found.max_error < 1e-5


def test_the_mean_is_taken_off(demo: infoflow.Model) -> None:
    plain, centred = (infoflow.locate(demo, "The sky is", " blue", centred=c) for c in (False, True))
    assert centred.total == pytest.approx(infoflow.attribute(demo, "The sky is", " blue", centred=True).total)
    assert abs(plain.total - centred.total) > 0.1 and centred.max_error < 1e-5


def test_a_position_that_is_not_there_and_a_prompt_too_long_are_refused(
    demo: infoflow.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadPrompt, match="There is no position 9"):
        infoflow.locate(demo, "ab", 5, position=9)
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    with pytest.raises(TooLarge, match="Locating an answer over"):
        infoflow.locate(demo, "The capital of France is " * 20, 5)


@pytest.mark.slow
def test_two_thousand_tokens(demo: infoflow.Model) -> None:
    ids = [7 + i % 400 for i in range(2000)]
    found = infoflow.locate(demo, ids, 50)
    assert found.by_cell.shape == (13, 2000) and found.max_error < 1e-4


@pytest.mark.slow
def test_the_figures_of_a_trained_model(smol: infoflow.Model) -> None:
    """Mary against John: on `Mary` and the second `John` up to layer 22, on the last position from layer 24 on."""
    found = infoflow.locate(smol, "When Mary and John went to the store, John gave a drink to", " Mary", against=" John")
    reads = {layer: found.by_cell[2 * layer] for layer in (22, 24, 28)}
    assert found.total == pytest.approx(6.12, abs=0.01) and found.max_error < 2e-6
    assert reads[22][[1, 9, 13]] == pytest.approx([4.47, 3.23, 0.09], abs=0.05)
    assert reads[24][[1, 9, 13]] == pytest.approx([-0.97, 0.24, 7.06], abs=0.05)
    capital = infoflow.locate(smol, "The capital of France is", " Paris", against=" Rome")
    for layer, of_france, of_last in ((8, 1.29, 1.49), (16, 1.98, 2.08), (20, 2.06, 1.85), (24, -0.33, 4.77), (28, 0.10, 6.42)):
        assert capital.by_cell[2 * layer][[3, 4]] == pytest.approx([of_france, of_last], abs=0.05)
    assert float(capital.by_cell[0, 0]) == pytest.approx(4.95, abs=0.01)  # `The`: hindsight
