"""Small tokenizers of the kinds that models come with. Each can write every text, or says which it changes."""

from collections.abc import Callable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'()<>=-_{}[]/|\n\t"
WORDS = ("the", "bias", "ha", "cat", "Hello", "world", "import", "return")


def _byte_level(add_prefix_space: bool = False) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    raw.decoder = decoders.ByteLevel()
    return raw


def _pieces() -> dict[str, int]:
    """A vocabulary as SentencePiece has it: bytes, letters, and words with their space."""
    found = ["<unk>", *(f"<0x{b:02X}>" for b in range(256)), "▁", "▁▁", "▁▁▁▁", *_LETTERS, *WORDS, *("▁" + w for w in WORDS)]
    return {piece: i for i, piece in enumerate(dict.fromkeys(found))}


def _merges(vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Merges by which each word of the vocabulary is made from left to right."""
    made = []
    for piece in list(vocabulary):
        if piece.startswith("<") or len(piece) < 2:
            continue
        for n in range(2, len(piece) + 1):
            vocabulary.setdefault(piece[:n], len(vocabulary))
            made.append((piece[: n - 1], piece[n - 1]))
    return list(dict.fromkeys(made))


def _legacy_llama() -> Tokenizer:
    vocabulary = _pieces()
    merges = [("▁", "▁"), ("▁▁", "▁▁"), *(m for m in _merges(vocabulary) if m[0] not in ("▁", "▁▁", "▁▁▁") or m[1] != "▁")]
    raw = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return raw


def _metaspace() -> Tokenizer:
    vocabulary = _pieces()
    scores: list[tuple[str, float]] = [(piece, -1.0 if len(piece) > 1 else -4.0) for piece in vocabulary]
    raw = Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
    return raw


def _wordpiece() -> Tokenizer:
    vocabulary = {p: i for i, p in enumerate(dict.fromkeys(["[UNK]", *_LETTERS, *("##" + c for c in _LETTERS), *WORDS]))}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=400))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return raw


def _composed() -> Tokenizer:
    raw = _byte_level()
    raw.normalizer = normalizers.NFC()
    return raw


def _split() -> Tokenizer:
    """Bytes again, in pieces as newer models cut a text: numbers by three, whitespace by itself."""
    raw = _byte_level()
    raw.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}|\s+|\p{L}+|[^\s\p{L}\p{N}]+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    return raw


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "bytes": _byte_level,
    "bytes, a space before": lambda: _byte_level(add_prefix_space=True),
    "bytes, composed": _composed,
    "bytes, cut anew": _split,
    "SentencePiece, old": _legacy_llama,
    "Metaspace": _metaspace,
    "WordPiece": _wordpiece,
}
LOSSLESS = tuple(kind for kind in KINDS if kind not in ("WordPiece", "bytes, composed"))


def made(kind: str, marks: bool = True, **more: Any) -> PreTrainedTokenizerFast:
    """One of `KINDS`, with a mark that begins a text, one that ends it, a pad, and marks of a conversation."""
    raw = KINDS[kind]()
    raw.add_special_tokens(["<s>", "</s>", "<pad>", "[INST]", "[/INST]", "<|im_start|>", "<|im_end|>"])
    if marks:
        raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", raw.token_to_id("<s>"))])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>", **more)
