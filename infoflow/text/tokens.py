"""What a token is called on the screen, and how tokens make words and groups."""

import operator
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import regex  # knows scripts, which re does not

from infoflow.errors import BadPrompt
from infoflow.text.characters import UNDECODABLE, printable, shortened, spelled

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
BEGINNING = "bos"
BIAS = "bias"
"""the extra source that holds what the weights add by themselves"""
PUT_IN = "interventions"
"""what interventions put in, where it is told in one number"""


Labels = str | Sequence[str]
"""a grouping by name, or one label per token"""


def named(grouping: Labels) -> str:
    """A grouping in a word."""
    return grouping if isinstance(grouping, str) else "custom"


@dataclass(frozen=True)
class Token:
    """One token of a prompt. `text` is what it stands for, with its leading space; '' for a special token."""

    id: int
    text: str
    name: str = ""
    """a special token's name, such as <|begin_of_text|>"""
    part: int = 0
    """1, 2, ... when several tokens together make one character: their place in it"""
    role: str = ""
    """"bos" of the mark that this tokenizer puts before a text"""
    raw: bytes = b""
    """what it stands for, where that is no text: some bytes of a character"""


def as_id(given: Any, where: str = "") -> int:
    """A token's id, of any kind of whole number.

    Raises:
        BadPrompt: something else.
    """
    try:
        if isinstance(given, bool):
            raise TypeError
        return operator.index(given)
    except (TypeError, ValueError, RuntimeError):
        said = printable(str(given))[:40]
        raise BadPrompt(f"Token ids are whole numbers; “{said}”{where} is none ({type(given).__name__}).") from None


def visible(text: str) -> str:
    """A predicted token's text with its whitespace visible, as `label` has it, in full."""
    return spelled(text) or "⟨empty⟩"


def label(token: Token, limit: int = 16) -> str:
    """Short name for the screen: whitespace visible, special tokens in angle brackets, parts of a character numbered, bytes that
    are no character by their value."""
    if token.name:
        return _mark(token)
    shown = _spelled_bytes(token.raw) if token.raw else shortened(spelled(token.text), limit) or "⟨empty⟩"
    return shown + str(token.part).translate(_SUBSCRIPTS) if token.part else shown


def _mark(token: Token) -> str:
    if token.role == BEGINNING:
        return f"⟨{BEGINNING}⟩"
    inner = token.name.lstrip("<[{|｜").rstrip(">]}|｜")
    return f"⟨{re.sub('[_▁]', ' ', inner).strip() or token.name}⟩"


def _spelled_bytes(raw: bytes) -> str:
    """Bytes of which some are no character: what is text as it is, the others as ⟨E4⟩."""
    text = raw.decode("utf-8", "surrogateescape")
    parts = re.split("([\udc80-\udcff]+)", text)
    shown = [
        f"⟨{part.encode('utf-8', 'surrogateescape').hex(' ').upper()}⟩" if number % 2 else printable(part)
        for number, part in enumerate(parts)
    ]
    return "".join(shown).strip()


_CLEAN = {
    "Ġ": " ", "▁": " ", "Ċ": "\\n", "\n": "\\n", "</s>": "[EOS]", "<unk>": "[UNK]", "<|begin_of_text|>": "[BOS]",
    "<|end_of_text|>": "[EOS]",
}  # fmt: skip


def clean_label(piece: str) -> str:
    """A tokenizer's piece as a picture of a text has room for it, by a fixed table: Ġ and ▁ are spaces, Ċ a written \\n,
    </s> and <|end_of_text|> [EOS], <|begin_of_text|> [BOS], <unk> [UNK]; byte pieces <0xNN> go; spaces at the ends go;
    what is left empty is [EMPTY]."""
    for found, shown in _CLEAN.items():
        piece = piece.replace(found, shown)
    return re.sub(r"<0x[0-9A-Fa-f]{2}>", "", piece).strip() or "[EMPTY]"


def clean(token: Token) -> str:
    """The same of a token: its special name or its text; a piece of a character keeps its number."""
    if token.role == BEGINNING:
        return "[BOS]"
    if token.part or token.raw or UNDECODABLE in token.text:
        return label(token)
    return printable(clean_label(token.name or token.text))


def unique(labels: Sequence[str], taken: Sequence[str] = ()) -> tuple[str, ...]:
    """Labels with repeated ones numbered (`the`, `the·2`), so that each names one thing; none is one of `taken`."""
    given = set(labels)
    seen: dict[str, int] = {}
    used = set(taken)
    out = []
    for name in labels:
        number = seen.get(name, 0) + 1
        new = name if number == 1 else f"{name}·{number}"
        while new in used or (new != name and new in given):  # a made-up name that is somebody's own
            number += 1
            new = f"{name}·{number}"
        seen[name] = number
        used.add(new)
        out.append(new)
    return tuple(out)


_WITHOUT_SPACES = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}]")


def _kind(char: str) -> str:
    """letter, digit, ideograph or mark. An ideograph or syllable of a script without spaces is a word of its own."""
    if _WITHOUT_SPACES.match(char):
        return "ideograph"
    category = unicodedata.category(char)
    if category[0] in "LM":
        return "letter"
    return "digit" if category[0] == "N" else "mark"


def word_of(tokens: Sequence[Token]) -> tuple[int, ...]:
    """For each token the index of its word, counted in reading order.

    A word begins at a special token, after whitespace, where letters, digits and punctuation meet, and at every
    character of a script written without spaces. Pieces of one character, and an apostrophe inside a word, stay together.
    """
    out: list[int] = []
    word, before, open_space = -1, None, False
    for token in tokens:
        body = token.text.strip()
        if token.name:
            word, before, open_space = word + 1, None, False
        elif not body:  # only whitespace: it opens the next word, except that a line break stands alone
            newline = "\n" in token.text or not token.text
            if not open_space or newline:
                word += 1
            before, open_space = None, not newline
        else:
            kind = _kind(body[0])
            spaced = token.text[0].isspace()
            joins = before is not None and not spaced and (
                kind == before != "ideograph" or "'" in (body[0], before) or "’" in (body[0], before)
            )  # fmt: skip
            if not (joins or token.part > 1 or (open_space and not spaced)):
                word += 1
            last = body[-1]
            before = (
                None
                if token.text[-1].isspace()
                else last
                if last in "'’" and kind == "mark" and before == "letter"
                else _kind(last)
            )
            open_space = False
        out.append(word)
    return tuple(out)


def groups_of(kind: str, tokens: Sequence[Token]) -> tuple[str, ...]:
    """One unique label per token for a named grouping: 'tokens', 'words', 'sentences', or '32 spans' (of equal length).

    Raises:
        BadPrompt: an unknown grouping.
    """
    if kind == "tokens":
        return unique([label(t) for t in tokens], [BIAS])
    spans = re.fullmatch(r"([1-9][0-9]{0,5}) spans?", kind)
    if kind == "words":
        index = word_of(tokens)
    elif kind == "sentences":
        index = _sentence_of(tokens)
    elif spans:
        index = _span_of(len(tokens), int(spans[1]))
    else:
        raise BadPrompt(
            f"'{kind}' is no grouping. Use 'tokens', 'words', 'sentences', a number of equal spans such as '32 spans', "
            "or a list with one label per token."
        )
    names = []
    for group in range(max(index) + 1):
        members = [t for t, i in zip(tokens, index, strict=True) if i == group]
        parts = [t for t in members if t.part <= 1]
        text = "".join(t.text or t.name for t in parts) if len(parts) > 1 or members[0].part else ""
        names.append(label(Token(-1, text)) if text.strip() and not members[0].raw else label(members[0]))
    names = list(unique(names, [BIAS]))
    return tuple(names[i] for i in index)


def _span_of(n_tokens: int, n_spans: int) -> tuple[int, ...]:
    """For each token the index of its span. The first token is a span of its own: it is an attention sink in most models."""
    if n_spans < 2 or n_tokens < 2:
        return (0,) * n_tokens
    rest = min(n_spans, n_tokens) - 1
    return (0, *(1 + i * rest // (n_tokens - 1) for i in range(n_tokens - 1)))


def _sentence_of(tokens: Sequence[Token]) -> tuple[int, ...]:
    """For each token the index of its sentence: a new one begins after . ! ? or a line break, and at special tokens."""
    out: list[int] = []
    sentence, ended = -1, True
    for token in tokens:
        if ended or token.name:
            sentence += 1
        text = token.text.rstrip(" ")
        ended = bool(token.name) or text.endswith((".", "!", "?", "\n", "。", "！", "？"))
        out.append(sentence)
    return tuple(out)


def check_labels(labels: Sequence[str], n: int, what: str = "token") -> tuple[str, ...]:
    """A custom grouping, checked: one label for each of the `n` tokens or sources.

    Raises:
        BadPrompt: another number of labels, or an empty label.
    """
    names = tuple(str(name).strip() for name in labels)
    if len(names) != n:
        raise BadPrompt(f"The grouping has {len(names)} labels for {n} {what}s. Give each {what} exactly one label.")
    empty = [i for i, name in enumerate(names) if not name]
    if empty:
        raise BadPrompt(f"The {what} at position {empty[0]} has no group. Give it a name.")
    return names


def not_bias(names: Sequence[str]) -> tuple[str, ...]:
    """Names of groups of tokens, none of which is that of the weights' own source."""
    other = next(new for new in (f"{BIAS}·{n}" for n in range(2, len(names) + 3)) if new not in names)
    return tuple(other if name == BIAS else name for name in names)


def sources_of(tokens: Sequence[Token], sources: Labels) -> tuple[list[str], list[int]]:
    """The sources' names, in order of their first token, and the number of each token's source.

    Raises:
        BadPrompt: unequal or unknown grouping.
    """
    given = groups_of(sources, tokens) if isinstance(sources, str) else not_bias(check_labels(sources, len(tokens)))
    numbers = {name: i for i, name in enumerate(dict.fromkeys(given))}
    return list(numbers), [numbers[name] for name in given]
