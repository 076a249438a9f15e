"""Who carried a source into a cell: terms sum to the cell, a case on paper, a slow twin, and an intervention."""

import numpy as np
import pytest
import torch

import infoflow
from infoflow.errors import BadPrompt
from infoflow.text.tokens import BIAS
from tests.helpers import slow_flow, tiny
from tests.helpers.frozen_network import FrozenNetwork

PROMPT = "When Mary and John"


@pytest.mark.parametrize("stage", ["mid", "post"])
def test_carriers_sum_to_the_cell_of_the_decomposition(family: infoflow.Model, stage: str) -> None:
    flow = infoflow.decompose(family, PROMPT, sources="words")
    n = len(flow.tokens)
    for source in {int(flow.source_of[n - 3]), len(flow.source_labels) - 1}:  # the bias is last, where there is one
        found = infoflow.carriers(family, PROMPT, 2, n - 1, source, stage=stage, sources="words")
        assert found.max_error < 1e-4
        assert found.norm == pytest.approx(float(flow.norms(stage)[2, n - 1, source]), rel=1e-4)
        assert found.source == flow.source_labels[source]
        assert found.source == BIAS or found.direct_bias == 0
        if stage == "mid":
            assert found.by_mlp[-1] == 0


def test_a_case_on_paper() -> None:
    """Position 1 holds (1, -1); attention evenly brings half of both embeddings, the MLP is silent about the first.

    The part of token 0 at position 1 after attention: half of (1, 1), all of it carried by the one head from position 0.
    That of token 1: itself and half of itself, so two thirds were there and one third the head brought from position 1.
    """
    model = tiny.on_paper()
    first = infoflow.carriers(model, [1, 2], 0, 1, 0, stage="mid")
    assert first.norm == pytest.approx(0.5 * 2**0.5)
    np.testing.assert_allclose(first.by_head, [[[1.0, 0.0]]], atol=1e-6)
    assert first.embedding == 0
    own = infoflow.carriers(model, [1, 2], 0, 1, 1, stage="mid")
    np.testing.assert_allclose(own.by_head, [[[0.0, 1 / 3]]], atol=1e-6)
    assert own.embedding == pytest.approx(2 / 3)


def test_heads_positions_and_mlps_are_those_of_the_slow_way(llama_like: infoflow.Model) -> None:
    hf, ids = llama_like._hf, [t.id for t in llama_like.encode(PROMPT)]
    layer, p, s = 2, 6, 3
    c, seen = slow_flow.contributions(hf, ids)
    found = infoflow.carriers(llama_like, ids, layer, p, s)
    cell = c[layer, 1, p, s]
    config = hf.config
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    for below in range(layer + 1):
        inner = hf.model.layers[below]
        w_v, w_o = inner.self_attn.v_proj.weight.double(), inner.self_attn.o_proj.weight.double()
        for h in range(heads):
            kv = h // (heads // config.num_key_value_heads)
            for k in range(p + 1):
                x = torch.tensor(seen.resid_pre[below][k])
                part = torch.tensor(c[below - 1, 1, k, s]) if below else x * (k == s)
                normed = inner.input_layernorm.weight.double() * part / (x.pow(2).mean() + config.rms_norm_eps).sqrt()
                value = w_v[kv * width : (kv + 1) * width] @ normed
                write = w_o[:, h * width : (h + 1) * width] @ value * seen.pattern[below][h, p, k]
                share = float((write.detach().numpy() @ cell) / (cell @ cell))
                assert found.by_head[below, h, k] == pytest.approx(share, abs=1e-4)
        mlp = (c[below, 1, p, s] - c[below, 0, p, s]) @ cell / (cell @ cell)
        assert found.by_mlp[below] == pytest.approx(float(mlp), abs=1e-4)


def test_what_arrives_is_what_vanishes_without_the_cell(family: infoflow.Model) -> None:
    """Take the cell's part out of the network with everything frozen: later residuals lose exactly what `arrives` says."""
    flow = infoflow.decompose(family, PROMPT)
    position, source = 4, 2
    found = infoflow.carriers(family, PROMPT, 0, position, source)
    network = FrozenNetwork(family._hf, family.architecture, list(flow.token_ids))
    alone, _ = network.post(torch.where(torch.arange(len(flow.tokens))[:, None] == source, network.embeddings, torch.zeros(())))
    left, _ = network.post(torch.zeros_like(network.embeddings))
    part = (alone - left)[0, position]
    taken: list[torch.Tensor] = []

    def without(module, args, out):  # type: ignore[no-untyped-def]
        x = (out[0] if isinstance(out, tuple) else out).clone()
        x[0, position] -= part
        taken.append(x)
        return (x, *out[1:]) if isinstance(out, tuple) else x

    hook = network.layers[0].register_forward_hook(without)
    removed, _ = network.post(network.embeddings)
    hook.remove()
    for layer in (1, 2):
        x = network.residuals[layer]
        lost = ((x - removed[layer]) * x).sum(-1) / x.pow(2).sum(-1)
        np.testing.assert_allclose(found.arrives[layer], lost, atol=2e-3)
    assert (found.arrives[:, :position] == 0).all()


def test_heads_that_read_the_cell_explain_what_attention_brings_on(llama_like: infoflow.Model) -> None:
    """One layer on, before its MLP, other positions hold of the cell just what the heads of that layer read from it."""
    flow = infoflow.decompose(llama_like, PROMPT)
    position = 2
    found = infoflow.carriers(llama_like, PROMPT, 0, position, 1)
    assert (found.reads[0] == 0).all() and (found.reads[:, :, : position + 1] == 0).all()
    hf, ids = llama_like._hf, list(flow.token_ids)
    network = FrozenNetwork(hf, llama_like.architecture, ids)
    c, seen = slow_flow.contributions(hf, ids)
    part = torch.tensor(c[0, 1, position, 1], dtype=torch.float32)
    mids: list[torch.Tensor] = []
    with torch.no_grad():
        for remove in (False, True):

            def change(module, args, out, remove=remove):  # type: ignore[no-untyped-def]
                x = (out[0] if isinstance(out, tuple) else out).clone()
                x[0, position] -= part * remove
                return x

            hooks = [
                hf.model.layers[0].register_forward_hook(change),
                hf.model.layers[1].post_attention_layernorm.register_forward_pre_hook(lambda m, a: mids.append(a[0][0].clone())),
            ]
            network.post(network.embeddings)
            for hook in hooks:
                hook.remove()
    whole = torch.tensor(seen.resid_mid[1])
    lost = ((mids[0] - mids[1]) * whole).sum(-1) / whole.pow(2).sum(-1)
    np.testing.assert_allclose(found.reads[1].sum(0)[position + 1 :], lost[position + 1 :], atol=1e-3)


def test_the_table_names_every_carrier_the_largest_first() -> None:
    found = infoflow.carriers(tiny.model("gpt2"), PROMPT, 1, 6, BIAS)
    frame = found.to_frame()
    assert list(frame.columns) == ["kind", "layer", "head", "position", "token", "share"]
    assert frame.share.sum() == pytest.approx(1, abs=1e-4)
    assert frame.share.abs().is_monotonic_decreasing
    assert {"head", "MLP", "bias"} <= set(frame.kind)


def test_progress_is_told_layer_by_layer() -> None:
    said: list[tuple[int, int]] = []
    infoflow.carriers(tiny.model(), PROMPT, 1, 3, 1, on_progress=lambda done, total: said.append((done, total)))
    assert said == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": 9}, "no residual at layer 9.*3 layers"),
        ({"stage": "embed"}, "stage 'embed'"),
        ({"position": 99}, "position 99"),
        ({"source": "nobody"}, "no source 'nobody'"),
        ({"position": 1, "source": 4}, "comes after position 1"),
    ],
)
def test_bad_input_gets_a_sentence(change: dict, message: str) -> None:
    asked = {"layer": 1, "position": 5, "source": 2, **change}
    with pytest.raises(BadPrompt, match=message):
        infoflow.carriers(tiny.model(), PROMPT, **asked)
