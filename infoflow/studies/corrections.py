"""A question, an answer, a correction, a new answer: what changed, in which layer, and which turn did it.

1. The conversation is written out in the model's own chat template, or as questions and answers for a base model.
2. The model answers (`analyses/generation.py`, greedily): the position before its first token is where the answer is read
   off, with its attention and its likeliest tokens. The logit lens shows that position layer by layer.
3. After a correction, the lead of the new answer's first token over the old one's, logit(new) - logit(old), is a sum over
   the tokens of the whole conversation (`analyses/attribution.py`); summed by turn it says what each turn contributed. With a
   contrast (`analyses/contrast.py`), the same conversation with other words of the user's: what each said beyond those.

Each of these parts is a request of its own; who keeps results, as the app does, lets `run_part` look there first, so that
what was answered already is not asked again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses.attribution import Attribution, AttributionRequest
from infoflow.analyses.cost import Estimate
from infoflow.analyses.generation import THINKS, Generation, GenerationRequest, text_of
from infoflow.analyses.logit_lens import Lens, LensRequest
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, RunPart, Study, as_interventions
from infoflow.analyses.result import Result
from infoflow.errors import BadPrompt
from infoflow.text.contrasts import BANK
from infoflow.text.conversations import ASSISTANT, SYSTEM, USER, Form, Turn
from infoflow.text.tokens import Token, visible, word_of
from infoflow.text.vocabulary import AFTER, AROUND

if TYPE_CHECKING:
    import infoflow.models.model

START, TEMPLATE, CUE = "start", "template", "answer cue"
FIRST = 4
"""tokens in which most first words are over; where one is not, the model writes on"""


@dataclass(frozen=True, kw_only=True)
class Answer(Result):
    """What the model answered at one point of a conversation, and from what."""

    turns: tuple[Turn, ...]
    """the conversation up to the question"""
    text: str
    """the answer as the conversation goes on with it"""
    generation: Generation
    """its first step is the answer's first token"""
    lens: Lens
    """at its last position, followed: that token"""
    form: Form
    """chat, or plain text"""
    turn_of: tuple[int, ...]
    """the turn whose words each token of the prompt is of; `AROUND` for what is written around them, `AFTER` behind the last"""

    @property
    def token(self) -> int:
        """id of the answer's first token"""
        return self.generation.output_ids[0]

    def to_frame(self) -> pd.DataFrame:
        """The layers at the position that the answer is read off: row, probability (of the answer), rank (1 is the
        likeliest), alternatives (the three likeliest other tokens, with probabilities)."""
        lens, last = self.lens, -1
        rows = []
        for row, name in enumerate(lens.rows):
            others = [
                f"{visible(lens.names[i])} {p:.1%}"
                for i, p in zip(lens.token_ids[row, last].tolist(), lens.probs[row, last].tolist(), strict=True)
                if i != self.token
            ]
            rows.append((
                name, float(lens.target_probs[row, last, 0]), int(lens.target_ranks[row, last, 0]) + 1, ", ".join(others[:3])
            ))  # fmt: skip
        return pd.DataFrame(rows, columns=["row", "probability", "rank", "alternatives"])


@dataclass(frozen=True, kw_only=True)
class Change(Result):
    """Two answers of one conversation, before and after a correction."""

    before: Answer
    after: Answer
    lens: Lens
    """at the last position before the second answer, followed: the first tokens of the old and the new answer"""
    parts: tuple[str, ...]
    """what the conversation is made of: its start, what the template adds, its turns, and the cue to answer"""
    part_of: Int[np.ndarray, " source"]
    """the part that each token belongs to"""
    difference: Attribution | None
    """logit(new) - logit(old) at the second answer, by token; None where both begin with the same token"""

    @property
    def flips_at(self) -> int | None:
        """The first row of the lens from which the new answer is ahead of the old one up to the output; None where the answer
        did not change, or the two are level at the output, as rounded logits can be."""
        if self.difference is None:
            return None
        lead = self.lens.target_logits[:, -1, 1] - self.lens.target_logits[:, -1, 0]
        behind = np.nonzero(lead <= 0)[0]
        first = int(behind[-1]) + 1 if len(behind) else 0
        return first if first < len(lead) else None

    @property
    def wins_at(self) -> int:
        """The first row of the lens from which the new answer is the likeliest of all tokens up to the output."""
        beaten = np.nonzero(self.lens.target_ranks[:, -1, -1] > 0)[0]
        return int(beaten[-1]) + 1 if len(beaten) else 0

    def to_frame(self) -> pd.DataFrame:
        """What each part contributed to logit(new) - logit(old): part, logit; with the weights' biases and what interventions
        put in, where there are any, they sum to it. With a contrast specific and hindsight, in which biases have no part."""
        found = self.difference
        if found is None:
            return pd.DataFrame({"part": [], "logit": []})
        table = pd.DataFrame({"part": self.parts, "logit": self._by_part(found.by_source)})
        if found.specific is not None:
            table["specific"] = self._by_part(found.specific)
            table["hindsight"] = table["logit"] - table["specific"]
        for name, value in found.of_no_token.items():
            table.loc[len(table)] = [name, value, *[0.0] * (len(table.columns) - 2)]
        return table

    def _by_part(self, values: Float[np.ndarray, " source"]) -> Float[np.ndarray, " part"]:
        sums = np.zeros(len(self.parts))
        np.add.at(sums, self.part_of, values)
        return sums


@dataclass(frozen=True, kw_only=True)
class Correction(Result):
    """A conversation of a question and its corrections, with every answer and every change."""

    answers: tuple[Answer, ...]
    changes: tuple[Change, ...]
    """between one answer and the next"""
    provenance: Provenance

    @property
    def turns(self) -> tuple[Turn, ...]:
        last = self.answers[-1]
        return (*last.turns, (ASSISTANT, last.text))

    def to_frame(self) -> pd.DataFrame:
        """One row per change and part: change (from 1), old, new, part, logit; with a contrast specific and hindsight."""
        tables = [
            change.to_frame().assign(change=number + 1, old=change.before.text, new=change.after.text)
            for number, change in enumerate(self.changes)
        ]
        columns = ["change", "old", "new", "part", "logit"]
        if not tables:
            return pd.DataFrame(columns=columns)
        found = pd.concat(tables, ignore_index=True)
        return found[[*columns, *[name for name in ("specific", "hindsight") if name in found]]]


@dataclass(frozen=True, kw_only=True)
class CorrectionRequest(Study[Correction]):
    """`correct` as a value. Its prompt is what the user says: a question, then corrections."""

    analysis: ClassVar[str] = "corrections"
    function: ClassVar[str] = "correct"

    prompt: tuple[str, ...]
    form: Form = Form.AUTO
    one_word: bool = True
    max_new_tokens: int = 12
    system: str = ""
    """what is said to the model before the question: its first turn; '' for nothing but what its template says"""
    written: tuple[int, ...] = ()
    """what the form makes of the question; a chat template may put today's date before it"""
    contrast: str | tuple[str, ...] | None = None
    """what the conversation is held against: what the user says instead, turn by turn, each of as many tokens; another question
    alone; or "bank\""""

    def arguments(self) -> dict[str, Any]:
        """The question and the corrections apart; what a template made of them is made again."""
        given = super().arguments()
        del given["written"]
        question, *corrections = given.pop("prompt")
        return {"question": question, "correction": tuple(corrections), **given}

    def run(
        self, model: "infoflow.models.model.Model", on_progress: Report | None = None, run_part: RunPart | None = None
    ) -> Correction:
        """The conversation. `run_part` runs its parts, or has them already."""
        answers: list[Answer] = []
        if not self.prompt:
            raise BadPrompt("Nothing was asked. A conversation begins with a question.")
        contrast = self.contrast
        if isinstance(contrast, tuple) and len(contrast) != len(self.prompt):
            raise BadPrompt(
                f"The contrast has {len(contrast)} turns of the user's, the conversation {len(self.prompt)}; give one for each."
            )
        asking = _Asking(model, self.exactly(model), run_part or (lambda request, told: request.run(model, told)), on_progress)
        for number, text in enumerate(self.prompt):
            before = (*answers[-1].turns, (ASSISTANT, answers[-1].text)) if answers else self.first
            answers.append(asking.answer((*before, (USER, text)), f"Answer {number + 1} of {len(self.prompt)}"))
        changes = tuple(
            asking.change(a, b, f"Change {n + 1} of {len(self.prompt) - 1}")
            for n, (a, b) in enumerate(zip(answers, answers[1:], strict=False))
        )
        dtype = answers[-1].generation.provenance.dtype
        made = Provenance.of(model, asking.request, dtype)
        return Correction(answers=tuple(answers), changes=changes, provenance=made)

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory of the last answer, by its turns as far as they are known: the model's own answers come later."""
        turns: list[Turn] = list(self.first)
        for number, text in enumerate(self.prompt):  # with something in each answer's place: templates want them to take turns
            turns += [(ASSISTANT, "…")] * bool(number) + [(USER, text)]
        ids = model.conversation(turns, self.exactly(model).form).ids
        return GenerationRequest(prompt=ids, max_new_tokens=self.max_new_tokens).estimate(model)

    @property
    def first(self) -> tuple[Turn, ...]:
        """The turns before the question."""
        return ((SYSTEM, self.system),) if self.system.strip() else ()

    def exactly(self, model: "infoflow.models.model.Model") -> "CorrectionRequest":
        """Its form settled: the chat template where there is one."""
        auto = Form.CHAT if model.has_chat_template else Form.PLAIN
        form = auto if self.form == Form.AUTO else self.form
        asked = self.prompt and self.prompt[0].strip() and not self.written
        written = model.conversation((*self.first, (USER, self.prompt[0])), form).ids if asked else self.written
        return replace(self, model=model.spec, form=form, written=written)


@dataclass(frozen=True)
class _Asking:
    """One conversation with one model."""

    model: "infoflow.models.model.Model"
    request: CorrectionRequest
    run_part: RunPart
    on_progress: Report | None

    def told(self, doing: str, part: int) -> Report | None:
        """Progress of one of the two halves of a step."""
        said = self.on_progress
        return None if said is None else lambda _, fraction: said(f"{doing} …", (part + fraction) / 2)

    def of(self, kind: Callable[..., Request[Any]], ids: Sequence[int], **more: Any) -> Request[Any]:
        """A request on this conversation."""
        return kind(model=self.model.spec, prompt=tuple(ids), interventions=self.request.interventions, **more)

    def answer(self, turns: tuple[Turn, ...], doing: str) -> Answer:
        if not turns or turns[-1][0] != USER:
            raise BadPrompt("The last turn of the conversation must be the user's, so that the model can answer.")
        written = self.model.conversation(turns, self.request.form)
        ids = written.ids
        one_word, most = self.request.one_word, self.request.max_new_tokens
        for tokens in sorted({min(FIRST, most), most} if one_word else {most}):
            gen = self.run_part(self.of(GenerationRequest, ids, max_new_tokens=tokens), self.told(doing, 0))
            text, over = _said(self.model, gen, one_word)
            if over or len(gen.output_ids) < tokens:
                break
        if gen.thinks:
            raise BadPrompt(
                f"The model begins with thinking ({THINKS}), which is no answer, and its chat template has no switch for that. "
                "Choose another model, or write the conversation as plain text."
            )
        if not text:
            raise BadPrompt("The model gave no answer: it ended at once, or wrote nothing but marks. Ask it in other words.")
        lens = self.run_part(
            self.of(LensRequest, ids, targets=(gen.output_ids[0],), mids=False, positions=(len(ids) - 1,)), self.told(doing, 1)
        )
        return Answer(turns=turns, text=text, generation=gen, lens=lens, form=self.request.form, turn_of=written.turn_of)

    def contrast(self, turns: tuple[Turn, ...]) -> str | tuple[int, ...] | None:
        """What a conversation is held against, as token ids: the same with the user's words replaced."""
        said = self.request.contrast
        if said is None or said == BANK:
            return said
        users = [number for number, (role, _) in enumerate(turns) if role == USER]
        instead = dict(zip(users, (said,) if isinstance(said, str) else said, strict=False))
        other = [(role, instead.get(number, text)) for number, (role, text) in enumerate(turns)]
        return tuple(self.model.conversation(other, self.request.form).ids)

    def change(self, before: Answer, after: Answer, doing: str) -> Change:
        if after.turns[: len(before.turns) + 1] != (*before.turns, (ASSISTANT, before.text)) or before.form != after.form:
            raise BadPrompt("These two answers are not of one conversation. Compare an answer with a later one.")
        ids, both = after.generation.prompt_ids, (before.token, after.token)
        lens = self.run_part(
            self.of(LensRequest, ids, targets=tuple(dict.fromkeys(both)), positions=(len(ids) - 1,)), self.told(doing, 0)
        )
        difference = None
        if before.token != after.token:
            contrast = self.contrast(after.turns)
            asked = self.of(AttributionRequest, ids, target=after.token, against=before.token, contrast=contrast)
            difference = self.run_part(asked, self.told(doing, 1))
        parts, part_of = parts_of(after)
        return Change(before=before, after=after, lens=lens, parts=parts, part_of=np.array(part_of), difference=difference)


def answer(
    model: "infoflow.models.model.Model",
    turns: Sequence[Turn],
    form: str = Form.AUTO,
    one_word: bool = True,
    max_new_tokens: int = 12,
    on_progress: Callable[[int, int], None] | None = None,
) -> Answer:
    """The model's answer to a conversation whose last turn is a user's, greedily; `one_word` keeps its first word alone.

    `on_progress(done, total)` is called as each run goes on, in thousandths; raising in it stops the work.

    Raises:
        BadPrompt: an empty turn, no chat template, a model that ends without a word.
        TooLarge: what `generate` and `logit_lens` raise.
    """
    asked = CorrectionRequest(prompt=(), form=Form.of(form), one_word=one_word, max_new_tokens=max_new_tokens)
    return _asking(model, asked, on_progress).answer(tuple(turns), "")


def _asking(
    model: "infoflow.models.model.Model", asked: CorrectionRequest, on_progress: Callable[[int, int], None] | None
) -> _Asking:
    return _Asking(model, asked.exactly(model), lambda request, told: request.run(model, told), _in_thousandths(on_progress))


def _in_thousandths(on_progress: Callable[[int, int], None] | None) -> Report | None:
    return None if on_progress is None else lambda _, fraction: on_progress(round(1000 * fraction), 1000)


def _said(model: "infoflow.models.model.Model", gen: Generation, one_word: bool) -> tuple[str, bool]:
    """The answer without the mark that ends it, its first line or its first word; and whether more text could change nothing."""
    kept: list[Token] = []
    over = False
    for piece in gen.pieces[gen.n_prompt :]:
        if piece.id in model.ends or piece.name or ("\n" in piece.text and kept):
            over = True
            break
        kept.append(piece)
    if one_word and kept:
        words = word_of(kept)
        begin = next((w for w, t in zip(words, kept, strict=True) if t.text.strip()), 0)
        over = over or words[-1] > begin
        kept = [t for t, w in zip(kept, words, strict=True) if w == begin]
    return text_of(kept).strip(), over


def change(
    model: "infoflow.models.model.Model",
    before: Answer,
    after: Answer,
    on_progress: Callable[[int, int], None] | None = None,
) -> Change:
    """What turned one answer into another: the lead of the new over the old, by part of the conversation and by layer.

    Raises:
        BadPrompt: answers of different conversations.
        TooLarge: what `attribute` and `logit_lens` raise.
    """
    return _asking(model, CorrectionRequest(prompt=(), form=after.form), on_progress).change(before, after, "")


def parts_of(found: Answer) -> tuple[tuple[str, ...], list[int]]:
    """Names of the parts of a conversation, and the part of each token: the mark it starts with, what the template writes around
    the turns (who speaks, marks, a system message of its own), the words of every turn, and the cue to answer."""
    whole = found.generation.pieces[: found.generation.n_prompt]
    numbers = {SYSTEM: 0, USER: 0, ASSISTANT: 0}
    names = [START, TEMPLATE]
    for role, text in found.turns:
        if role == SYSTEM:
            names.append(f"system: {text.strip()}")
            continue
        what = "answer" if role == ASSISTANT else "correction" if numbers[USER] else "question"
        numbers[role] += 1
        number = numbers[role] - (what == "correction")
        names.append(f"{what} {number}: {text.strip()}" if what != "question" else f"question: {text.strip()}")
    place = {AROUND: 1, AFTER: len(names)}
    part_of = [place.get(turn, turn + 2) for turn in found.turn_of]
    if whole[0].name and len(whole) > 1:
        part_of[0] = 0
    return (*names, CUE), part_of


def correct(
    model: "infoflow.models.model.Model",
    question: str,
    correction: str | Sequence[str],
    form: str = Form.AUTO,
    one_word: bool = True,
    max_new_tokens: int = 12,
    system: str = "",
    interventions: Sequence[Any] = (),
    contrast: str | Sequence[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Correction:
    """A question, the model's answer, a correction (or several, one after another), and each new answer. `system` is said before
    the question, in the place that the model's template has for it. `contrast`: another question of as many tokens, or all that
    is said instead, turn by turn, or "bank" (neutral texts that ship), for `specific` and `hindsight` (contrast.py).

    Raises:
        BadPrompt: an empty question or correction, no chat template, a model that gives no answer, a contrast of another length.
        TooLarge: a conversation that does not fit.
    """
    said = (question, *([correction] if isinstance(correction, str) else correction))
    request = CorrectionRequest(
        model=model.spec, prompt=said, form=Form.of(form), one_word=one_word, max_new_tokens=max_new_tokens,
        system=system, interventions=as_interventions(interventions),
        contrast=contrast if contrast is None or isinstance(contrast, str) else tuple(contrast),
    )  # fmt: skip
    return request.run(model, _in_thousandths(on_progress))
