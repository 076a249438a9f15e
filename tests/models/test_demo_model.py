"""The shipped weights do what the model card says: the exam of demo_skills.py."""

import itertools
import random
import re
from pathlib import Path

import pytest

import infoflow
from infoflow.models.catalog import DEMO

import demo_corpus as corpus
import demo_skills as skills
import demo_words as words

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reached(demo: infoflow.Model, request: pytest.FixtureRequest) -> dict[str, float]:
    """The accuracy table, printed as well."""
    result = skills.exam(demo._hf, demo.tokenizer, n=200)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n| skill | required | reached |\n|---|---|---|")
        for skill, value in result.items():
            print(f"| {skill} | {skills.REQUIRED[skill]:.0%} | {value:.1%} |")
    return result


@pytest.mark.parametrize("skill", sorted(skills.REQUIRED))
def test_skill_is_reached(skill: str, reached: dict[str, float]) -> None:
    assert reached[skill] >= skills.REQUIRED[skill]


@pytest.mark.parametrize("prompt", sorted(skills.TEN_PROMPTS))
def test_the_ten_prompts_complete_as_a_speaker_would(prompt: str, demo: infoflow.Model) -> None:
    completion = skills.continuation(demo._hf, demo.tokenizer, prompt, 12)
    expected = skills.TEN_PROMPTS[prompt]
    if expected is not None:
        assert completion.startswith(expected)
    else:  # a noun phrase with its noun in it
        assert any(word in words.NOUNS for word in re.findall(r"[a-z]+", completion.split(".")[0]))


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_story_goes_on_in_whole_sentences_of_known_words(seed: int | None, demo: infoflow.Model) -> None:
    text = skills.STORY + skills.continuation(demo._hf, demo.tokenizer, skills.STORY, 160, seed)
    assert text.rstrip().endswith((".", "!", "?", '"')), text
    assert text.count('"') % 2 == 0, text
    assert len(re.findall(r"[.!?]", text)) >= 4, text
    vocabulary = {w.lower() for marked in _corpus() for w in re.findall(r"[A-Za-z]+", corpus.spans(marked)[0])}
    unknown = {w for w in re.findall(r"[A-Za-z]+", text) if w.lower() not in vocabulary}
    assert not unknown, unknown


def _corpus() -> list[str]:
    rng = random.Random(0)
    return [corpus.story(rng) for _ in range(3000)]


def test_held_out_combinations_are_not_in_the_training_corpus() -> None:
    years = 0
    for marked in itertools.islice(corpus.documents(3), 20_000):
        text = corpus.spans(marked)[0]
        assert "swordfish" not in text.lower()
        found = re.search(r"The (\w+) lasted from the year (\d\d)(\d\d) to", text)
        if found:
            years += 1
            assert not corpus.held_out("year", found[1], str(int(found[2])), str(int(found[3])), one_in=6)
    assert years > 100


def test_chat_template_asks_answers_and_follows_a_correction(demo: infoflow.Model) -> None:
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    for reply, correction in (("Paris", "No, the answer is Rome. What is the capital of France?"), ("Rome", None)):
        text = demo.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids = demo.tokenizer(text, add_special_tokens=False, return_tensors="pt")
        out = demo._hf.generate(**ids, max_new_tokens=6, do_sample=False, pad_token_id=1)
        said = demo.tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
        assert said == reply
        if correction:
            turns += [{"role": "assistant", "content": said}, {"role": "user", "content": correction}]


def test_it_is_a_small_llama_with_the_shape_the_card_says(demo: infoflow.Model) -> None:
    config = demo._hf.config
    assert config.model_type == "llama" and config.tie_word_embeddings
    assert config.num_key_value_heads < config.num_attention_heads
    assert 4e6 < demo._hf.num_parameters() < 6e6
    assert sum(f.stat().st_size for f in Path(DEMO).glob("*.safetensors")) <= 12e6
    digits = [t for t in demo.tokenizer.convert_ids_to_tokens(demo.tokenizer("1732")["input_ids"])][1:]
    assert digits == ["17", "32"]


def test_at_least_three_thousand_words() -> None:
    facts = {w for text in (*words.CAPITALS, *words.CAPITALS.values(), *words.LANGUAGES.values()) for w in text.split()}
    sayings = {w for pair in words.SAYINGS for w in re.findall(r"[A-Za-z]+", " ".join(pair))}
    assert len({w.lower() for w in (*words.EVERY_WORD, *words.NAMES, *facts, *sayings)}) >= 3000
