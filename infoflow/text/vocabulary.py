"""Text to tokens and back, for one tokenizer: prompts, conversations, single tokens."""

from collections.abc import Sequence
from typing import Any

import jinja2

from infoflow.errors import BadPrompt, TooLarge
from infoflow.text.conversations import Turn, check_turns
from infoflow.text.tokens import UNDECODABLE, Token


class Vocabulary:
    """A tokenizer with the limits of its model: `size` embeddings and, where it is known, the `longest` prompt."""

    def __init__(self, tokenizer: Any, size: int, longest: int | None) -> None:
        self.tokenizer, self.size, self.longest = tokenizer, size, longest
        added = getattr(tokenizer, "added_tokens_decoder", {})  # marks of a chat are special too, though they have no role
        self.special = set(tokenizer.all_special_ids) | {int(i) for i, token in added.items() if token.special}

    def encode(self, prompt: str | Sequence[int]) -> tuple[Token, ...]:
        """The tokens of a prompt: text, with the special tokens this tokenizer adds, or token ids as they are.

        Raises:
            BadPrompt: an empty or blank prompt, or an id the model has no embedding for.
            TooLarge: more tokens than the model has positions for.
        """
        if isinstance(prompt, str):
            if not prompt.strip():
                raise BadPrompt("The prompt is empty. Type a few words, or choose one of the examples.")
            ids = list(self.tokenizer(prompt)["input_ids"])
        else:
            ids = [int(i) for i in prompt]
        self.check_ids(ids)
        if not ids:
            raise BadPrompt("The prompt has no tokens. Type a few words.")
        if self.longest and len(ids) > self.longest:
            raise TooLarge(f"The prompt has {len(ids)} tokens; this model reads at most {self.longest}. Shorten it.")
        return self.tokens(ids)

    def check_ids(self, ids: Sequence[int]) -> None:
        unknown = [i for i in ids if not 0 <= i < self.size]
        if unknown:
            raise BadPrompt(f"There is no token {unknown[0]}; this model's tokens are numbered 0 to {self.size - 1}.")

    def tokens(self, ids: Sequence[int]) -> tuple[Token, ...]:
        """Token texts by decoding ever longer prefixes: right for every tokenizer, also where one character spans tokens."""
        tokens: list[Token] = []
        waiting: list[int] = []

        def flush(text: str) -> None:
            alone = len(waiting) == 1
            tokens.extend(Token(i, text, part=0 if alone else n + 1) for n, i in enumerate(waiting))
            waiting.clear()

        for token_id in ids:
            if token_id in self.special:
                if waiting:
                    flush(UNDECODABLE)
                tokens.append(Token(token_id, "", name=str(self.tokenizer.convert_ids_to_tokens(token_id))))
                continue
            waiting.append(token_id)
            text = self._decode(waiting)
            if not text.endswith(UNDECODABLE):
                flush(text)
        if waiting:
            flush(UNDECODABLE)
        return tuple(tokens)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        first = self.tokenizer.convert_ids_to_tokens(ids[0]) or ""
        if first.startswith("▁") and not text.startswith(" "):
            text = " " + text  # SentencePiece drops the space of a first word
        return text

    def token_id(self, token: str | int) -> int:
        """The id of a token: of a text that is one token, or an id as it is.

        Raises:
            BadPrompt: the text is several tokens, which it names, or there is no such id.
        """
        if not isinstance(token, str):
            self.check_ids([int(token)])
            return int(token)
        text = token
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if len(ids) != 1:
            pieces = " | ".join(t.text or t.name for t in self.tokens(ids)) or "nothing"
            raise BadPrompt(f"'{text}' is {len(ids)} tokens here ({pieces}); choose a single one. A leading space matters.")
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

    def chat(self, turns: Sequence[Turn], answer_next: bool) -> tuple[int, ...]:
        """`Model.chat`."""
        if not getattr(self.tokenizer, "chat_template", None):
            raise BadPrompt("This model has no chat template: it is a base model, made to continue text. Run it as plain text.")
        check_turns(turns)
        messages = [{"role": role, "content": text} for role, text in turns]
        try:
            found = self.tokenizer.apply_chat_template(messages, add_generation_prompt=answer_next, return_dict=True)
        except (jinja2.TemplateError, ValueError, TypeError) as error:
            raise BadPrompt(f"The model's chat template does not take this conversation: {str(error)[:200]}") from error
        return tuple(int(i) for i in found["input_ids"])
