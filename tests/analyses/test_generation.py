"""Continuations against plain transformers, their attention and attribution against slow twins, sampling against its formula."""

from collections import Counter

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses.generation import GenerationRequest
from infoflow.errors import BadPrompt, Cancelled, TooLarge
from infoflow.models import decoding
from tests.helpers import tiny

PROMPT = "When Mary"


def step_by_step(model: "infoflow.Model", ids: tuple[int, ...], n: int) -> tuple[list[int], list[np.ndarray], list[torch.Tensor]]:
    """Greedy decoding without a cache: the ids, the last row of every pattern, the logits."""
    written, rows, logits = list(ids), [], []
    for _ in range(n):
        with torch.no_grad():
            out = model._hf(torch.tensor([written]), output_attentions=True)
        rows.append(np.stack([a[0, :, -1].numpy() for a in out.attentions]))
        logits.append(out.logits[0, -1])
        written.append(int(logits[-1].argmax()))
    return written[len(ids) :], rows, logits


def test_what_is_written_and_read_is_what_the_model_does_step_by_step(family: "infoflow.Model") -> None:
    gen = infoflow.generate(family, PROMPT, 6)
    ids, rows, logits = step_by_step(family, gen.prompt_ids, 6)
    assert list(gen.output_ids) == ids and (gen.rank == 0).all() and gen.max_error < 1e-5
    for step, (row, of_step) in enumerate(zip(rows, logits, strict=True)):
        seen = gen.n_prompt + step
        np.testing.assert_allclose(gen.pattern[:, :, step, :seen], row, atol=1e-5)
        assert np.all(gen.pattern[:, :, step, seen:] == 0)
        p = of_step.softmax(-1)
        np.testing.assert_allclose(gen.probs[step], p.topk(5).values, atol=1e-5)
        np.testing.assert_allclose(gen.prob[step], p.max(), atol=1e-5)
        assert gen.logits[step, 0] == pytest.approx(float(of_step.max()), rel=1e-4)


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2", "gemma2", "phi"])
def test_each_step_is_attributed_as_a_prompt_of_its_own_would_be(name: str) -> None:
    model = tiny.model(name)
    gen = infoflow.generate(model, PROMPT, 4)
    whole = [*gen.prompt_ids, *gen.output_ids]
    for step in range(4):
        seen = gen.n_prompt + step
        alone = infoflow.attribute(model, whole[:seen], gen.output_ids[step])
        np.testing.assert_allclose(gen.by_source[step, :seen], alone.by_source, atol=2e-5)
        assert np.all(gen.by_source[step, seen:] == 0) and gen.bias[step] == pytest.approx(alone.bias, abs=1e-4)
        assert gen.by_source[step].sum() + gen.bias[step] == pytest.approx(float(gen.total[step]), rel=1e-4, abs=1e-4)


def test_gradients_are_the_same_in_small_pieces(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    whole = infoflow.generate(demo, "The sky is", 5).by_source
    monkeypatch.setattr("infoflow.models.memory.chunk", lambda *_: 1)
    np.testing.assert_allclose(infoflow.generate(demo, "The sky is", 5).by_source, whole, atol=1e-5)


def test_half_precision_is_read_in_full() -> None:
    hf = tiny.hf_model("llama").to(torch.bfloat16)
    gen = infoflow.generate(infoflow.wrap_model(hf, tiny.tokenizer()), PROMPT, 3)
    assert gen.max_error < 2e-2 and gen.provenance.dtype == "bfloat16"


def test_a_text_ends_where_the_model_ends_it(demo: "infoflow.Model") -> None:
    gen = infoflow.generate(demo, "What is the capital of France?", chat=True)
    assert (gen.text, gen.stopped, gen.n_steps) == (" Paris", "end", 2)
    assert gen.labels[:2] == ("⟨bos⟩", "⟨user⟩") and gen.prompt_ids == demo.chat([("user", "What is the capital of France?")])
    assert infoflow.generate(demo, "The capital of France is", 3).stopped == "length"
    at_once = infoflow.generate(demo, [*gen.prompt_ids, gen.output_ids[0]], 5)
    assert at_once.n_steps == 1 and at_once.stopped == "end"


@pytest.mark.slow
def test_sampling_can_be_repeated_and_is_what_its_formula_says(demo: "infoflow.Model") -> None:
    prompt = "The old wizard walked through the forest"
    texts = [infoflow.generate(demo, prompt, 12, temperature=1.0, top_p=0.95, seed=seed).text for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]
    made = infoflow.generate(demo, prompt, 1, temperature=1.0, seed=3, chat=True).provenance
    assert made.how == "sampled at temperature 1, top-p 1, seed 3, in the chat template" and made.prompt == prompt
    scores = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    sampler = decoding.Sampler(0.5, 1.0, seed=3)
    drawn = Counter(int(sampler(scores, scores).argmax()) for _ in range(20_000))
    np.testing.assert_allclose([drawn[i] / 20_000 for i in range(4)], (scores / 0.5).softmax(-1)[0], atol=0.01)
    narrow = decoding.Sampler(1.0, 0.5, seed=0)
    assert {int(narrow(scores, scores).argmax()) for _ in range(200)} == {0}
    torch.manual_seed(0)
    many = torch.randn(6, 50) * 3
    for top_p in (0.1, 0.5, 0.9, 0.99):
        for row, kept in zip(many.softmax(-1).tolist(), decoding.within(many, top_p).isfinite().tolist(), strict=True):
            likeliest, reached = sorted(range(50), key=lambda i: -row[i]), 0.0
            while reached < top_p:  # the fewest that reach it together
                first = likeliest.pop(0)
                assert kept[first]
                reached += row[first]
            assert not any(kept[i] for i in likeliest)


def test_settings_of_the_model_itself_do_not_bend_its_scores() -> None:
    hf = tiny.hf_model("gemma")
    plain = infoflow.generate(infoflow.wrap_model(hf, tiny.tokenizer()), PROMPT, 8)
    assert len(set(plain.output_ids)) < 8  # it repeats itself, so that a penalty would show
    hf.generation_config.repetition_penalty, hf.generation_config.do_sample = 3.0, True
    hf.generation_config.temperature, hf.generation_config.no_repeat_ngram_size = 5.0, 1
    assert infoflow.generate(infoflow.wrap_model(hf, tiny.tokenizer()), PROMPT, 8).output_ids == plain.output_ids


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"max_new_tokens": 0}, "0 new tokens were asked for"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"top_p": 0.0}, "top-p is 0"),
        ({"prompt": "  "}, "prompt is empty"),
        ({"prompt": " ", "chat": True}, "prompt is empty"),
        ({"prompt": [1, 2], "chat": True}, "token ids run as they are"),
        ({"k": 0}, "k is 0"),
        ({"contrast": "The"}, "are held against each other position by position"),
        ({"contrast": [1]}, "are held against each other position by position"),
        ({"contrast": []}, "A contrast is"),
        ({"output": [1, 10**9]}, "1000000000"),
    ],
)
def test_what_can_not_be_done_is_said(asked: dict[str, object], message: str, demo: "infoflow.Model") -> None:
    with pytest.raises(BadPrompt, match=message):
        infoflow.generate(demo, **{"prompt": "The sky", **asked})  # type: ignore[arg-type]


def test_a_model_without_a_chat_template_says_so() -> None:
    with pytest.raises(BadPrompt, match="no chat template"):
        infoflow.generate(tiny.model(), "Hello", chat=True)


def test_what_is_too_long_is_refused_with_numbers(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model()
    with pytest.raises(TooLarge, match="has 241 tokens and 20 are to come; this model reads at most 256"):
        infoflow.generate(model, "x" * 240)
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    with pytest.raises(TooLarge, match="Writing 20 tokens after .* needs about"):
        infoflow.generate(demo, "word " * 200)


def test_tokens_are_told_as_they_come_and_the_run_can_be_stopped(demo: "infoflow.Model") -> None:
    told: list[str] = []
    steps: list[tuple[int, int]] = []
    gen = infoflow.generate(demo, "The sky is", 4, on_token=told.append, on_progress=lambda a, b: steps.append((a, b)))
    assert len(told) == 4 and told[-1] == gen.text and all(b.startswith(a) for a, b in zip(told, told[1:], strict=False))
    assert steps[:6] == [(layer, 12) for layer in range(1, 7)] and steps[-1] == (12, 12)  # forward, then backward

    def stop(text: str) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        infoflow.generate(demo, "The sky is", 4, on_token=stop)
    assert infoflow.generate(demo, "The sky is", 4).text == gen.text


def test_the_table_has_every_step_and_source(demo: "infoflow.Model") -> None:
    gen = infoflow.generate(demo, "The sky is", 3)
    frame = gen.to_frame()
    assert len(frame) == sum(gen.n_prompt + step for step in range(3))
    assert set(frame[frame["of"] == "output"]["step"]) == {1, 2}
    np.testing.assert_allclose(frame.groupby("step")["attention"].sum(), 1, atol=1e-5)
    np.testing.assert_allclose(frame.groupby("step")["logit"].sum(), gen.total, rtol=1e-4)


def test_only_what_is_made_for_talk_is_taken_for_it(demo: "infoflow.Model") -> None:
    assert demo.has_chat_template and not demo.is_instruct
    assert not tiny.model().is_instruct
    named = infoflow.wrap_model(demo._hf, demo.tokenizer, name="someone/Llama-3.2-1B-Instruct")
    assert named.is_instruct
    with pytest.raises(BadPrompt, match="turn of the conversation is empty"):
        demo.chat([("user", " ")])


def test_through_is_the_prompts_share_of_every_step(demo: infoflow.Model) -> None:
    gen = infoflow.generate(demo, "The old wizard walked", 6)
    found = gen.through()
    assert found.prompt.shape == (6, gen.n_prompt)
    np.testing.assert_allclose(found.prompt.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(found.direct[0], found.prompt[0])  # nothing was written before the first
    assert not gen.through([0]).prompt[:, 0].any()
    raising = np.clip(gen.by_source[3], 0, None)
    np.testing.assert_allclose(found.written[3, :3], raising[gen.n_prompt : gen.n_prompt + 3] / raising.sum(), rtol=1e-5)


@pytest.mark.slow
def test_a_two_step_answer_is_traced_through_what_was_written(smol: infoflow.Model) -> None:
    """Directly the second `Lima` of an answer rests most on the one written before; through it, on the prompt's."""
    prompt = "My cat is called Lima. Repeat its name twice: Lima"
    gen = infoflow.generate(smol, prompt, 8)
    found = gen.through([0])
    step = int(np.argmax(found.written.sum(1)))
    assert found.written[step].max() > found.direct[step].max()  # on one hop a written token is named
    best = gen.labels[int(found.prompt[step].argmax())]
    assert best in prompt and found.prompt[step].max() > found.direct[step].max()


def test_tokens_are_told_as_they_come_and_the_prompt_is_none_of_them() -> None:
    heard: list[int] = []
    told = decoding.streamer(heard.append)
    for value in ([[5, 6, 7]], [8], [9]):
        told.put(torch.tensor(value))
    told.end()
    assert heard == [8, 9]


def test_a_run_is_of_what_was_asked_and_what_is_to_come() -> None:
    of = GenerationRequest(prompt="abcd", max_new_tokens=3).estimate(tiny.model("llama"))
    n = len(tiny.model("llama").encode("abcd")) + 3
    assert (of.n_tokens, of.n_sources) == (n, n)
