"""Attribution to a logit: equal to the forward decomposition, sums to the logit, and tested by interventions."""

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses.flow import decompose
from infoflow.errors import BadPrompt
from infoflow.text.tokens import BIAS
from tests.helpers import tiny

PROMPT = "When Mary and John went"
TARGET, RIVAL = 65, 80


@pytest.fixture(scope="module")
def attribution(family: infoflow.Model) -> infoflow.Attribution:
    return infoflow.attribute(family, PROMPT, TARGET)


def test_both_splits_sum_to_the_logit(attribution: infoflow.Attribution, family: infoflow.Model) -> None:
    ids = [t.id for t in family.encode(PROMPT)]
    seen: list[torch.Tensor] = []
    hook = family._hf.lm_head.register_forward_hook(lambda m, args, out: seen.append(out[0, -1, TARGET]))
    with torch.no_grad():
        own = float(family._hf(torch.tensor([ids])).logits[0, -1, TARGET])
    hook.remove()
    capped = family._hf.config.model_type == "gemma2"
    logit = float(seen[0]) if capped else own
    a = attribution
    assert a.model_total == pytest.approx(own, abs=1e-5) and a.softcap == (30.0 if capped else 0.0)
    assert ("before the model's soft cap" in a.note.lower()) == capped
    assert a.total == pytest.approx(logit, abs=1e-5)
    assert float(a.by_source.sum()) + a.bias == pytest.approx(logit, abs=1e-4)
    assert float(a.by_head.sum() + a.by_mlp.sum()) + a.embedding + a.direct_bias == pytest.approx(logit, abs=1e-4)
    assert a.max_error < 1e-5


def test_equals_the_forward_decomposition(attribution: infoflow.Attribution, family: infoflow.Model) -> None:
    flow = decompose(family, PROMPT, targets=(TARGET,))
    forward = flow.logits(TARGET)
    n = len(flow.tokens)
    scale = max(1.0, float(np.abs(forward).max()))
    np.testing.assert_allclose(attribution.by_source / scale, forward[:n] / scale, atol=1e-5)
    expected_bias = forward[-1] if flow.source_labels[-1] == BIAS else 0.0
    assert attribution.bias / scale == pytest.approx(float(expected_bias) / scale, abs=2e-5)


def test_a_rival_gives_the_difference(family: infoflow.Model) -> None:
    one, two = infoflow.attribute(family, PROMPT, TARGET), infoflow.attribute(family, PROMPT, RIVAL)
    both = infoflow.attribute(family, PROMPT, TARGET, against=RIVAL)
    assert both.total == pytest.approx(one.total - two.total, abs=1e-4)
    np.testing.assert_allclose(both.by_source, one.by_source - two.by_source, atol=1e-3)
    np.testing.assert_allclose(both.by_head, one.by_head - two.by_head, atol=1e-3)


def test_an_earlier_position_knows_nothing_of_later_tokens(family: infoflow.Model) -> None:
    early = infoflow.attribute(family, PROMPT, TARGET, position=4)
    assert (early.by_source[5:] == 0).all()
    short = infoflow.attribute(family, list(t.id for t in family.encode(PROMPT))[:5], TARGET)
    np.testing.assert_allclose(early.by_source[:5], short.by_source, atol=1e-3)


@pytest.mark.parametrize(("layer", "head"), [(0, 1), (2, 3)])
def test_removing_a_heads_write_moves_the_logit_by_its_share(layer: int, head: int, llama_like: infoflow.Model) -> None:
    """Subtract the head's own write from the end of the stream, the final norm's scale held: the logit falls by its share."""
    hf, ids = llama_like._hf, [t.id for t in llama_like.encode(PROMPT)]
    kept: dict[str, torch.Tensor] = {}
    hooks = [
        hf.model.layers[layer].self_attn.o_proj.register_forward_pre_hook(lambda m, a: kept.update(z=a[0][0, -1])),
        hf.model.norm.register_forward_pre_hook(lambda m, a: kept.update(x=a[0][0, -1])),
    ]
    with torch.no_grad():
        hf(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    width = kept["z"].shape[0] // hf.config.num_attention_heads
    only = torch.zeros_like(kept["z"])
    only[head * width : (head + 1) * width] = kept["z"][head * width : (head + 1) * width]
    output = hf.model.layers[layer].self_attn.o_proj
    write = output.weight @ only
    scale = (kept["x"].pow(2).mean() + hf.config.rms_norm_eps).sqrt()
    moved = (hf.lm_head.weight[TARGET] * hf.model.norm.weight * write / scale).sum()
    share = infoflow.attribute(llama_like, PROMPT, TARGET).by_head[layer, head]
    assert float(share) == pytest.approx(float(moved.detach()), abs=1e-4)


def test_centred_logits_are_over_the_vocabularys_mean(family: infoflow.Model) -> None:
    seen: list[torch.Tensor] = []
    hook = family._hf.lm_head.register_forward_hook(lambda m, args, out: seen.append(out[0, -1]))
    with torch.no_grad():
        own = family._hf(torch.tensor([[t.id for t in family.encode(PROMPT)]])).logits[0, -1]
    hook.remove()
    if family._hf.config.model_type != "gemma2":  # whose cap comes after what is split
        seen[0] = own
    found = infoflow.attribute(family, PROMPT, TARGET, centred=True)
    assert found.total == pytest.approx(float(seen[0][TARGET] - seen[0].mean()), abs=1e-4)
    assert found.max_error < 1e-5
    difference = infoflow.attribute(family, PROMPT, TARGET, against=RIVAL, centred=True)  # a constant changes no difference
    np.testing.assert_allclose(
        difference.by_source, infoflow.attribute(family, PROMPT, TARGET, against=RIVAL).by_source, atol=1e-3
    )


def test_the_published_form_leaves_the_final_norm_out(llama_like: infoflow.Model) -> None:
    """z W_O . W_U[t], by hand from the captured z; all writers together are x . W_U[t] before the norm."""
    hf, ids = llama_like._hf, [t.id for t in llama_like.encode(PROMPT)]
    kept: dict[str, torch.Tensor] = {}
    hooks = [
        hf.model.layers[1].self_attn.o_proj.register_forward_pre_hook(lambda m, a: kept.update(z=a[0][0, -1])),
        hf.model.norm.register_forward_pre_hook(lambda m, a: kept.update(x=a[0][0, -1])),
    ]
    with torch.no_grad():
        hf(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    found = infoflow.attribute(llama_like, PROMPT, TARGET, direct="without norm")
    target = hf.lm_head.weight[TARGET].detach()
    width = len(kept["z"]) // hf.config.num_attention_heads
    only = torch.zeros_like(kept["z"])
    only[2 * width : 3 * width] = kept["z"][2 * width : 3 * width]
    byhand = hf.model.layers[1].self_attn.o_proj.weight.detach() @ only @ target
    assert float(found.by_head[1, 2]) == pytest.approx(float(byhand), abs=1e-4)
    assert found.direct_total == pytest.approx(float(kept["x"] @ target), abs=1e-4)
    assert found.max_error < 1e-5
    np.testing.assert_allclose(found.by_source, infoflow.attribute(llama_like, PROMPT, TARGET).by_source, atol=1e-5)


def test_layers_and_the_table_of_writers_sum_to_the_logit(attribution: infoflow.Attribution) -> None:
    a = attribution
    assert float(a.by_layer.sum()) + a.embedding + a.direct_bias == pytest.approx(a.total, abs=1e-4)
    writers = a.direct_frame()
    assert writers["logit"].sum() == pytest.approx(a.total, abs=1e-4)
    assert (writers.loc[writers["kind"] != "head", "head"] == -1).all()
    assert (writers.loc[writers["kind"].isin(["embedding", "bias"]), "layer"] == -1).all()


def test_frame_and_targets_by_text() -> None:
    found = infoflow.attribute(tiny.model("qwen2"), PROMPT, "x", against="y")
    frame = found.to_frame()
    assert list(frame.columns) == ["position", "token", "logit"]
    assert frame.logit.sum() == pytest.approx(found.total, abs=1e-3)


def test_bad_input_gets_a_sentence() -> None:
    model = tiny.model()
    for arguments, message in (
        ({"prompt": " ", "target": 5}, "empty"),
        ({"prompt": "ab", "target": "two words"}, "9 tokens"),
        ({"prompt": "ab", "target": 5, "position": 7}, "no position 7"),
        ({"prompt": "ab", "target": 9999}, "There is no token 9999"),
        ({"prompt": "ab", "target": 5, "direct": "other"}, "no direct attribution 'other'"),
    ):  # fmt: skip
        with pytest.raises(BadPrompt, match=message):
            infoflow.attribute(model, **arguments)


@pytest.mark.slow
def test_two_thousand_tokens_fit_on_the_bundled_model(demo: infoflow.Model) -> None:
    ids = [0] + [5 + i % 1900 for i in range(1999)]
    found = infoflow.attribute(demo, ids, 300)
    assert len(found.by_source) == 2000
    assert found.max_error < 1e-3


def test_what_was_run_is_kept_with_the_result() -> None:
    model = tiny.model("llama")
    made = infoflow.attribute(model, "abc", 65).provenance
    assert (made.model, made.dtype, made.prompt) == ("tiny-llama", "float32", "abc")
    who = infoflow.carriers(model, [1, 2, 3], 1, 2, 0, sources="words").provenance
    assert (who.prompt, who.sources) == ("1 2 3", "words")
