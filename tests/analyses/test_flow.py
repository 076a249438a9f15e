"""The decomposition: identities, a slow twin, a case on paper, and interventions that test it."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import infoflow
from infoflow.analyses.flow import Flow, decompose
from infoflow.errors import BadPrompt, Cancelled, TooLarge
from infoflow.metrics import shares as metrics
from infoflow.text.tokens import BIAS
from tests.helpers import slow_flow, tiny
from tests.helpers.frozen_network import FrozenNetwork

PROMPT = "When Mary and John went"


@pytest.fixture(scope="module")
def flow(family: infoflow.Model) -> Flow:
    return decompose(family, PROMPT)


# ------------------------------------------------------------------ identities


def test_parts_sum_to_the_residual_at_every_layer_stage_and_position(flow: Flow) -> None:
    assert flow.error.shape == (3, 2, len(flow.tokens))
    assert flow.max_error < 1e-5


def test_summed_parts_give_the_models_logits(flow: Flow, family: infoflow.Model) -> None:
    """The model's own, with a multiplier (Granite, Cohere); the unembedding's where there is a soft cap (Gemma 2)."""
    unembedded: list[torch.Tensor] = []
    hook = family._hf.lm_head.register_forward_hook(lambda m, args, out: unembedded.append(out[0, -1]))
    with torch.no_grad():
        answer = family._hf(torch.tensor([flow.token_ids])).logits[0, -1]
    hook.remove()
    (logits,) = unembedded
    assert flow.logit_error < 1e-5
    assert flow.top_agrees
    assert [t.id for t in flow.top] == logits.topk(8).indices.tolist() == answer.topk(8).indices.tolist()
    for column, target in enumerate(flow.targets):
        own = float(answer[target.id])
        assert target.logit == pytest.approx(own, rel=1e-5, abs=1e-5)
        capped = family._hf.config.model_type == "gemma2"
        summed = float(logits[target.id]) if capped else own
        assert target.before_cap == (pytest.approx(summed, rel=1e-5, abs=1e-5) if capped else None)
        assert float(flow.source_logits[:, column].sum()) == pytest.approx(summed, rel=1e-4, abs=1e-4)
    assert flow.top[0].probability == pytest.approx(float(torch.softmax(answer, -1).max()), rel=1e-5)


def test_later_tokens_contribute_exactly_zero(flow: Flow) -> None:
    n = len(flow.tokens)
    later = np.arange(n)[:, None] < np.arange(n)[None, :]
    assert (flow.gram[:, :, :, :n, :n][:, :, later] == 0).all()
    assert (flow.shares("norm")[:, :, :n][:, later] == 0).all()


def test_only_models_with_biases_have_a_bias_source(flow: Flow, family: infoflow.Model) -> None:
    biased = family.architecture and family._hf.config.model_type in tiny.BIASED
    assert (flow.source_labels[-1] == BIAS) == biased
    if biased:
        assert (flow.norms("mid")[0, :, -1] > 0).all()


def test_bias_source_holds_what_the_weights_add_by_themselves() -> None:
    model = tiny.model("qwen2")
    flow = decompose(model, PROMPT)
    c, _ = slow_flow.contributions(model._hf, list(flow.token_ids))
    np.testing.assert_allclose(flow.norms("mid")[:, :, -1], np.linalg.norm(c[:, 0, :, -1], axis=-1), rtol=1e-4)
    np.testing.assert_allclose(flow.norms("post")[:, :, -1], np.linalg.norm(c[:, 1, :, -1], axis=-1), rtol=1e-4)


def test_parts_are_those_of_the_network_run_with_everything_frozen(family: infoflow.Model) -> None:
    """Every family by another road: the forward pass itself, patterns, gates and norms replayed, on one embedding at a time.

    With all embeddings at zero it gives the bias; with one source's alone, the bias and that source's part.
    """
    flow = decompose(family, PROMPT, sources="words")
    network = FrozenNetwork(family._hf, family.architecture, list(flow.token_ids))
    residuals, logits = network.post(network.embeddings)
    np.testing.assert_allclose(residuals, network.residuals, rtol=1e-3, atol=1e-4)  # replaying is faithful
    left, left_logits = network.post(torch.zeros_like(network.embeddings))
    biased = flow.source_labels[-1] == BIAS
    parts, of_logits = [], []
    for s in range(len(flow.source_labels) - biased):
        mine = torch.tensor(flow.source_of == s)[:, None]
        out, out_logits = network.post(torch.where(mine, network.embeddings, torch.zeros(())))
        parts.append(out - left)
        of_logits.append(out_logits - left_logits)
    if biased:
        parts.append(left)
        of_logits.append(left_logits)
    else:
        assert left.abs().max() == 0
    c = torch.stack(parts).double()
    expected = torch.einsum("slpd,tlpd->lpst", c, c)
    size = torch.tensor(flow.residual_norm() ** 2)[:, :, None, None]
    assert ((torch.tensor(flow.gram[:, 1]) - expected).abs() / size).max() < 1e-4
    ids = [t.id for t in flow.targets]
    scale = {"cohere": "logit_scale", "granite": "logits_scaling"}.get(family._hf.config.model_type, "")
    scale = getattr(family._hf.config, scale, 1.0) ** (-1 if scale == "logits_scaling" else 1)
    np.testing.assert_allclose(
        flow.source_logits, (scale * torch.stack(of_logits))[:, ids].numpy(), atol=2e-4 * float(logits.abs().max())
    )


@pytest.mark.parametrize("metric", sorted(metrics.METRICS))
def test_shares_sum_to_one(flow: Flow, metric: str) -> None:
    for stage in ("mid", "post"):
        np.testing.assert_allclose(flow.shares(metric, stage).sum(-1), 1.0, atol=1e-5)
        hidden = flow.shares(metric, stage, hidden=(0,))
        np.testing.assert_allclose(hidden[:, 1:].sum(-1), 1.0, atol=1e-5)
        assert (hidden[:, :, 0] == 0).all()


def test_residual_norm_and_cancellation_come_from_the_same_vectors(llama_like: infoflow.Model) -> None:
    flow = decompose(llama_like, PROMPT)
    seen = slow_flow.watch(llama_like._hf, list(flow.token_ids))
    np.testing.assert_allclose(flow.residual_norm("post"), np.linalg.norm(np.stack(seen.resid_post), axis=-1), rtol=1e-4)
    np.testing.assert_allclose(flow.residual_norm("mid"), np.linalg.norm(np.stack(seen.resid_mid), axis=-1), rtol=1e-4)
    assert (flow.cancellation() >= 1 - 1e-6).all()
    np.testing.assert_allclose(flow.cancellation() * flow.residual_norm(), flow.norms().sum(-1), rtol=1e-4)


# ------------------------------------------------------------------ the slow twin


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_equals_the_obvious_implementation_for_random_shapes(data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(tiny.LLAMA_LIKE), label="family")
    kv_heads = data.draw(st.sampled_from([1, 2]), label="kv_heads")
    model = tiny.model(
        family,
        seed=data.draw(st.integers(0, 99), label="seed"),
        num_key_value_heads=kv_heads,
        num_attention_heads=kv_heads * data.draw(st.sampled_from([1, 2, 3]), label="queries per value head"),
        head_dim=data.draw(st.sampled_from([4, 8]), label="d_head"),
        hidden_size=data.draw(st.sampled_from([12, 24]), label="d_model"),
        intermediate_size=data.draw(st.sampled_from([8, 20]), label="d_mlp"),
        num_hidden_layers=data.draw(st.integers(1, 3), label="layers"),
    )
    ids = data.draw(st.lists(st.integers(0, 256), min_size=1, max_size=7), label="ids")
    flow = decompose(model, ids)
    c, seen = slow_flow.contributions(model._hf, ids)
    if flow.source_labels[-1] != BIAS:
        assert np.abs(c[..., -1, :]).max() == 0
        c = c[..., :-1, :]
    assert flow.max_error < 1e-5
    np.testing.assert_allclose(c.sum(-2)[:, 1], np.stack(seen.resid_post), rtol=1e-4, atol=1e-4)
    expected = np.einsum("lkpsd,lkptd->lkpst", c, c)
    np.testing.assert_allclose(flow.gram, expected, rtol=1e-3, atol=1e-5 * expected.max())

    n = c.shape[-2]
    names = data.draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n), label="groups")
    groups = list(dict.fromkeys(names))
    merged = slow_flow.merge(c, [groups.index(name) for name in names])
    hidden = data.draw(st.sets(st.integers(0, len(groups) - 1), max_size=len(groups) - 1), label="hidden")
    for metric, (k, stage) in itertools.product(metrics.METRICS, enumerate(("mid", "post"))):
        ours = flow.shares(metric, stage, groups=names, hidden=sorted(hidden))
        slow = slow_flow.shares(merged[:, k], metric, tuple(hidden))
        # float32 Gram matrices: what cancels to less than a hundredth of its parts has no digits left to compare
        lengths = np.linalg.norm(merged[:, k], axis=-1).sum(-1)
        rest = np.linalg.norm(merged[:, k][..., [g for g in range(len(groups)) if g not in hidden], :].sum(-2), axis=-1)
        solid = rest > 0.02 * lengths
        np.testing.assert_allclose(ours[solid], slow[solid], atol=2e-3 if metric == "distance" else 5e-4)


def test_grouping_adds_vectors_not_norms(flow: Flow) -> None:
    groups = ["even", "odd"] * (len(flow.tokens) // 2) + ["even"] * (len(flow.tokens) % 2)
    merged, single = flow.norms(groups=groups), flow.norms()
    assert (merged[:, -1].sum(-1) < single[:, -1].sum(-1) - 1e-3).all()


def test_groups_before_the_run_equal_groups_after_it(flow: Flow, family: infoflow.Model) -> None:
    labels = [str(i // 3) for i in range(len(flow.tokens))]
    before = decompose(family, PROMPT, sources=labels)
    after = flow.grouped(labels)
    assert before.source_labels == after.source_labels
    np.testing.assert_allclose(before.gram, after.gram, rtol=1e-3, atol=1e-4 * after.gram.max())
    np.testing.assert_allclose(before.source_logits, after.source_logits, atol=1e-4)


def test_groups_may_be_apart_and_keep_the_order_of_their_first_token(flow: Flow) -> None:
    labels = ["odd" if i % 2 else "even" for i in range(len(flow.tokens))]
    assert flow.grouped(labels).source_labels[:2] == ("even", "odd")
    assert flow.grouped(labels).first_position()[:2].tolist() == [0, 1]


# ------------------------------------------------------------------ on paper


def test_hand_model_attention() -> None:
    """x1 = e2 + (e1 + e2) / 2, so C = (e1 / 2, 3 e2 / 2), orthogonal, of lengths sqrt(1/2) and sqrt(9/2)."""
    flow = decompose(tiny.on_paper(), [1, 2])
    np.testing.assert_allclose(flow.gram[0, 0, 1], [[0.5, 0.0], [0.0, 4.5]], atol=1e-6)
    np.testing.assert_allclose(flow.shares("norm", "mid")[0, 1], [0.25, 0.75], atol=1e-6)
    np.testing.assert_allclose(flow.shares("projection", "mid")[0, 1], [0.1, 0.9], atol=1e-6)
    closer = (math.sqrt(5) - math.sqrt(4.5), math.sqrt(5) - math.sqrt(0.5))
    np.testing.assert_allclose(flow.shares("distance", "mid")[0, 1], np.array(closer) / sum(closer), atol=1e-6)
    np.testing.assert_allclose(flow.cancellation("mid")[0, 1], (math.sqrt(0.5) + math.sqrt(4.5)) / math.sqrt(5), rtol=1e-6)


def test_hand_model_mlp_and_logits() -> None:
    """At position 1: x_mid = (2, -1), rms = sqrt(5/2). C_1 = (1/2, 1/2), C_2 = (3/2, -3/2) before the MLP.

    The gate is silu(2 / rms) for both; up reads the second coordinate / rms; the MLP writes gate * up to the first.
    """
    flow = decompose(tiny.on_paper(), [1, 2], targets=(1, 2))
    rms = math.sqrt(2.5)
    gate = (2 / rms) / (1 + math.exp(-2 / rms))
    first, second = np.array([0.5 + gate * 0.5 / rms, 0.5]), np.array([1.5 - gate * 1.5 / rms, -1.5])
    np.testing.assert_allclose(
        flow.gram[0, 1, 1], [[first @ first, first @ second], [first @ second, second @ second]], atol=1e-6
    )
    whole = first + second
    scale = math.sqrt(whole @ whole / 2)  # final norm
    np.testing.assert_allclose(flow.logits(1), np.array([first[0], second[0]]) / scale, atol=1e-6)
    np.testing.assert_allclose(flow.logits(2), np.array([first[1], second[1]]) / scale, atol=1e-6)
    np.testing.assert_allclose(flow.logits(1, against=2), flow.logits(1) - flow.logits(2), atol=1e-7)


# ------------------------------------------------------------------ interventions


def test_removing_a_token_under_frozen_weights_removes_exactly_its_part(llama_like: infoflow.Model) -> None:
    """Set one embedding to zero, hold patterns, gates and norm scales: the stream changes by that source's part."""
    flow = decompose(llama_like, PROMPT)
    hf, ids = llama_like._hf, list(flow.token_ids)
    seen = slow_flow.watch(hf, ids)
    for source in (0, 3, len(ids) - 1):
        changed = _frozen_run(hf, ids, seen, without=source)
        for k, name in enumerate(("resid_mid", "resid_post")):
            difference = np.stack(getattr(seen, name)) - np.stack(changed[name])
            np.testing.assert_allclose(
                np.linalg.norm(difference, axis=-1), np.sqrt(flow.gram[:, k, :, source, source]), rtol=2e-4, atol=1e-4
            )


def _frozen_run(hf, ids, seen, without):  # type: ignore[no-untyped-def]
    """The model's own modules, run layer by layer with what was frozen put in place."""
    x = torch.tensor(seen.resid_pre[0], dtype=torch.float32)
    x[without] = 0
    out: dict[str, list[np.ndarray]] = {"resid_mid": [], "resid_post": []}
    heads, kv_heads = hf.config.num_attention_heads, hf.config.num_key_value_heads
    with torch.no_grad():
        for index, layer in enumerate(hf.model.layers):
            before, mid = torch.tensor(seen.resid_pre[index]), torch.tensor(seen.resid_mid[index])
            n = x.shape[0]
            normed = layer.input_layernorm.weight * x / (before.pow(2).mean(-1, keepdim=True) + hf.config.rms_norm_eps).sqrt()
            value = layer.self_attn.v_proj(normed.float()).view(n, kv_heads, -1).repeat_interleave(heads // kv_heads, 1)
            z = torch.einsum("hqk,khd->qhd", torch.tensor(seen.pattern[index]).float(), value).reshape(n, -1)
            x = x + layer.self_attn.o_proj(z)
            out["resid_mid"].append(x.double().numpy())
            normed = (
                layer.post_attention_layernorm.weight * x / (mid.pow(2).mean(-1, keepdim=True) + hf.config.rms_norm_eps).sqrt()
            )
            x = x + layer.mlp.down_proj(torch.tensor(seen.gate[index]).float() * layer.mlp.up_proj(normed.float()))
            out["resid_post"].append(x.double().numpy())
    return out


# ------------------------------------------------------------------ what a caller meets


def test_progress_is_reported_once_a_layer_and_can_stop_the_run() -> None:
    model = tiny.model()
    seen: list[tuple[int, int]] = []
    decompose(model, PROMPT, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def stop(done: int, total: int) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        decompose(model, PROMPT, on_progress=stop)
    assert decompose(model, PROMPT).max_error < 1e-5  # the model is clean after it


def test_one_forward_pass_a_run_and_none_for_looking_at_it() -> None:
    model = tiny.model()
    passes: list[int] = []
    model._hf.model.embed_tokens.register_forward_hook(lambda *_: passes.append(1))
    flow = decompose(model, PROMPT)
    assert len(passes) == 1
    flow.shares("projection", groups="words", hidden=(0,))
    flow.to_frame("distance", groups="words")
    flow.cancellation()
    assert len(passes) == 1


def test_frame_is_tidy_and_complete(flow: Flow) -> None:
    frame = flow.to_frame()
    assert list(frame.columns) == [
        "layer",
        "stage",
        "position",
        "token",
        "source",
        "source_label",
        "share",
        "projection",
        "norm",
    ]
    assert not frame.duplicated(["layer", "stage", "position", "source"]).any()
    totals = frame.groupby(["layer", "stage", "position"]).share.sum()
    assert len(totals) == (2 * 3 + 1) * len(flow.tokens)  # both stages of each layer, and the embedding
    np.testing.assert_allclose(totals, 1.0, atol=1e-5)


def test_targets_are_kept_by_id_and_by_text() -> None:
    flow = decompose(tiny.model(), PROMPT, targets=["x", 5])
    assert [t.id for t in flow.targets[:2]] == [tiny.model().token_id("x"), 5]
    assert flow.logits(5).shape == (len(flow.source_labels),)
    with pytest.raises(BadPrompt, match="did not keep"):
        flow.logits(next(i for i in range(257) if i not in [t.id for t in flow.targets]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": "  \n\t "}, "empty"),
        ({"prompt": []}, "no tokens"),
        ({"prompt": [1, 999]}, "There is no token 999"),
        ({"prompt": [-1]}, "There is no token -1"),
        ({"prompt": "ab", "sources": ["x"]}, "1 labels for 3 tokens"),
        ({"prompt": "ab", "sources": ["x", " ", "y"]}, "position 1 has no group"),
        ({"prompt": "ab", "sources": "letters"}, "no grouping"),
        ({"prompt": "ab", "targets": ["two"]}, "3 tokens"),
    ],
)
def test_bad_input_gets_a_sentence(arguments: dict, message: str) -> None:
    with pytest.raises(BadPrompt, match=message):
        decompose(tiny.model(), **arguments)


def test_a_prompt_over_the_limit_says_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TooLarge, match=r"has 71 tokens; the limit is 64"):
        decompose(tiny.model(), "a" * 70)
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", "80")
    assert len(decompose(tiny.model(), "a" * 70).tokens) == 71
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", "many")
    with pytest.raises(infoflow.InfoflowError, match="whole number"):
        decompose(tiny.model(), "a")


def test_unknown_choices_on_a_result_get_a_sentence(flow: Flow) -> None:
    for arguments, message in (
        ({"metric": "entropy"}, "no metric"), ({"stage": "end"}, "no stage"), ({"groups": ["a"]}, "labels for"),
        ({"groups": "letters"}, "no grouping"), ({"hidden": ["nowhere"]}, "no source"), ({"hidden": [99]}, "no source"),
        ({"hidden": range(len(flow.source_labels))}, "Every source is hidden"),
    ):  # fmt: skip
        with pytest.raises(BadPrompt, match=message):
            flow.shares(**arguments)


@pytest.mark.parametrize("text", ["日本語です", "مرحبا بك", "👩‍👩‍👧 ok", "a\n\nb\tc", "<b>bold</b> & *x*", "é" * 8, "\u0000x"])
def test_any_script_can_be_decomposed(text: str) -> None:
    flow = decompose(tiny.model(), text)
    assert flow.max_error < 1e-5
    assert "".join(flow.tokens) == "<s>" + text
    words = flow.grouped("words")
    assert len(words.source_labels) <= len(flow.source_labels)
    assert all(label.strip() for label in words.source_labels)


def test_threads_share_a_model_and_get_the_right_answers() -> None:
    import threading

    model = tiny.model()
    prompts = ["abc", "hello", "to be or"]
    expected = {p: decompose(model, p).gram for p in prompts}
    wrong: list[object] = []

    def work(prompt: str) -> None:
        try:
            for _ in range(3):
                np.testing.assert_array_equal(decompose(model, prompt).gram, expected[prompt])
        except BaseException as error:  # noqa: BLE001  reported by the assertion below
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(p,)) for p in prompts * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_what_a_source_alone_says_is_what_its_part_raises_most(name: str) -> None:
    model = tiny.model(name)
    flow = decompose(model, PROMPT, top_k=257)
    centred = flow.source_logits - flow.source_logits.mean(1, keepdims=True)
    for source, said in enumerate(flow.alone):
        order = np.argsort(-centred[source], kind="stable")[:5]
        assert [s.id for s in said] == [flow.targets[i].id for i in order]
        np.testing.assert_allclose([s.logit for s in said], centred[source, order], atol=1e-4)
    whole = decompose(model, PROMPT, sources=["all"] * len(flow.tokens))
    if name == "llama":  # no biases: one source is all there is
        assert [s.id for s in whole.alone[0]] == [t.id for t in whole.top[:5]]
    words = flow.grouped("words")
    single = [i for i in range(len(words.source_labels)) if (words.source_of == i).sum() <= 1]
    assert len(words.alone) == len(words.source_labels) and [bool(a) for a in words.alone].count(True) == len(single)
