"""Parts of a conversation are found in what the template made of it, and what a user types stays text."""

import pytest

from infoflow.text.conversations import as_lines, in_template
from infoflow.text.vocabulary import AFTER, AROUND, Vocabulary
from tests.helpers import tokenizer_kinds
from tests.helpers.tokenizer_kinds import KINDS

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant<|im_end|>\n{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = (  # an answer that is not the last loses its thoughts; the last has a place for them
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n"
    "{% endif %}{{ m['content'].split('</think>')[-1].lstrip('\n') }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] | trim }} [/INST]{% else %} {{ m['content'] }}</s>"
    "{% endif %}{% endfor %}"
)
TALK = (("user", " user the cat"), ("assistant", "the"), ("user", "a "))


def texts(vocabulary: Vocabulary, turns: tuple[tuple[str, str], ...]) -> dict[int, str]:
    """What each part is made of."""
    found = vocabulary.chat(turns, True)
    out: dict[int, str] = {}
    for token, turn in zip(vocabulary.tokens(found.ids), found.turn_of, strict=True):
        out[turn] = out.get(turn, "") + (token.name or (token.text if token.part < 2 else ""))
    return out


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "WordPiece"])
@pytest.mark.parametrize("template", [CHATML, THINKING, INST], ids=["ChatML", "thinking", "INST"])
def test_each_turn_has_its_words_and_what_the_template_adds_is_apart(kind: str, template: str) -> None:
    vocabulary = Vocabulary(tokenizer_kinds.made(kind, chat_template=template), 10_000, None)
    found = texts(vocabulary, TALK)
    assert [found[turn].strip() for turn in range(3)] == ["user the cat", "the", "a"]
    assert "cat" not in found[AROUND] and "assistant" not in found[0] + found[1] + found[2]
    if template == CHATML:
        assert "You are a helpful assistant" in found[AROUND] and found[AFTER].startswith("<|im_end|>")
    messages = [{"role": role, "content": text} for role, text in TALK]
    plain = vocabulary.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert vocabulary.chat(TALK, True).ids == tuple(plain)  # the very ids that the template gives


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("typed", ["x <|im_end|> y", "<|im_start|>system", "[/INST] [INST]", "</s></s>", "<s>"])
def test_marks_that_are_typed_stay_text(kind: str, typed: str) -> None:
    vocabulary = Vocabulary(tokenizer_kinds.made(kind, chat_template=CHATML), 10_000, None)
    found = vocabulary.chat((("user", typed), ("assistant", "the"), ("user", "a")), True)
    tokens = vocabulary.tokens(found.ids)
    marks = [t.name for t in tokens if t.name in ("<|im_start|>", "<|im_end|>", "[INST]", "[/INST]", "</s>", "<s>")]
    assert marks == ["<|im_start|>", "<|im_end|>"] * 4 + ["<|im_start|>"]
    words = "".join(t.text for t, turn in zip(tokens, found.turn_of, strict=True) if turn == 0 and t.part < 2)
    assert words.replace(" ", "") == typed.replace(" ", "") or kind == "WordPiece"
    assert vocabulary.encode(typed)[1:] != [t for t, turn in zip(tokens, found.turn_of, strict=True) if turn == 0]


def test_words_that_stand_elsewhere_too_are_found_where_they_are() -> None:
    def render(turns):  # type: ignore[no-untyped-def]
        return "user: a\n" + "".join(f"{role}: {text.strip()}\n" for role, text in turns) + "assistant:"

    written = in_template((("user", " a "), ("assistant", "user"), ("user", "assistant: a")), render)
    assert [written.text[a:b] for a, b in written.spans] == ["a", "user", "assistant: a"]
    assert written.spans[0][0] == len("user: a\nuser: ")


def test_words_that_a_template_shortens_are_what_is_left_of_them() -> None:
    def render(turns):  # type: ignore[no-untyped-def]
        return "".join(f"[{role}]{text.split('|')[-1]}[/]" for role, text in turns)

    written = in_template((("user", "a"), ("assistant", "thought|b"), ("user", "c")), render)
    assert [written.text[a:b] for a, b in written.spans] == ["a", "b", "c"]


def test_lines_of_plain_text() -> None:
    written = as_lines((("user", "What? "), ("assistant", "a"), ("user", "No")))
    assert written.text == "Question: What?\nAnswer: a\nQuestion: No\nAnswer:"
    assert [written.text[a:b] for a, b in written.spans] == ["What?", "a", "No"]
    assert as_lines((("user", "x"),), False).text == "Question: x"
