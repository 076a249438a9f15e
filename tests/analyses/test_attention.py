"""Patterns against the plain forward pass, lengths of values and writes against the weights, and known heads found."""

import numpy as np
import pytest
import torch

import infoflow
from infoflow.errors import BadPrompt, TooLarge
from tests.helpers import made, tiny

PROMPT = "When Mary and John"


def test_patterns_are_those_of_the_plain_forward_pass(family: "infoflow.Model") -> None:
    found = infoflow.attention(family, PROMPT)
    with torch.no_grad():
        plain = family._hf(torch.tensor([list(found.prompt_ids)]), output_attentions=True).attentions
    np.testing.assert_allclose(found.pattern, torch.cat(plain), atol=1e-6)
    if family.family == "gpt_oss":
        assert found.missing.max() > 0.01  # a sink in the softmax, which is no token
    else:
        np.testing.assert_allclose(found.missing, 0, atol=1e-5)
    upper = np.triu_indices(len(found.tokens), 1)
    assert np.all(found.pattern[:, :, upper[0], upper[1]] == 0)


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2", "gpt_neox", "phi3"])
def test_lengths_of_values_and_writes_are_those_of_the_weights(name: str) -> None:
    """What attention writes is the sum over heads and sources of A v W_O; each term's length is what `contribution` says."""
    model = tiny.model(name)
    hf, row, plan = model._hf, model.architecture, model.plan()
    found = infoflow.attention(model, PROMPT)
    layer = hf.get_submodule(f"{row.layers}.1.{row.attention}")
    seen: dict[str, torch.Tensor] = {}
    layer.get_submodule(row.value).register_forward_hook(lambda m, i, o: seen.update(v=o[0]))
    layer.get_submodule(row.output).register_forward_hook(lambda m, i, o: seen.update(z=i[0][0], out=o[0]))
    with torch.no_grad():
        hf(torch.tensor([list(found.prompt_ids)]))
        n, H, D = len(found.tokens), plan.n_heads, plan.d_head
        if row.fused == "blocks":
            v = seen["v"][:, (H + plan.n_kv_heads) * D :]
        elif row.fused == "per head":
            v = seen["v"].view(n, H, 3, D)[:, :, 2].reshape(n, -1)
        else:
            v = seen["v"]
        v = v.view(n, -1, D).repeat_interleave(H // (v.shape[-1] // D), 1)
        output = layer.get_submodule(row.output)
        matrix = (output.weight if name == "gpt2" else output.weight.T).detach()
        writes = torch.einsum("jhd,hdm->jhm", v, matrix.reshape(H, D, -1))
        whole = torch.einsum("hij,jhm->im", torch.tensor(found.pattern[1]), writes)
        bias = output.bias.detach() if getattr(output, "bias", None) is not None else 0.0
    np.testing.assert_allclose(whole + bias, seen["out"], atol=1e-4)
    np.testing.assert_allclose(found.value_norm[1], v.norm(dim=-1).T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.write_norm[1], writes.norm(dim=-1).T, rtol=1e-4, atol=1e-4)
    weighted = found.weighted("contribution")[1, 2, 5, 3]
    assert weighted == pytest.approx(float(found.pattern[1, 2, 5, 3] * writes[3, 2].norm()), rel=1e-3)
    assert found.weighted("value-weighted")[1, 2, 5, 3] == pytest.approx(
        float(found.pattern[1, 2, 5, 3] * v[3, 2].norm()), rel=1e-3
    )


@pytest.mark.parametrize("name", ["granite", "gemma2", "olmo2", "llama", "cohere"])
def test_what_is_written_is_what_reaches_the_stream(name: str) -> None:
    """Each head's values alone, through transformers' own norm after attention, its scale replayed, times the multiplier."""
    model = tiny.model(name)
    hf, row, plan = model._hf, model.architecture, model.plan()
    found = infoflow.attention(model, PROMPT)
    block = hf.get_submodule(f"{row.layers}.1")
    layer = block.get_submodule(row.attention)
    seen: dict[str, torch.Tensor] = {}
    layer.get_submodule(row.value).register_forward_hook(lambda m, i, o: seen.update(v=o[0]))
    layer.register_forward_hook(lambda m, i, o: seen.update(out=o[0][0]))
    with torch.no_grad():
        hf(torch.tensor([list(found.prompt_ids)]))
        n, H, D = len(found.tokens), plan.n_heads, plan.d_head
        v = seen["v"].view(n, -1, D).repeat_interleave(H // (seen["v"].shape[-1] // D), 1)
        matrix = layer.get_submodule(row.output).weight.T
        writes = torch.einsum("jhd,hdm->jhm", v, matrix.reshape(H, D, -1))
        norm = block.get_submodule(row.attention_post_norm) if row.attention_post_norm else None
        for dest, src, head in ((6, 2, 1), (5, 5, 3), (3, 0, 0)):
            expected = writes[src, head]
            if norm is not None:  # linear once its scale is that of what it was given
                whole = seen["out"][dest]
                gain = norm(whole) / whole
                expected = gain * expected
            expected = float(expected.norm()) * getattr(hf.config, "residual_multiplier", 1.0)
            assert found.writes[1, head, dest, src] == pytest.approx(expected, rel=2e-3)
            assert found.weighted("contribution")[1, head, dest, src] == pytest.approx(
                float(found.pattern[1, head, dest, src]) * expected, rel=2e-3, abs=1e-6
            )
            if dest == src:
                assert found.write_norm[1, head, src] == pytest.approx(expected, rel=2e-3)
    frame = found.to_frame()
    here = frame[(frame.layer == 1) & (frame["head"] == 1) & (frame.dest == 6) & (frame.src == 2)]
    assert here["write_norm"].iloc[0] == pytest.approx(found.writes[1, 1, 6, 2])


def test_known_heads_of_the_shipped_model_are_found(demo: "infoflow.Model") -> None:
    """Previous-token heads below, induction heads above: on random tokens said twice as in the literature."""
    prompt = "The cat sat on the mat. The cat sat on the"
    here, calibrated = infoflow.attention(demo, prompt).scores, infoflow.calibrate(demo)
    assert (here.basis, calibrated.basis) == ("this prompt", "random tokens said twice")
    names = calibrated.labels()
    assert "previous token" in names[1:4] and "induction" in names[4:] and not (names[:4] == "induction").any()
    assert calibrated.scores[2, 5].mean() > 0.8 > 0.3 > calibrated.scores[2, 0].max()
    assert calibrated.eligible == (4 * 39, 4 * 20, 4 * 20)


def test_calibration_can_be_repeated_and_stopped(demo: "infoflow.Model") -> None:
    np.testing.assert_array_equal(infoflow.calibrate(demo, 5, 2).scores, infoflow.calibrate(demo, 5, 2).scores)
    told: list[tuple[int, int]] = []
    infoflow.calibrate(demo, 5, 2, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_the_table_has_every_pair(demo: "infoflow.Model") -> None:
    found = infoflow.attention(demo, "The sky is")
    frame = found.to_frame()
    n = len(found.tokens)
    assert len(frame) == 6 * 8 * n * (n + 1) // 2
    sums = frame.groupby(["layer", "head", "dest"])["weight"].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    one = frame[(frame.layer == 3) & (frame["head"] == 2) & (frame.dest == 3) & (frame.src == 1)].iloc[0]
    assert one.weight == pytest.approx(float(found.pattern[3, 2, 3, 1])) and one.src_token == found.position_labels[1]


def test_bad_input_gets_a_sentence(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadPrompt, match="empty"):
        infoflow.attention(demo, "")
    with pytest.raises(BadPrompt, match="no weighting 'x'"):
        infoflow.attention(demo, "a").weighted("x")
    with pytest.raises(BadPrompt, match="at least two tokens"):
        infoflow.calibrate(demo, 1)
    with pytest.raises(BadPrompt, match="1 is no intervention"):
        infoflow.attention(demo, "a", interventions=[1])
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    with pytest.raises(TooLarge, match="are allowed"):
        infoflow.attention(demo, "a b c " * 60)


def test_heads_add_to_the_next_tokens_logit_what_attribution_says(family: "infoflow.Model") -> None:
    """On every family: the token is the model's own first, and each head's part is that of a run backward."""
    attn = infoflow.attention(family, "abc the cat")
    twin = infoflow.attribute(family, "abc the cat", attn.next_token.id)
    np.testing.assert_allclose(attn.head_logits, twin.by_head, atol=2e-6 * max(1.0, float(np.abs(twin.by_head).max())))
    assert attn.next_token.logit == pytest.approx(twin.model_total, abs=1e-4)
    assert attn.next_token.id == infoflow.logit_lens(family, "abc the cat").token_ids[-1, -1, 0]


def test_what_a_source_writes_where_its_own_norm_gave_nothing() -> None:
    """Elsewhere a norm's scale counts by how it differs from the source's own; of none there is no such ratio."""
    found = made.attention(np.eye(3)[None, None], write_scale=np.array([[1.0, 0.0, 2.0]], np.float32))
    assert found.writes[0, 0].tolist() == [[10, 20, 15], [0, 20, 0], [20, 20, 30]]
