"""Tokens of seven kinds of tokenizers: they join to the text, each id has one name, and what a tokenizer changes is said."""

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import processors

import infoflow
from infoflow.errors import BadPrompt, TooLarge
from infoflow.text.tokens import Token, label
from infoflow.text.vocabulary import LONG, Vocabulary, joined
from tests.helpers import tiny, tokenizer_kinds
from tests.helpers.tokenizer_kinds import KINDS, LOSSLESS

TEXTS = [
    "Hello world", "  Hello", "    return x", " the cat", "a    b\n\n\tif x >= 3:", "日本語のテキスト", "a\ufffdb", "\ufffd",
    "\ufffd\ufffd x", "\u202bمرحبا بالعالم", "😀👨\u200d👩\u200d👧 x", "e\u0301", "x\xa0y\u200bz", "bias bias·2", "ha ha ha",
    "x" * 300,
    " ", "\n", "the\u0000cat", "<b>&amp;</b>",
]  # fmt: skip


@pytest.fixture(scope="module")
def vocabularies() -> dict[str, Vocabulary]:
    return {kind: Vocabulary(tokenizer_kinds.made(kind), 10_000, None) for kind in KINDS}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("text", [t for t in TEXTS if t.strip()])
def test_pieces_join_to_the_prompt(kind: str, text: str, vocabularies: dict[str, Vocabulary]) -> None:
    tokens = vocabularies[kind].encode(text)
    assert tokens[0].role == "bos" and joined(tokens[1:]) == text
    assert vocabularies[kind].notes(text, tokens) == ()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
@pytest.mark.parametrize("kind", ["bytes", "SentencePiece, old", "Metaspace"])
def test_pieces_join_to_any_text(kind: str, text: str, vocabularies: dict[str, Vocabulary]) -> None:
    if text.strip() and "▁" not in text and (kind != "Metaspace" or text == " ".join(text.split())):
        assert joined(vocabularies[kind].encode(text)[1:]) == text


@pytest.mark.parametrize("kind", LOSSLESS)
def test_what_is_written_joins_too(kind: str, vocabularies: dict[str, Vocabulary]) -> None:
    """Tokens in the middle of a text, as a model writes them: four spaces stay four."""
    vocabulary = vocabularies[kind]
    ids = vocabulary._ids("x:\n    return the    cat")
    whole = vocabulary.tokens(ids)
    for cut in range(2, len(ids)):
        if not whole[cut].part > 1:
            assert joined(whole[:cut]) + joined(vocabulary.tokens(ids[cut:])) == joined(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_has_one_name_wherever_it_stands(kind: str, vocabularies: dict[str, Vocabulary]) -> None:
    vocabulary = vocabularies[kind]
    for text in ("the cat", "a the", "日", "x the"):
        for token in vocabulary.tokens(vocabulary._ids(text)[2:]):
            if not token.part:
                assert label(token) == label(vocabulary.tokens([token.id])[0])


def test_ids_that_the_tokenizer_does_not_know_have_a_name() -> None:
    hf = tiny.hf_model("llama", vocab_size=300)
    model = infoflow.wrap_model(hf, tiny.tokenizer())
    prompt = [0, 5, 299, 258]
    tokens = model.encode(prompt)
    assert [label(t) for t in tokens[2:]] == ["⟨id 299⟩", "⟨id 258⟩"] and model.name_of(299) == "⟨id 299⟩"
    hf.lm_head.weight.data[299] = 50 * hf.lm_head.weight.data[299]
    flow, lens = infoflow.decompose(model, prompt, targets=[299]), infoflow.logit_lens(model, prompt, targets=[299])
    assert flow.labels[2] == flow.targets[0].token == lens.names[299] == lens.labels[2] == "⟨id 299⟩"
    gen = infoflow.generate(model, prompt, 2)
    assert gen.labels[2] == "⟨id 299⟩"


def test_bytes_that_are_no_character_have_a_name_by_their_value() -> None:
    model = tiny.model()
    whole = [t.id for t in model.encode("日x")]
    assert [label(t) for t in model.encode([0, whole[1], *whole[4:]])] == ["⟨bos⟩", "⟨E6⟩", "x"]
    assert model.name_of(whole[1]) == "⟨E6⟩" == infoflow.logit_lens(model, "a", targets=[whole[1]]).names[whole[1]]
    assert infoflow.decompose(model, "a", targets=[whole[1]]).targets[0].token == "⟨E6⟩"
    for kind in ("SentencePiece, old", "Metaspace"):
        vocabulary = Vocabulary(tokenizer_kinds.made(kind), 10_000, None)
        byte = vocabulary.tokenizer.convert_tokens_to_ids("<0xE6>")
        assert label(vocabulary.tokens([byte])[0]) == "⟨E6⟩"
        assert label(vocabulary.tokens([vocabulary.tokenizer.convert_tokens_to_ids("<0x41>")])[0]) == "A"


@pytest.mark.parametrize("kind", LOSSLESS)
def test_bytes_apart_from_each_other_make_no_character(kind: str) -> None:
    """E4, a letter, B8 AD: the letter is not swallowed by what 中 would be without it."""
    vocabulary = Vocabulary(tokenizer_kinds.made(kind), 10_000, None)
    written = vocabulary._ids("中", add_special_tokens=False)[-3:]
    letter = vocabulary._ids("x", add_special_tokens=False)[-1]
    apart = vocabulary.tokens([written[0], letter, *written[1:]])
    assert [label(t) for t in apart] == ["⟨E4⟩", "x", "⟨B8⟩", "⟨AD⟩"]


def test_a_real_replacement_character_is_itself_and_leaves_its_neighbours_alone() -> None:
    for kind in LOSSLESS:
        vocabulary = Vocabulary(tokenizer_kinds.made(kind), 10_000, None)
        texts = [t.text for t in vocabulary.encode("a\ufffdb") if t.part < 2 and t.text]
        assert "".join(texts) == "a\ufffdb" and texts[-1] == "b" and texts[-2] == "\ufffd"


# ------------------------------------------------------------------ roles


@pytest.mark.parametrize(
    ("begins", "ends", "shown"),
    [
        ("<s>", "</s>", "⟨bos⟩"),
        ("</s>", "</s>", "⟨bos⟩"),
        ("<|im_start|>", "<|im_end|>", "⟨bos⟩"),
        ("[INST]", "[/INST]", "⟨bos⟩"),
    ],
)
def test_the_mark_that_a_tokenizer_puts_before_a_text_is_its_beginning_however_it_is_spelled(
    begins: str, ends: str, shown: str
) -> None:
    from tokenizers import processors

    made = tokenizer_kinds.made("bytes", marks=False)
    raw = made.backend_tokenizer
    raw.post_processor = processors.TemplateProcessing(single=f"{begins} $A", special_tokens=[(begins, raw.token_to_id(begins))])
    vocabulary = Vocabulary(made, 10_000, None)
    tokens = vocabulary.encode(f"a{ends}")
    assert label(tokens[0]) == shown
    if ends != begins:
        assert label(tokens[-1]) != shown and label(tokens[-1]).strip("⟨⟩") == ends.strip("<>[]|").replace("_", " ")


def test_a_tokenizer_that_adds_no_mark_has_no_beginning() -> None:
    vocabulary = Vocabulary(tokenizer_kinds.made("bytes", marks=False), 10_000, None)
    tokens = vocabulary.encode("<s>a</s>")
    assert vocabulary.beginning is None and [label(t) for t in tokens] == ["⟨s⟩", "a", "⟨/s⟩"]


# ------------------------------------------------------------------ what is told


def told(kind: str, prompt: Any, **more: Any) -> str:
    vocabulary = Vocabulary(tokenizer_kinds.made(kind, **more), 10_000, None)
    return " ".join(vocabulary.notes(prompt, vocabulary.encode(prompt)))


def test_what_a_tokenizer_changed_is_told() -> None:
    assert told("WordPiece", "The CAT") == "This tokenizer changed the text (to lower case): the model reads “the cat”."
    assert "(to Unicode's NFC): the model reads “…" in told("bytes, composed", "a long beginning, e\u0301")
    assert "reads “[UNK]”" in told("WordPiece", "日本")
    assert told("WordPiece", "the cat") == told("bytes, composed", "é") == ""


@pytest.mark.parametrize("kind", ["bytes", "SentencePiece, old", "Metaspace", "WordPiece"])
def test_marks_in_unusual_places_are_told(kind: str) -> None:
    vocabulary = Vocabulary(tokenizer_kinds.made(kind), 10_000, None)
    begin, end, pad = (vocabulary.tokenizer.convert_tokens_to_ids(t) for t in ("<s>", "</s>", "<pad>"))
    some = [t.id for t in vocabulary.encode("the cat")][1:]
    assert kind != "bytes" or "changed" not in told(kind, "<s>the cat")  # the others put a space after each mark
    assert "begins twice" in told(kind, "<s>the cat") and "begins twice" in told(kind, [begin, begin, *some])
    assert "ends a text, ⟨/s⟩, stands in the middle" in told(kind, [begin, *some, end, *some])
    assert "1 of the tokens is a pad" in told(kind, [begin, *some, pad]) and "2 of the tokens are pads" in told(
        kind, [pad, pad, begin, *some]
    )
    assert "mark ⟨bos⟩, with which this model's texts begin, is not there" in told(kind, some)
    assert told(kind, [begin, *some, end]) == told(kind, [begin, *some]) == ""
    chat = "{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"
    assert told(kind, [begin, *some, end, *some], chat_template=chat) == ""  # there it ends a turn


def test_a_result_carries_what_is_told_and_a_saved_one_too(tmp_path: Any) -> None:
    from infoflow.files import flows

    tokenizer = tokenizer_kinds.made("WordPiece")
    model = infoflow.wrap_model(tiny.hf_model("llama", vocab_size=len(tokenizer)), tokenizer)
    for analysis in (infoflow.decompose, infoflow.attention, infoflow.logit_lens, infoflow.promotions, infoflow.generate):
        more = {"max_new_tokens": 2} if analysis is infoflow.generate else {}
        assert "to lower case" in analysis(model, "The Cat", **more).notes[0]  # type: ignore[operator]
    assert "to lower case" in infoflow.attribute(model, "The Cat", 5).notes[0]
    flow = infoflow.decompose(model, "The Cat")
    flows.save(flow, tmp_path / "run.npz")
    assert flows.load(tmp_path / "run.npz").notes == flow.notes


# ------------------------------------------------------------------ sources


@pytest.mark.parametrize("family", ["qwen2", "gpt2", "phi"])
@pytest.mark.parametrize("kind", ["SentencePiece, old", "Metaspace", "WordPiece"])
def test_the_word_bias_is_not_the_weights_bias(family: str, kind: str) -> None:
    tokenizer = tokenizer_kinds.made(kind)
    model = infoflow.wrap_model(tiny.hf_model(family, vocab_size=len(tokenizer)), tokenizer)
    flow = infoflow.decompose(model, "the bias ha bias")
    assert flow.source_labels[-1] == "bias" and len(set(flow.source_labels)) == len(flow.tokens) + 1
    words = flow.grouped("words")
    assert words.source_labels[-1] == "bias" and words.source_of.max() == len(words.source_labels) - 2
    np.testing.assert_allclose(words.shares()[..., -1], _share_of_bias(flow, words), atol=1e-5)
    mine = flow.grouped(["bias" if "bias" in name else "other" for name in flow.source_labels[:-1]])
    assert mine.source_labels == ("other", "bias·2", "bias")
    n = len(flow.tokens)
    custom = infoflow.decompose(model, "the bias ha bias", sources=["a"] * (n - 1) + ["bias"])
    assert custom.source_labels == ("a", "bias·2", "bias")
    attributed = infoflow.attribute(model, "the bias ha bias", 5).to_frame()
    assert (attributed["token"] == "bias").sum() == 1 and attributed["position"].iloc[-1] == -1


def _share_of_bias(flow: "infoflow.Flow", words: "infoflow.Flow") -> np.ndarray:
    """By hand: the lengths of the groups' summed vectors, from the tokens' inner products."""
    gram = flow.gram[:, 1].astype(np.float64)
    groups = [np.flatnonzero(words.source_of == g) for g in range(words.source_of.max() + 1)]
    norms = [np.sqrt(np.maximum(gram[..., g, :][..., :, g].sum((-1, -2)), 0)) for g in groups]
    bias = np.sqrt(np.maximum(gram[..., -1, -1], 0))
    return bias / (sum(norms) + bias)


def test_a_made_up_name_meets_a_real_one() -> None:
    """Two tokens `a` and one that is `a·2`: three sources."""
    pieces = [Token(1, "a"), Token(2, " a"), Token(3, "a·2")]
    from infoflow.text.tokens import groups_of, sources_of

    assert groups_of("tokens", pieces) == ("a", "a·3", "a·2") and sources_of(pieces, "tokens")[1] == [0, 1, 2]


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("text", ["a\ud83d", "\ude00 b", "x\ud800y"])
def test_half_a_surrogate_is_refused_in_words(text: str) -> None:
    model = tiny.model()
    for ask in (
        lambda: infoflow.decompose(model, text),
        lambda: infoflow.attribute(model, "a", text),
        lambda: model.chat([("user", text)]) if model.has_chat_template else model.encode(text),
    ):
        with pytest.raises(BadPrompt, match="is half of one"):
            ask()


def test_a_target_whose_id_has_no_embedding_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens(["⟪new⟫"])
    model = infoflow.wrap_model(tiny.hf_model("llama"), tokenizer)
    monkeypatch.setattr(model, "run", lambda *_: pytest.fail("the model ran"))
    for ask in (
        lambda: infoflow.attribute(model, "a", "⟪new⟫"),
        lambda: infoflow.logit_lens(model, "a", targets=["⟪new⟫"]),
        lambda: infoflow.decompose(model, "a ⟪new⟫"),
    ):
        with pytest.raises(BadPrompt, match="There is no token 257; this model's tokens are numbered 0 to 256"):
            ask()


def test_what_ids_read_is_kept_and_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, decoded = Vocabulary(tiny.tokenizer(), 300, None), list[Sequence[int]]()
    plain = Vocabulary._decode

    def counted(self: Vocabulary, ids: Sequence[int]) -> str:
        decoded.append(ids)
        return plain(self, ids)

    monkeypatch.setattr(Vocabulary, "_decode", counted)
    text, first = vocabulary.encode("abc"), vocabulary.tokens([65])
    before = len(decoded)
    assert vocabulary.encode("abc") == vocabulary.encode([token.id for token in text]) == text and before > 0
    assert vocabulary.tokens([65]) is first and len(decoded) == before
    assert vocabulary.encode("abd") != text and len(decoded) > before
    row = [65, 66] * (LONG // 2)
    assert vocabulary.tokens(row) is not vocabulary.tokens(row) and vocabulary.tokens(row[1:]) is vocabulary.tokens(row[1:])
    assert vocabulary.tokens(row)[1:] == vocabulary.tokens(row[1:])
    vocabulary.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    assert vocabulary.encode("abc") == text[1:], "a text is given to the tokenizer each time: its owner may change it"
    few = Vocabulary(tiny.tokenizer(), 300, 4)
    for _ in range(2):  # what is refused is refused again
        with pytest.raises(BadPrompt, match="whole numbers"):
            few.encode([True])  # which equals a number that may have been asked for
        with pytest.raises(TooLarge):
            few.encode("abcde")
        few.encode([1])
    gone = weakref.ref(vocabulary)
    gc.disable()
    try:
        del vocabulary
        assert gone() is None, "what it keeps holds it"
    finally:
        gc.enable()
