"""Labels, words and groups: a table of cases that other tools stumble over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infoflow.errors import BadPrompt
from infoflow.text.tokens import Token, check_labels, clean, clean_label, groups_of, label, unique, word_of
from tests.helpers import tiny

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
"""a flag, spelled with tags that have no shape of their own"""


def tokens(*texts: str) -> list[Token]:
    return [Token(i, t) for i, t in enumerate(texts)]


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        (Token(0, " Paris"), "Paris"),
        (Token(0, "Paris"), "Paris"),
        (Token(0, "\n"), "⏎"),
        (Token(0, "\n\n"), "⏎⏎"),
        (Token(0, "\t"), "⇥"),
        (Token(0, " "), "␣"),
        (Token(0, "  "), "␣␣"),
        (Token(0, ""), "⟨empty⟩"),
        (Token(0, "", name="<|begin_of_text|>", role="bos"), "⟨bos⟩"),
        (Token(0, "", name="<|begin_of_text|>"), "⟨begin of text⟩"),
        (Token(0, "", name="</s>", role="bos"), "⟨bos⟩"),
        (Token(0, "", name="</s>"), "⟨/s⟩"),
        (Token(0, "", name="[INST]"), "⟨INST⟩"),
        (Token(0, "", name="[/INST]"), "⟨/INST⟩"),
        (Token(0, "", name="<｜end▁of▁sentence｜>"), "⟨end of sentence⟩"),
        (Token(0, "", name="<id 300>"), "⟨id 300⟩"),
        (Token(0, "", name="<>"), "⟨<>⟩"),
        (Token(0, "", name="<|user|>"), "⟨user⟩"),
        (Token(0, "😀", part=2), "😀₂"),
        (Token(0, "日本"), "日本"),
        (Token(0, "a" * 30), "a" * 15 + "…"),
        (Token(0, "\x00"), "⟨NUL⟩"),
        (Token(0, " \x0e"), "⟨SO⟩"),
        (Token(0, "\r"), "⟨CR⟩"),
        (Token(0, "\ufffd"), "\ufffd"),
        (Token(0, "\ufffd", part=3), "\ufffd₃"),
        (Token(0, "\ufffd", raw=b"\xe4"), "⟨E4⟩"),
        (Token(0, "", raw=b"\xe4\xb8"), "⟨E4 B8⟩"),
        (Token(0, " a\ufffd", raw=b" a\xe4"), "a⟨E4⟩"),
        (Token(0, " " * 40), "␣×40"),
        (Token(0, "\n" * 5 + "  "), "⏎×5␣␣"),
        (Token(0, "    x"), "␣×4x"),
        (Token(0, "x "), "x␣"),
        (Token(0, "\xa0"), "⍽"),
        (Token(0, "a\xa0b"), "a⍽b"),
        (Token(0, "\u2003"), "⟨U+2003⟩"),
        (Token(0, "\u200b"), "⟨ZWSP⟩"),
        (Token(0, "\u200d"), "⟨ZWJ⟩"),
        (Token(0, "\ufeffa"), "⟨BOM⟩a"),
        (Token(0, "\u202ea"), "⟨RLO⟩a"),
        (Token(0, "\ufe0f"), "⟨VS16⟩"),
        (Token(0, "\u0301"), "◌\u0301"),
        (Token(0, "e\u0301"), "e\u0301"),
        (Token(0, ENGLAND), ENGLAND),
        (Token(0, "\U000e0067"), "⟨U+E0067⟩"),
        (Token(0, "👨\u200d👩\u200d👧"), "👨\u200d👩\u200d👧"),
        (Token(0, "\u0645\u06cc\u200c\u062e"), "\u0645\u06cc\u200c\u062e"),
        (Token(0, "👨\u200d👩\u200d👧" * 17), "👨\u200d👩\u200d👧" * 15 + "…"),
        (Token(0, "<b>"), "<b>"),
    ],
)
def test_label(token: Token, shown: str) -> None:
    assert label(token) == shown


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["The", " cat", " sat"], [0, 1, 2]),
        ([" stor", "e", ","], [0, 0, 1]),
        ([" don", "'t", " go"], [0, 0, 1]),
        ([" ", "17", "32", " to"], [0, 0, 0, 1]),
        (["SW", "ORD", "FISH", "."], [0, 0, 0, 1]),
        (["a", "\n", "b"], [0, 1, 2]),
        (["日", "本", "語"], [0, 1, 2]),
        ([" x", "1", "!"], [0, 1, 2]),
        (["...", "!"], [0, 0]),
        (["a ", "b"], [0, 1]),
        (["", "a"], [0, 1]),
    ],
)
def test_words(texts: list[str], words: list[int]) -> None:
    assert list(word_of(tokens(*texts))) == words


def test_a_special_token_is_a_word_of_its_own_and_needs_not_be_there() -> None:
    assert word_of([Token(0, "", name="<s>"), Token(1, "The"), Token(2, "n")]) == (0, 1, 1)
    assert word_of([Token(1, "The"), Token(2, "n")]) == (0, 0)


def test_pieces_of_one_character_stay_together() -> None:
    model = tiny.model()
    pieces = model.encode("a😀b")
    assert [t.part for t in pieces] == [0, 0, 1, 2, 3, 4, 0]
    assert groups_of("tokens", pieces)[2:6] == ("😀₁", "😀₂", "😀₃", "😀₄")
    words = groups_of("words", pieces)
    assert len(set(words[2:6])) == 1


def test_bytes_that_are_no_text_are_shown_and_not_lost() -> None:
    model = tiny.model()
    broken = [t.id for t in model.encode("😀")][:3]  # the mark before a text, and two of the character's four bytes
    assert groups_of("tokens", model.encode(broken)) == ("⟨bos⟩", "⟨F0⟩", "⟨9F⟩")


def test_labels_of_groups_are_unique_and_name_the_word() -> None:
    assert groups_of("words", tokens("the", " c", "at", " the")) == ("the", "cat", "cat", "the·2")
    assert unique(["a", "a", "b"]) == ("a", "a·2", "b")
    assert unique(["a", "a", "a·2", "a·2", "a"]) == ("a", "a·3", "a·2", "a·2·2", "a·4")  # a made-up name is nobody's own
    assert unique(["bias", "b", "bias"], ["bias"]) == ("bias·2", "b", "bias·3")


@given(st.lists(st.text(max_size=4), min_size=1, max_size=12))
def test_words_are_numbered_in_reading_order_without_gaps(texts: list[str]) -> None:
    index = word_of(tokens(*texts))
    assert index[0] == 0
    assert all(0 <= b - a <= 1 for a, b in zip(index, index[1:], strict=False))


@given(st.lists(st.text(max_size=4), min_size=1, max_size=12))
def test_grouping_labels_are_never_empty_and_one_per_word(texts: list[str]) -> None:
    labels = groups_of("words", tokens(*texts))
    assert all(labels)
    assert len(set(labels)) == max(word_of(tokens(*texts))) + 1


def test_custom_groups_need_one_name_for_each_token() -> None:
    assert check_labels(["a ", "b"], 2) == ("a", "b")
    with pytest.raises(BadPrompt, match="3 labels for 2 tokens"):
        check_labels(["a", "b", "c"], 2)
    with pytest.raises(BadPrompt, match="position 1"):
        check_labels(["a", ""], 2)


def test_sentences_and_equal_spans() -> None:
    pieces = [Token(0, "", name="<s>", role="bos"), *tokens("The", " cat", " sat", ".", " It", " slept", "!\n", "Yes")]
    assert groups_of("sentences", pieces) == ("⟨bos⟩", *["The cat sat."] * 4, *["It slept!⏎"] * 3, "Yes")
    spans = groups_of("4 spans", pieces)
    assert [spans.index(name) for name in spans] == [0, 1, 1, 1, 4, 4, 4, 7, 7]
    assert len(set(groups_of("99 spans", pieces))) == len(pieces)
    assert len(set(groups_of("1 span", pieces))) == 1
    with pytest.raises(BadPrompt, match="'0 spans' is no grouping"):
        groups_of("0 spans", pieces)


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        ("ĠParis", "Paris"),
        ("▁Paris", "Paris"),
        ("new▁York", "new York"),
        ("Ċ", "\\n"),
        ("ĊĊ", "\\n\\n"),
        ("\n", "\\n"),
        ("</s>", "[EOS]"),
        ("<unk>", "[UNK]"),
        ("<|begin_of_text|>", "[BOS]"),
        ("<|end_of_text|>", "[EOS]"),
        ("<0x0A>", "[EMPTY]"),
        ("<0xE6>a", "a"),
        ("<0x1G>", "<0x1G>"),
        ("", "[EMPTY]"),
        ("Ġ", "[EMPTY]"),
        ("   ", "[EMPTY]"),
        ("  two ", "two"),
        ("<|user|>", "<|user|>"),
        ("日本", "日本"),
    ],
)
def test_clean_label(piece: str, shown: str) -> None:
    assert clean_label(piece) == shown


def test_clean_labels_of_tokens() -> None:
    found = [
        Token(0, "", name="<|begin_of_text|>"),
        Token(1, " Paris"),
        Token(2, "😀", part=2),
        Token(3, "\ufffd", raw=b"\xe4"),
        Token(4, "\t"),
    ]
    assert [clean(t) for t in found] == ["[BOS]", "Paris", "😀₂", "⟨E4⟩", "[EMPTY]"]
    assert clean(Token(0, "", name="</s>")) == "[EOS]" and clean(Token(0, "a\x00b")) == "a⟨NUL⟩b"
    assert clean(Token(0, "", name="</s>", role="bos")) == "[BOS]"
