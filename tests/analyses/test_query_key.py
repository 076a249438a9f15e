"""Why a head looked there: parts sum to the model's score, its softmax is the pattern, a slow twin, and a case on paper."""

from dataclasses import replace
from math import cos, sin, sqrt
from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses.query_key import POSITION
from infoflow.errors import BadPrompt, TooLarge, UnsupportedModel
from infoflow.interventions import Block, Replace, Scale, Steer, Zero
from infoflow.text.tokens import BIAS
from infoflow.traced import query_key as traced
from tests.helpers import tiny
from tests.helpers.frozen_network import FrozenNetwork

PROMPT = "When Mary and John"
LAYER, HEAD, QUERY, KEY, OTHER = 2, 3, 15, 12, 13
"""within every window"""

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"attention_bias": True}),
    ("cohere", {"use_qk_norm": True, "attention_bias": True}),
    ("phi", {"qk_layernorm": True}),
    ("olmo2", {"attention_bias": True}),
    ("gemma", {"num_key_value_heads": 1}),
    ("llama", {"num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 48}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    ("phi3", {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default", "partial_rotary_factor": 0.5}}),
    ("smollm3", {"no_rope_layers": [1, 1, 0]}),
    ("gptj", {"rotary_dim": 12}),
]
"""what a family may do beside what its helper does"""


def capped(found: infoflow.QueryKey) -> np.ndarray:
    return found.softcap * np.tanh(found.scores / found.softcap) if found.softcap else found.scores


def pattern_of(found: infoflow.QueryKey, sink: float | None = None) -> np.ndarray:
    """softmax over keys, with what is no token's among them."""
    scores = np.append(capped(found), [] if sink is None else [sink])
    weights = np.exp(scores - scores.max())
    return (weights / weights.sum())[: len(found.scores)]


def assert_whole(found: infoflow.QueryKey) -> None:
    assert found.max_error < 1e-5
    whole = found.parts.sum() + found.by_position
    assert whole == pytest.approx(found.score, rel=1e-5, abs=1e-5)
    assert whole == pytest.approx(found.to_frame()["part"].sum(), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("sources", ["tokens", "words"])
def test_parts_sum_to_the_score_and_its_softmax_is_the_models_own_pattern(family: infoflow.Model, sources: str) -> None:
    plain = family._hf(torch.tensor([[t.id for t in family.encode(PROMPT)]]), output_attentions=True).attentions
    for layer, head, query, key in ((0, 0, 18, 16), (1, 1, 9, 9), (LAYER, HEAD, QUERY, KEY), (2, 2, 14, 11), (2, 1, 0, 0)):
        found = infoflow.query_key(family, PROMPT, layer, head, query, key, sources=sources)
        assert_whole(found)
        attention = family._hf.get_submodule(family.architecture.layers)[layer].get_submodule(family.architecture.attention)
        sink = float(attention.sinks[head].detach()) if hasattr(attention, "sinks") else None
        own = plain[layer][0, head, query].detach().numpy()
        np.testing.assert_allclose(pattern_of(found, sink), own, atol=2e-6)
        np.testing.assert_allclose(found.weights, own, atol=2e-6)
        assert found.weight == found.weights[key] and found.scores[key] == found.score
        assert (found.source_labels[-1] == BIAS) == (family.name.removeprefix("tiny-").split(",")[0] in tiny.BIASED)
        assert (found.by_position != 0) == (family.family == "bloom" and key > 0)


@pytest.mark.parametrize(("name", "more"), VARIANTS, ids=lambda v: str(v))
def test_what_a_family_may_do_besides_is_split_too(name: str, more: dict[str, Any]) -> None:
    model = tiny.model(name, **more)
    for layer in range(3):
        found = infoflow.query_key(model, PROMPT, layer, model.plan().n_heads - 1, QUERY, KEY)
        assert_whole(found)
        np.testing.assert_allclose(pattern_of(found), found.weights, atol=2e-6)


class Twin:
    """The same parts by another road: transformers' own network with norms (those of queries and keys too), patterns and gates
    replayed is run on one source at a time; attention is then given one source's row at the query's position and another's at
    the key's, and what the softmax is given says their part, as a difference of four such runs."""

    def __init__(self, model: infoflow.Model) -> None:
        self.ids = [t.id for t in model.encode(PROMPT)]
        self.network = FrozenNetwork(model._hf, model.architecture, self.ids)
        self.attention = self.network.layers[LAYER].get_submodule(model.architecture.attention)
        self.cap = float(getattr(model._hf.config, "attn_logit_softcapping", None) or 0.0) * (model.family == "gemma2")
        self.nothing = torch.zeros_like(self.network.embeddings)
        self.bias = self._read(self.nothing)

    def _read(self, embeddings: torch.Tensor) -> torch.Tensor:
        """What the attention of the layer reads, [position, d]."""
        read: list[torch.Tensor] = []

        def look(module: Any, args: tuple, named: dict[str, Any]) -> None:
            read.append((named["hidden_states"] if "hidden_states" in named else args[0])[0].clone())

        hook = self.attention.register_forward_pre_hook(look, with_kwargs=True)
        self.network.post(embeddings)
        hook.remove()
        return read[0]

    def source(self, which: int | str) -> torch.Tensor:
        """What it reads of one token, or of the biases."""
        if which == BIAS:
            return self.bias
        alone = self.nothing.clone()
        alone[which] = self.network.embeddings[which]
        return self._read(alone) - self.bias

    def score(self, query: torch.Tensor, key: torch.Tensor) -> float:
        """What the softmax is given where attention reads these at the two positions."""

        def give(module: Any, args: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            x = (named["hidden_states"] if "hidden_states" in named else args[0]).clone()
            x[0, QUERY], x[0, KEY] = query[QUERY], key[KEY]
            return ((), {**named, "hidden_states": x}) if "hidden_states" in named else ((x, *args[1:]), named)

        hook = self.attention.register_forward_pre_hook(give, with_kwargs=True)
        self.network.post(self.nothing)
        hook.remove()
        row = self.network.compared[LAYER][0, HEAD, QUERY].double()
        if hasattr(self.attention, "sinks"):  # given less the row's largest
            return float(row[KEY] - row[-1] + self.attention.sinks[HEAD].detach())
        return float(self.cap * torch.atanh(row[KEY] / self.cap) if self.cap else row[KEY])

    def part(self, query: int | str, key: int | str) -> float:
        """Differences leave what the projections and norms add to nothing to the biases; what a position adds goes with it."""
        a, b, none = self.source(query), self.source(key), self.nothing
        whole = self.score(a, b)
        if query == BIAS and key == BIAS:
            return whole
        if query == BIAS:
            return whole - self.score(a, none)
        if key == BIAS:
            return whole - self.score(none, b)
        return whole - self.score(a, none) - self.score(none, b) + self.score(none, none)


@pytest.mark.slow
def test_a_replayed_network_run_on_one_source_at_a_time_gives_the_same_parts(family: infoflow.Model) -> None:
    found = infoflow.query_key(family, PROMPT, LAYER, HEAD, QUERY, KEY)
    twin, scale = Twin(family), max(1.0, float(np.abs(found.parts).max()))
    pairs: list[tuple[int | str, int | str]] = [(QUERY, KEY), (3, 7), (0, 0), (KEY, 5)]
    if BIAS in found.source_labels:
        pairs += [(BIAS, KEY), (QUERY, BIAS), (BIAS, BIAS)]
    for query, key in pairs:
        s, t = (-1 if which == BIAS else int(which) for which in (query, key))
        expected = twin.part(query, key) - (found.by_position if (query, key) == (BIAS, BIAS) else 0.0)
        assert found.parts[s, t] == pytest.approx(expected, abs=2e-5 * scale), (query, key)


def test_a_score_on_paper() -> None:
    """After one layer the stream is 2 (1, 1) at the first position and (1, -1) + the mean of (1, 1) and (1, -1) at the second: of
    the first token (1/2, 1/2), of the second (3/2, -3/2). Queries and keys of the second layer are the normed stream itself: over
    2 at the first position, over sqrt(5/2) at the second, turned there by one radian."""
    model = tiny.on_paper(n_layers=2)
    with torch.no_grad():
        for layer in model._hf.model.layers:
            layer.mlp.down_proj.weight.zero_()
        for projection in (model._hf.model.layers[1].self_attn.q_proj, model._hf.model.layers[1].self_attn.k_proj):
            projection.weight.copy_(torch.eye(2))
    found = infoflow.query_key(model, [1, 2], 1, 0, 1, 0)
    np.testing.assert_allclose(found.parts, np.array([[cos(1), 0], [3 * sin(1), 0]]) / sqrt(5), atol=1e-6)
    assert found.score == pytest.approx((cos(1) + 3 * sin(1)) / sqrt(5), abs=1e-6)
    itself = 5 / 2 / (5 / 2) * 2 / sqrt(2)  # |x|^2 is 5, over 5/2
    assert found.scores[1] == pytest.approx(itself, abs=1e-6)
    assert found.weight == pytest.approx(1 / (1 + np.exp(itself - found.score)), abs=1e-6)
    assert list(found.by_query()["part"]) == pytest.approx([cos(1) / sqrt(5), 3 * sin(1) / sqrt(5)], abs=1e-6)
    assert list(found.by_key()["part"]) == pytest.approx([found.score, 0], abs=1e-6)
    assert found.top(1)["part"].item() == pytest.approx(3 * sin(1) / sqrt(5), abs=1e-6) and list(found.top(2).index) == [0, 1]
    assert found.to_frame().columns.tolist() == ["query_source", "key_source", "part"] and len(found.to_frame()) == 4


def test_held_against_another_key_a_score_is_the_logarithm_of_the_ratio_of_weights(family: infoflow.Model) -> None:
    one, other = (infoflow.query_key(family, PROMPT, LAYER, HEAD, QUERY, key) for key in (KEY, OTHER))
    both = infoflow.query_key(family, PROMPT, LAYER, HEAD, QUERY, KEY, against=OTHER)
    assert_whole(both)
    np.testing.assert_allclose(both.parts, one.parts - other.parts, atol=1e-9)
    assert both.score == pytest.approx(one.score - other.score) and both.by_position == one.by_position - other.by_position
    logarithm = np.log(both.weights[KEY] / both.weights[OTHER])
    assert capped(both)[KEY] - capped(both)[OTHER] == pytest.approx(logarithm, abs=1e-4)
    assert bool(both.softcap) == (family.family == "gemma2") and ("soft cap" in both.note) == bool(both.softcap)


def test_what_a_position_adds_by_itself_is_a_part_of_its_own() -> None:
    """Bloom's: the slope of the head times the key's position."""
    model = tiny.model("bloom")
    found = infoflow.query_key(model, PROMPT, 1, 0, QUERY, KEY)
    assert found.by_position == pytest.approx(2 ** (-8 / 4) * KEY)
    assert found.to_frame().iloc[-1].tolist() == [POSITION, POSITION, found.by_position]


def test_grouped_sources_are_sums_of_tokens(family: infoflow.Model) -> None:
    n = len(family.encode(PROMPT))
    labels = ["odd" if p % 2 else "even" for p in range(n)]
    by_token = infoflow.query_key(family, PROMPT, LAYER, HEAD, QUERY, KEY)
    grouped = infoflow.query_key(family, PROMPT, LAYER, HEAD, QUERY, KEY, sources=labels)
    whole = by_token.parts[:n, :n]
    expected = [[whole[a::2, b::2].sum() for b in (0, 1)] for a in (0, 1)]
    np.testing.assert_allclose(grouped.parts[:2, :2], expected, atol=1e-4)


def test_a_changed_run_is_split_as_it_was_changed() -> None:
    stack = [
        Zero("z", 0, None, 1), Block(3, QUERY), Scale("mlp", 0.3), Replace("resid_post", PROMPT[::-1], 1, -1),
        Steer("resid_pre", ("It", "a"), 2.0, LAYER), Scale("attn", 2.0, 1), Replace("embed", PROMPT[::-1], None, 4),
    ]  # fmt: skip
    for name in ("llama", "phi", "gemma3_text", "bloom"):
        model = tiny.model(name)
        found = infoflow.query_key(model, PROMPT, LAYER, HEAD, QUERY, KEY, interventions=stack)
        assert_whole(found)
        np.testing.assert_allclose(pattern_of(found), found.weights, atol=2e-6)
        put_in = [label for label in found.source_labels if label.startswith("[")]
        assert len(put_in) == 3 and np.abs(found.parts[[found.source_labels.index(label) for label in put_in]]).sum() > 0.01
        own = infoflow.attention(model, PROMPT, interventions=stack).pattern[LAYER, HEAD, QUERY]
        np.testing.assert_allclose(found.weights, own, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((3, 0, 5, 2), "no head 3.0: the model has 3 layers of 4 heads"),
        ((0, 4, 5, 2), "no head 0.4"),
        ((-1, 0, 5, 2), "no head -1.0"),
        ((0, 0, 19, 2), "no position 19; the prompt has 19 tokens"),
        ((0, 0, 5, -20), "no position -20"),
        ((0, 0, 5, 6), "Position 5 can't look at position 6, which comes after it"),
        ((0, 0, -2, -1), "Position 17 can't look at position 18"),
        ((0, 0, 9, 4), r"can't look from position 9 at position 4: it is further back"),
    ],
)
def test_what_can_not_be_asked_is_told(arguments: tuple[int, int, int, int], said: str) -> None:
    with pytest.raises(BadPrompt, match=said):
        infoflow.query_key(tiny.model("mistral"), PROMPT, *arguments)


def test_other_keys_groups_and_blocks_that_do_not_fit_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("llama")
    with pytest.raises(BadPrompt, match="held against itself"):
        infoflow.query_key(model, PROMPT, 0, 0, 5, 2, against=2)
    with pytest.raises(BadPrompt, match="comes after it"):
        infoflow.query_key(model, PROMPT, 0, 0, 5, 2, against=7)
    with pytest.raises(BadPrompt, match="an intervention blocks it"):
        infoflow.query_key(model, PROMPT, 0, 1, 5, 2, interventions=[Block(2, 5, heads=1)])
    assert_whole(infoflow.query_key(model, PROMPT, 0, 2, 5, 2, interventions=[Block(2, 5, heads=1)]))
    with pytest.raises(BadPrompt):
        infoflow.query_key(model, "", 0, 0, 0, 0)
    with pytest.raises(BadPrompt, match="sideways"):
        infoflow.query_key(model, PROMPT, 0, 0, 5, 2, sources="sideways")
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", "4")
    with pytest.raises(TooLarge, match="the limit is 4"):
        infoflow.query_key(model, PROMPT, 0, 0, 5, 2)


def test_negative_positions_count_from_the_end_and_progress_is_by_layer() -> None:
    model, done = tiny.model("llama"), []
    found = infoflow.query_key(model, PROMPT, 1, 0, -1, -3, on_progress=lambda layer, of: done.append((layer, of)))
    assert (found.query, found.key) == (18, 16) and done == [(1, 2), (2, 2)]


def test_queries_and_keys_that_are_made_in_an_unknown_way_are_refused() -> None:
    """None is split by a rotation that is not the model's: one that scales each coordinate is told by its numbers."""
    with pytest.raises(UnsupportedModel, match="the call that compares them"):
        infoflow.query_key(tiny.model("gpt2", reorder_and_upcast_attn=True), PROMPT, 0, 0, 5, 2)
    model = tiny.model("qwen3")
    model._layout["row"] = replace(model.architecture, query_norm="", key_norm="")  # it has norms, of which nobody says
    with pytest.raises(UnsupportedModel, match="turned by position they miss the model's own by"):
        infoflow.query_key(model, PROMPT, 0, 0, 5, 2)


def test_half_precision_is_split_as_far_as_it_goes() -> None:
    model = infoflow.wrap_model(tiny.hf_model("llama").to(torch.bfloat16), tiny.tokenizer())
    found = infoflow.query_key(model, PROMPT, LAYER, HEAD, QUERY, KEY)
    assert found.provenance.dtype == "bfloat16" and found.max_error < 3e-2


@pytest.mark.parametrize("place", [QUERY, KEY])
def test_one_place_that_is_turned_otherwise_is_enough_to_refuse(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    turn_at = traced.turn_at
    monkeypatch.setattr(traced, "turn_at", lambda p, seen, plan: {**turn_at(p, seen, plan), "off": 0.5 if p == place else 0.0})
    with pytest.raises(UnsupportedModel, match="they miss the model's own by 5e-01"):
        infoflow.query_key(tiny.model("llama"), PROMPT, LAYER, HEAD, QUERY, KEY)
