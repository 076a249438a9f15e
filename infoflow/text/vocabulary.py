"""Text to tokens and back, for one tokenizer: prompts, conversations, single tokens."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Any
from weakref import proxy

import jinja2
import jinja2.meta

from infoflow.errors import BadPrompt, TooLarge
from infoflow.text.characters import printable, shortened
from infoflow.text.conversations import Span, Turn, Written, as_lines, check_turns, in_template
from infoflow.text.tokens import BEGINNING, Token, as_id, label

_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTE_OF = {chr(b): b for b in _PRINTED} | {chr(0x100 + n): b for n, b in enumerate(b for b in range(256) if b not in _PRINTED)}
"""the character by which tokenizers of bytes write each byte (Radford et al., 2019)"""


def joined(tokens: Sequence[Token]) -> str:
    """Tokens as the text that they are."""
    return "".join(t.name or t.text for t in tokens if t.part <= 1)


def check_text(text: str) -> None:
    """That a text can be written at all.

    Raises:
        BadPrompt: half a surrogate is in it.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = ord(text[error.start])
        raise BadPrompt(
            f"Character {error.start + 1} of the text is half of one (U+{half:04X}): it was cut in two somewhere. Take it out."
        ) from None


def _how(body: str, prompt: str) -> str:
    """In which known way a text was changed."""
    for form in ("NFC", "NFKC"):
        if body == unicodedata.normalize(form, prompt):
            return f" (to Unicode's {form})"
    return " (to lower case)" if body.strip() == prompt.lower().strip() else ""


def _where_other(body: str, prompt: str) -> str:
    """What a text became, from shortly before the first character that is another."""
    at = next((i for i, (a, b) in enumerate(zip(body, prompt, strict=False)) if a != b), min(len(body), len(prompt)))
    return ("…" if at > 12 else "") + shortened(printable(body[max(0, at - 12) :]), 40)


ROWS, SINGLE = 64, 4_096
"""of how many rows of ids and of how many single ones it is kept what they read: a page asks for the same at every click"""
LONG = 1_000
"""ids of a row that is not kept: all that are would take some 20 MB"""


class Vocabulary:
    """A tokenizer with the limits of its model: `size` embeddings and, where it is known, the `longest` prompt."""

    def __init__(self, tokenizer: Any, size: int, longest: int | None) -> None:
        self.tokenizer, self.size, self.longest = tokenizer, size, longest
        added = getattr(tokenizer, "added_tokens_decoder", {})  # marks of a chat are special too, though they have no role
        self.special = set(tokenizer.all_special_ids) | {int(i) for i, token in added.items() if token.special}
        plain, whole = (self._ids("a", add_special_tokens=marks) for marks in (False, True))
        line = tokenizer.convert_tokens_to_ids("Ċ")
        self._of_bytes = line is not None and line != tokenizer.unk_token_id
        """whether it writes bytes as characters"""
        self._before = [i for i in plain if i not in self.special][-1:]
        """a token after which others are in the middle of a text"""
        first = whole[0] if len(whole) > len(plain) else None
        self.beginning = first if first in self.special else None
        """the mark that this tokenizer puts before a text, if it does"""
        read = partial(Vocabulary._read, proxy(self))  # else what is kept would hold its owner, and the tokenizer
        self._row, self._single = lru_cache(ROWS)(read), lru_cache(SINGLE)(read)

    def _ids(self, text: str, **how: Any) -> list[int]:
        return list(self.tokenizer(text, **how)["input_ids"])

    def encode(self, prompt: str | Sequence[int]) -> tuple[Token, ...]:
        """The tokens of a prompt: text, with the special tokens this tokenizer adds, or token ids as they are.

        Raises:
            BadPrompt: an empty or blank prompt, half a surrogate in it, or an id the model has no embedding for.
            TooLarge: more tokens than the model has positions for.
        """
        if isinstance(prompt, str):
            if not prompt.strip():
                raise BadPrompt("The prompt is empty. Type a few words, or choose one of the examples.")
            check_text(prompt)
            ids = self._ids(prompt)
        else:
            ids = [as_id(i) for i in prompt]
        self.check_ids(ids)
        if not ids:
            raise BadPrompt("The prompt has no tokens. Type a few words.")
        if self.longest and len(ids) > self.longest:
            raise TooLarge(f"The prompt has {len(ids)} tokens; this model reads at most {self.longest}. Shorten it.", always=True)
        return self._begun(self.tokens(ids), prompt if isinstance(prompt, str) else None)

    def check_ids(self, ids: Sequence[int]) -> None:
        unknown = [i for i in ids if not 0 <= i < self.size]
        if unknown:
            raise BadPrompt(f"There is no token {unknown[0]}; this model's tokens are numbered 0 to {self.size - 1}.")

    def tokens(self, ids: Sequence[int]) -> tuple[Token, ...]:
        """Tokens in the middle of a text. Each is decoded after what comes before it, since many tokenizers write a token
        otherwise where it stands alone."""
        read = self._single if len(ids) == 1 else self._row if len(ids) < LONG else self._read
        return read(tuple(map(int, ids)))

    def _read(self, ids: tuple[int, ...]) -> tuple[Token, ...]:
        out: list[Token] = []
        run: list[int] = []
        for token_id in ids:
            name = self._name(token_id)
            if not name:
                run.append(token_id)
                continue
            out.extend(self._texts(run))
            run = []
            out.append(Token(token_id, "", name=name, role=BEGINNING if token_id == self.beginning else ""))
        return (*out, *self._texts(run))

    def _name(self, token_id: int) -> str:
        """Of a token that stands for no text: a special one, or one that the tokenizer does not know."""
        piece = self.tokenizer.convert_ids_to_tokens(token_id)
        if piece is None:
            return f"<id {token_id}>"
        return str(piece) if token_id in self.special else ""

    def _texts(self, ids: list[int]) -> list[Token]:
        """Tokens of running text. Several that make one character have its text, and are numbered."""
        out: list[Token] = []
        before, first = self._before, 0
        while first < len(ids):
            n, raw = self._character(ids[first : first + 4])
            group = ids[first : first + n]
            if n > 1:
                out.extend(Token(i, raw.decode("utf-8"), part=place + 1) for place, i in enumerate(group))
            else:
                known, text = self._decode(before), self._decode([*before, *group])
                shown = text[len(known) :] if text.startswith(known) else self._decode(group)
                out.append(Token(group[0], shown, raw=raw))
            before, first = self._before if raw and n == 1 else group, first + n
        return out

    def _character(self, ids: list[int]) -> tuple[int, bytes]:
        """How many of these tokens make one text, and the bytes of several, or of one that is no text: 1 and nothing for most."""
        raw = b""
        for n, token_id in enumerate(ids, 1):
            more = self._bytes(token_id)
            if n > 1 and not more:  # text, which completes no character
                break
            raw += more
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                if error.reason == "unexpected end of data":  # more of the character may come
                    continue
                break
            return n, raw if n > 1 else b""
        return 1, self._bytes(ids[0])

    def _bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for, as its tokenizer writes them; b"" where that can't be told."""
        piece = str(self.tokenizer.convert_ids_to_tokens(token_id))
        if self._of_bytes:
            return bytes(_BYTE_OF[c] for c in piece) if all(c in _BYTE_OF for c in piece) else b""
        return bytes.fromhex(piece[3:5]) if re.fullmatch("<0x[0-9A-Fa-f]{2}>", piece) else b""

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def _begun(self, tokens: tuple[Token, ...], prompt: str | None) -> tuple[Token, ...]:
        """The same at the beginning of a text, where a tokenizer may have put a space that is not in it."""
        at = 1 if tokens[0].role == BEGINNING else 0
        if len(tokens) <= at or not tokens[at].text.startswith(" "):
            return tokens
        added = not joined(tokens[at:]).startswith(prompt[:1]) if prompt else not self._decode([tokens[at].id]).startswith(" ")
        if prompt and prompt[0] == " ":  # as many spaces as are there
            written, asked = joined(tokens[at:]), prompt
            added = len(written) - len(written.lstrip(" ")) == len(asked) - len(asked.lstrip(" ")) + 1
        return (*tokens[:at], replace(tokens[at], text=tokens[at].text[1:]), *tokens[at + 1 :]) if added else tokens

    def notes(self, prompt: str | Sequence[int], tokens: Sequence[Token]) -> tuple[str, ...]:
        """What a reader should know of how a prompt became these tokens, a sentence each."""
        ids = [t.id for t in tokens]
        of = self.tokenizer
        said = []
        first = self.beginning
        if first is not None and ids[:2] == [first, first]:
            said.append(f"The text begins twice: this tokenizer puts {label(tokens[0])} before it, and it stands there already.")
        if first is not None and first not in ids and len(ids) > 1:
            usual = label(self.tokens([first])[0])
            said.append(f"The mark {usual}, with which this model's texts begin, is not there: numbers may be unusual.")
        roles = {first, of.eos_token_id}
        if of.pad_token_id is not None and of.pad_token_id not in roles and of.pad_token_id in ids:
            n = ids.count(of.pad_token_id)
            what = "is a pad" if n == 1 else "are pads"
            said.append(f"{n} of the tokens {what}: nothing masks them, the model reads them like any other.")
        chat = str(getattr(of, "chat_template", None) or "")
        ends = of.eos_token_id is not None and of.eos_token_id != first and str(of.eos_token) not in chat
        if ends and of.eos_token_id in ids[1:-1]:
            said.append(f"The mark that ends a text, {label(self.tokens([of.eos_token_id])[0])}, stands in the middle of it.")
        if first is not None and first in ids[2:] and str(self.tokenizer.convert_ids_to_tokens(first)) not in chat:
            said.append(f"The mark with which texts begin, {label(self.tokens([first])[0])}, stands in the middle of this one.")
        if isinstance(prompt, str):
            bodies = [joined(tokens[1:]), joined(tokens)] if tokens[0].role == BEGINNING else [joined(tokens)]
            if of.eos_token_id is not None and tokens[-1].id == of.eos_token_id:  # some tokenizers end a text by themselves
                bodies += [body.removesuffix(str(of.eos_token)) for body in bodies]
            if prompt not in bodies:
                how, reads = _how(bodies[0], prompt), _where_other(bodies[0], prompt)
                said.append(f"This tokenizer changed the text{how}: the model reads “{reads}”.")
        return tuple(said)

    def token_id(self, token: str | int) -> int:
        """The id of a token: of a text that is one token, or an id as it is.

        Raises:
            BadPrompt: the text is several tokens, which it names, or there is no such id.
        """
        if not isinstance(token, str):
            self.check_ids([as_id(token)])
            return as_id(token)
        text = token
        check_text(text)
        ids = self._ids(text, add_special_tokens=False)
        if len(ids) != 1:
            pieces = " | ".join(t.text or t.name for t in self.tokens(ids)) or "nothing"
            raise BadPrompt(f"'{text}' is {len(ids)} tokens here ({pieces}); choose a single one. A leading space matters.")
        self.check_ids(ids)
        return int(ids[0])

    def token_id_near(self, token: str | int) -> int:
        """`token_id` of what a reader typed: with the leading space that most words have, if that is a token; else as it is.

        Raises:
            BadPrompt: neither is a single token.
        """
        if isinstance(token, str) and token[:1].strip():
            try:
                return self.token_id(" " + token)
            except BadPrompt:
                return self.token_id(token)
        return self.token_id(token)

    @property
    def thinking_switch(self) -> str:
        """The name by which this tokenizer's chat template is told whether the model shall think before it answers; '' if it has
        no such switch."""
        template = getattr(self.tokenizer, "chat_template", None)
        return next((name for name in ("enable_thinking", "thinking") if name in _variables(str(template or ""))), "")

    def chat(self, turns: Sequence[Turn], answer_next: bool, thinking: bool = False) -> "Conversation":
        """A conversation in the tokenizer's chat template.

        Raises:
            BadPrompt: no chat template, no turn, or a conversation that the template refuses.
        """
        if not getattr(self.tokenizer, "chat_template", None):
            raise BadPrompt("This model has no chat template: it is a base model, made to continue text. Run it as plain text.")
        check_turns(turns)
        for _, text in turns:
            check_text(text)
        switch = {self.thinking_switch: thinking} if self.thinking_switch else {}

        def render(some: Sequence[Turn]) -> str:
            messages = [{"role": role, "content": text} for role, text in some]
            made = self.tokenizer.apply_chat_template(messages, add_generation_prompt=answer_next, tokenize=False, **switch)
            return str(made)

        try:
            written = in_template(turns, render)
        except (jinja2.TemplateError, ValueError, TypeError) as error:
            raise BadPrompt(f"The model's chat template does not take this conversation: {str(error)[:200]}") from error
        ids, places = self._marked(written)
        return Conversation(ids, _turns_of(places, written.spans))

    def lines(self, turns: Sequence[Turn], answer_next: bool) -> "Conversation":
        """A conversation as lines of plain text.

        Raises:
            BadPrompt: no turn, or an empty one.
        """
        written = as_lines(turns, answer_next)
        self.encode(written.text)  # refused in words where it can't be read
        ids, places = self._located(written.text)
        return Conversation(ids, _turns_of(places, written.spans))

    def _marked(self, written: Written) -> tuple[tuple[int, ...], list[Span]]:
        """Ids of a template's text and where in it each stands. Marks that somebody typed in a turn stay text there."""
        text = written.text
        special = sorted(filter(None, (str(self.tokenizer.convert_ids_to_tokens(i) or "") for i in self.special)), key=len)
        found = list(re.finditer("|".join(map(re.escape, special[::-1])), text)) if special else []
        written_by_it = [m for m in found if not any(a < m.end() and m.start() < b for a, b in written.spans)]
        if len(written_by_it) == len(found):
            return self._located(text, add_special_tokens=False)
        ids: tuple[int, ...] = ()
        places: list[Span] = []
        at = 0
        for mark in written_by_it:
            more, where = self._as_text(text, at, mark.start())
            ids, places, at = (
                (*ids, *more, self.tokenizer.convert_tokens_to_ids(mark[0])),
                [*places, *where, mark.span()],
                mark.end(),
            )
        more, where = self._as_text(text, at, len(text))
        return (*ids, *more), [*places, *where]

    def _as_text(self, text: str, begin: int, end: int) -> tuple[tuple[int, ...], list[Span]]:
        """A part of a text in which no mark is one."""
        if end <= begin:
            return (), []
        ids, places = self._located(text[begin:end], add_special_tokens=False, split_special_tokens=True)
        return ids, [(a + begin, b + begin) for a, b in places]

    def _located(self, text: str, **how: Any) -> tuple[tuple[int, ...], list[Span]]:
        """The ids of a text, and where in it each stands."""
        if getattr(self.tokenizer, "is_fast", False):
            found = self.tokenizer(text, return_offsets_mapping=True, **how)
            return tuple(found["input_ids"]), [(int(a), int(b)) for a, b in found["offset_mapping"]]
        ids, places, at = tuple(self._ids(text, **how)), [], 0
        for token in self.tokens(ids):  # a tokenizer in Python does not tell
            begin = at
            at += len(token.name or token.text) if token.part < 2 else 0
            places.append((begin, at))
        return ids, places


@cache
def _variables(template: str) -> frozenset[str]:
    """The names that a template asks for."""
    try:
        parser = jinja2.Environment(extensions=_EXTENSIONS)  # noqa: S701  it is read, not rendered, and would make a prompt, not HTML
        return frozenset(jinja2.meta.find_undeclared_variables(parser.parse(template)))
    except jinja2.TemplateError:  # it is told when it is used
        return frozenset(re.findall(r"\w+", template))


_EXTENSIONS = ["jinja2.ext.loopcontrols"]


@dataclass(frozen=True)
class Conversation:
    """A conversation in tokens."""

    ids: tuple[int, ...]
    turn_of: tuple[int, ...]
    """the turn whose words each token is of; `AROUND` for what is written around them, `AFTER` behind the last"""


AROUND, AFTER = -1, -2


def _turns_of(places: Sequence[Span], spans: Sequence[Span]) -> tuple[int, ...]:
    """The turn of each token: the one that most of its characters are of."""
    out = []
    for begin, end in places:
        shared = [min(end, b) - max(begin, a) for a, b in spans]
        most = max(range(len(spans)), key=shared.__getitem__)
        of_turn = shared[most] > 0 and 2 * shared[most] >= end - begin
        out.append(most if of_turn else AFTER if begin >= spans[-1][1] else AROUND)
    return tuple(out)
