"""What was written is what is read: greedy text whatever a checkpoint's own settings say, position factors that change with
length, ends that only the tokenizer knows, models that think first."""

from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses.generation import GenerationRequest, Stopped
from infoflow.errors import BadPrompt
from infoflow.models import decoding
from infoflow.studies import corrections
from infoflow.tables import generation as tables
from infoflow.text.conversations import Form
from tests.helpers import made, tiny

PROMPT = "When Mary"
SETTINGS: dict[str, Any] = {
    "suppress_tokens": [35, 67, 70, 257], "begin_suppress_tokens": [35, 67, 70], "forced_bos_token_id": 9,
    "forced_eos_token_id": 8,
    "min_length": 60, "min_new_tokens": 60, "bad_words_ids": [[35], [67], [70]], "sequence_bias": [[[67], -50.0]],
    "guidance_scale": 3.0, "exponential_decay_length_penalty": [1, 3.0], "repetition_penalty": 4.0, "no_repeat_ngram_size": 1,
    "encoder_no_repeat_ngram_size": 1, "encoder_repetition_penalty": 3.0, "typical_p": 0.2, "min_p": 0.9, "epsilon_cutoff": 0.5,
    "eta_cutoff": 0.5, "top_k": 1, "top_h": 0.1, "temperature": 7.0, "do_sample": True, "num_beams": 3, "num_beam_groups": 1,
    "num_return_sequences": 2, "penalty_alpha": 0.6, "max_time": 1e-9, "stop_strings": ["a", "e", "n"], "max_length": 12,
    "renormalize_logits": True, "remove_invalid_values": True, "watermarking_config": {"bias": 9.0},
    "prompt_lookup_num_tokens": 3,
    "constraints": None, "force_words_ids": [[67]], "diversity_penalty": 0.5, "return_dict_in_generate": True,
    "output_scores": True, "cache_implementation": "static", "assistant_early_exit": 1, "token_healing": True,
}  # fmt: skip
"""of a checkpoint's generation_config, each as it would bend, end or break a text"""


@pytest.fixture(scope="module")
def plain() -> tuple["infoflow.Generation", "infoflow.Generation"]:
    model = tiny.model("llama")
    return infoflow.generate(model, PROMPT, 6), infoflow.generate(model, PROMPT, 6, temperature=1.3, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_checkpoints_settings_change_neither_greedy_nor_sampled_text(name: str, plain: Any) -> None:
    hf = tiny.hf_model("llama")
    setattr(hf.generation_config, name, SETTINGS[name])
    model = infoflow.wrap_model(hf, tiny.tokenizer(), name="tiny-llama")
    greedy, sampled = infoflow.generate(model, PROMPT, 6), infoflow.generate(model, PROMPT, 6, temperature=1.3, seed=5)
    assert greedy.output_ids == plain[0].output_ids and (greedy.rank == 0).all()
    assert sampled.output_ids == plain[1].output_ids
    assert (greedy.stopped, sampled.stopped) == (plain[0].stopped, plain[1].stopped)
    assert getattr(hf.generation_config, name) == SETTINGS[name]  # the caller's model is as it was


def test_what_a_service_is_sent_names_every_setting_that_bends() -> None:
    sent = decoding.options(5, 0, {3, 2}, anew=True)
    assert sent["eos_token_id"] == [2, 3] and sent["use_cache"] is False
    from transformers import GenerationConfig

    bending = [
        "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "min_length", "min_new_tokens",
        "bad_words_ids", "sequence_bias", "guidance_scale", "exponential_decay_length_penalty", "repetition_penalty",
        "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "typical_p", "min_p", "epsilon_cutoff", "eta_cutoff", "num_beams",
        "max_time", "stop_strings", "do_sample", "encoder_repetition_penalty",
        "watermarking_config", "num_return_sequences", "renormalize_logits",
    ]  # fmt: skip
    its_own = GenerationConfig(**{name: SETTINGS[name] for name in bending})
    its_own.update(**sent)  # as transformers puts the two together: what is given goes first
    neutral = (None, 0, 0.0, 1, 1.0, False)
    assert all(getattr(its_own, name) in neutral for name in bending), [n for n in bending if getattr(its_own, n) not in neutral]


def test_an_end_that_only_the_tokenizer_knows_ends_a_text() -> None:
    hf = tiny.hf_model("llama")
    hf.generation_config.eos_token_id = None
    first = infoflow.generate(infoflow.wrap_model(hf, tiny.tokenizer()), PROMPT, 3)
    assert first.stopped == Stopped.LENGTH
    tokenizer = tiny.tokenizer()
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(first.output_ids[1])
    gen = infoflow.generate(infoflow.wrap_model(hf, tokenizer), PROMPT, 6)
    assert gen.output_ids == first.output_ids[:2] and gen.stopped == Stopped.END
    exactly = infoflow.generate(infoflow.wrap_model(hf, tokenizer), PROMPT, 2)
    assert exactly.stopped == Stopped.END  # at the length and at an end


def test_a_service_that_ends_it_otherwise_is_told() -> None:
    gen = made.generation([[0.5, 0.3, 0.2]], 3, stopped=Stopped.SERVICE)
    assert "service ended the text after 1 tokens" in " ".join(tables.said(gen))


# ------------------------------------------------------------------ positions that are scaled by the length

LONG = {
    "rope_type": "longrope", "rope_theta": 100.0, "original_max_position_embeddings": 12,
    "short_factor": [1.0, 1.0, 1.0, 1.0], "long_factor": [9.0, 7.0, 5.0, 3.0],
}  # fmt: skip


def scaled(**more: Any) -> "infoflow.Model":
    hf = tiny.hf_model("phi3", max_position_embeddings=256, **more)
    half = hf.config.hidden_size // hf.config.num_attention_heads // 2
    rope = {**LONG, "short_factor": [1.0] * half, "long_factor": [9.0, 7.0, 5.0, 3.0, 2.0, 2.0, 2.0, 2.0][:half]}
    return infoflow.wrap_model(
        tiny.hf_model("phi3", max_position_embeddings=256, rope_parameters=rope, original_max_position_embeddings=12, **more),
        tiny.tokenizer(),
    )


@pytest.mark.parametrize("n_prompt", [6, 12, 13, 18])
def test_every_step_equals_a_run_on_its_prefix(n_prompt: int) -> None:
    model = scaled()
    gen = infoflow.generate(model, list(range(5, 5 + n_prompt)), 10)
    ids = [*gen.prompt_ids, *gen.output_ids]
    for step in range(gen.n_steps):
        seen = n_prompt + step
        with torch.no_grad():
            out = model._hf(torch.tensor([ids[:seen]]), output_attentions=True)
        logits = out.logits[0, -1]
        p = logits.softmax(-1)
        assert gen.output_ids[step] == int(logits.argmax()) and gen.rank[step] == 0
        assert gen.prob[step] == pytest.approx(float(p.max()), rel=1e-4)
        pattern = np.stack([a[0, :, -1].numpy() for a in out.attentions])
        np.testing.assert_allclose(gen.pattern[:, :, step, :seen], pattern, atol=1e-5)
        assert not gen.pattern[:, :, step, seen:].any() and not gen.by_source[step, seen:].any()
        alone = infoflow.attribute(model, ids[:seen], gen.output_ids[step])
        np.testing.assert_allclose(gen.by_source[step, :seen], alone.by_source, atol=5e-5)
    assert gen.max_error < 1e-4


def test_the_factors_do_change_a_step() -> None:
    """Else the test above could not fail: one pass over the whole gives other numbers before the switch."""
    model = scaled()
    gen = infoflow.generate(model, list(range(5, 11)), 10)
    with torch.no_grad():
        whole = model._hf(torch.tensor([[*gen.prompt_ids, *gen.output_ids]])).logits[0, 5].softmax(-1)
    assert abs(float(whole[gen.output_ids[0]]) - gen.prob[0]) > 1e-3


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [(3, 7)]),
        ({"rope_parameters": {"rope_type": "llama3"}}, [(3, 7)]),
        ({"rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 5}}, [(3, 5), (6, 7)]),
        ({"rope_scaling": {"type": "su"}, "original_max_position_embeddings": 3}, [(3, 3), (4, 7)]),
        ({"rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 9}}, [(3, 7)]),
        ({"rope_parameters": {"rope_type": "dynamic"}, "max_position_embeddings": 5}, [(3, 5), (6, 6), (7, 7)]),
        (
            {
                "rope_parameters": {
                    "full": {"rope_type": "longrope", "original_max_position_embeddings": 6},
                    "slid": {"rope_type": "x"},
                }
            },
            [(3, 6), (7, 7)],
        ),
    ],
)
def test_lengths_that_one_pass_stands_for(config: dict[str, Any], expected: list[tuple[int, int]]) -> None:
    from types import SimpleNamespace

    assert decoding.alike(SimpleNamespace(**config), range(3, 8)) == expected


# ------------------------------------------------------------------ thinking, and what a template adds

SWITCH = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant:"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}{% endif %}"
)


def with_template(template: str) -> "infoflow.Model":
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    return infoflow.wrap_model(tiny.hf_model("llama"), tokenizer)


@pytest.mark.parametrize("name", ["enable_thinking", "thinking"])
def test_the_templates_own_switch_is_used(name: str) -> None:
    model = with_template(SWITCH.replace("enable_thinking", name))
    text = "".join(t.text for t in model.encode(model.chat([("user", "a")])))
    assert text.endswith("assistant:<think></think>") and model.can_think
    open_ = "".join(t.text for t in model.encode(model.chat([("user", "a")], thinking=True)))
    assert open_.endswith("assistant:")
    gen = infoflow.generate(model, "a", 1, chat=True, thinking=True)
    assert gen.prompt_ids == model.chat([("user", "a")], thinking=True) and gen.provenance.ids == gen.prompt_ids
    assert not with_template("{% for m in messages %}{{ m['content'] }}{% endfor %}").can_think


def test_a_model_that_thinks_without_a_switch_is_told(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [t.id for t in demo.encode("<think> a b c")][1:]
    monkeypatch.setattr(demo, "generate", lambda *_: tuple(ids))
    gen = infoflow.generate(demo, "a", len(ids))
    assert gen.thinks and any("begins with thinking" in line for line in tables.said(gen))
    with pytest.raises(BadPrompt, match="begins with thinking .* no switch for that"):
        corrections.answer(demo, [("user", "What is the capital of France?")])


def test_a_template_that_begins_the_thinking_itself_is_told_too() -> None:
    model = with_template(
        "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<think>\n{% endif %}"
    )
    assert infoflow.generate(model, "a", 1, chat=True).thinks and not infoflow.generate(model, "a", 1).thinks
    with pytest.raises(BadPrompt, match="begins with thinking"):
        corrections.answer(model, [("user", "a")])


def test_what_a_template_made_is_kept_with_the_result_and_its_key() -> None:
    """A template may write today's date: another day is another text, though the same was typed."""
    model = with_template("day {{ day }}. {% for m in messages %}{{ m['content'] }}{% endfor %}")
    asked = GenerationRequest(prompt="a", form=Form.CHAT, max_new_tokens=1)
    keys, ids = set(), set()
    for day in ("one", "two"):
        model.tokenizer.chat_template = f"day {day}. {{% for m in messages %}}{{{{ m['content'] }}}}{{% endfor %}}"
        exactly = asked.exactly(model)
        keys.add(exactly.key)
        result = exactly.run(model)
        ids.add(result.provenance.ids)
        assert result.provenance.ids == result.prompt_ids == exactly.written and result.provenance.prompt == "a"
        again = corrections.CorrectionRequest(prompt=("a",), form=Form.CHAT).exactly(model)
        keys.add(again.key)
    assert len(keys) == 4 and len(ids) == 2
