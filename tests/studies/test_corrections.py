"""Corrections: known outcomes on the shipped model, sums against slow twins, the flip by hand, conversations kept."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import infoflow
from infoflow.errors import BadPrompt, InfoflowError
from infoflow.files.conversations import Conversation, load_conversation, save_conversation
from infoflow.studies import corrections
from infoflow.tables import corrections as tables
from infoflow.text.conversations import Form
from tests.helpers import made, tiny

QUESTION, WRONG = "What is the capital of France?", "No, the answer is Rome."


@pytest.fixture(scope="module")
def paris(demo: "infoflow.Model") -> "infoflow.Correction":
    return infoflow.correct(demo, QUESTION, WRONG)


@pytest.mark.parametrize("form", ["chat", "plain text"])
def test_a_correction_flips_the_answer_and_the_turns_sum_to_its_lead(form: str, demo: "infoflow.Model") -> None:
    found = infoflow.correct(demo, QUESTION, WRONG, form=form)
    assert [a.text for a in found.answers] == ["Paris", "Rome"]
    (change,) = found.changes
    assert change.difference is not None and change.flips_at is not None
    table = change.to_frame()
    with torch.no_grad():
        logits = demo._hf(torch.tensor([found.answers[1].generation.prompt_ids])).logits[0, -1]
    lead = float(logits[demo.token_id(" Rome")] - logits[demo.token_id(" Paris")])
    assert table["logit"].sum() == pytest.approx(lead, abs=1e-3) and lead > 5
    by = dict(zip(table["part"], table["logit"], strict=True))
    assert by[f"correction 1: {WRONG}"] > 0.9 * lead  # what the correction said made the new answer
    assert table["part"].iloc[0] == "start" and table["part"].iloc[-1] == "answer cue"


def test_without_the_correction_the_old_answer_is_back(demo: "infoflow.Model", paris: "infoflow.Correction") -> None:
    """The intervention that tests the attribution: leave the turn out that was said to have made the change."""
    turns = [t for t in paris.answers[1].turns if t[1] != WRONG]
    again = corrections.answer(demo, [*turns, ("user", QUESTION)])
    assert again.text == "Paris"


def test_each_token_belongs_to_its_turn(demo: "infoflow.Model", paris: "infoflow.Correction") -> None:
    (change,) = paris.changes
    pieces = change.after.generation.pieces[: change.after.generation.n_prompt]
    texts = ["".join(t.text or t.name for t, p in zip(pieces, change.part_of, strict=True) if p == n) for n in range(6)]
    assert texts == [
        "<|begin_of_text|>", "<|user|><|end|><|assistant|><|end|><|user|>", f" {QUESTION}", " Paris", f" {WRONG}",
        "<|end|><|assistant|>",
    ]  # fmt: skip
    assert len(change.parts) == 6


def test_a_template_that_writes_earlier_turns_anew_still_sums(demo: "infoflow.Model") -> None:
    again = "{% for m in messages %}{% if loop.last %}LAST {% endif %}{{ m['content'] }}\n{% endfor %}"
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = again
    model = infoflow.wrap_model(tiny.hf_model("llama"), tokenizer)
    turns = (("user", "ab"), ("assistant", "c"), ("user", "d"))
    ids = model.chat(turns)
    gen = infoflow.generate(model, ids, 2)
    fake = corrections.Answer(
        turns=turns, text="x", generation=gen, lens=infoflow.logit_lens(model, ids, targets=[5]), form=Form.CHAT,
        turn_of=model.conversation(turns, Form.CHAT).turn_of,
    )  # fmt: skip
    names, part_of = corrections.parts_of(fake)
    written = "".join(t.text for t in model.encode(ids))
    assert written == "ab\nc\nLAST d\n" and names == (
        "start",
        "template",
        "question: ab",
        "answer 1: c",
        "correction 1: d",
        "answer cue",
    )
    assert part_of == [2, 2, 1, 3, 1, *[1] * 5, 4, 5]


def test_the_flip_by_hand(paris: "infoflow.Correction") -> None:
    (change,) = paris.changes

    def flips(lead: list[float], ranks: list[int]) -> tuple[int | None, int]:
        logits, order = np.zeros_like(change.lens.target_logits), np.zeros_like(change.lens.target_ranks)
        logits[:, -1, 1], order[:, -1, 1] = lead[-1], ranks[-1]  # later rows like the last of these
        logits[: len(lead), -1, 1], order[: len(ranks), -1, 1] = lead, ranks
        logits[:, -1] += 7  # a lead is of one logit over the other
        lens = replace(change.lens, target_logits=logits, target_ranks=order)
        changed = replace(change, lens=lens)
        return changed.flips_at, changed.wins_at

    assert flips([-1, 1, 2], [5, 1, 0]) == (1, 2)
    assert flips([1, -1, 2], [0, 0, 0]) == (2, 0)  # ahead, behind again, ahead for good
    assert flips([1, 1, 1], [3, 0, 0]) == (0, 1)
    assert flips([-1, 0, 1], [9, 9, 0]) == (2, 2)  # level is not ahead
    assert flips([-1, 1, 0], [0, 0, 0])[0] is None  # level at the output, as rounded logits can be
    assert replace(change, difference=None).flips_at is None


def test_many_turns_and_a_table_of_all(demo: "infoflow.Model") -> None:
    found = infoflow.correct(demo, QUESTION, [WRONG, "No, it is Berlin."])
    assert [a.text for a in found.answers] == ["Paris", "Rome", "Berlin"] and len(found.changes) == 2
    frame = found.to_frame()
    assert set(frame["change"]) == {1, 2} and frame["new"].tolist()[-1] == "Berlin"
    for number, change in enumerate(found.changes):
        assert change.difference is not None
        of_change = frame[frame["change"] == number + 1]["logit"].sum()
        assert of_change == pytest.approx(change.difference.total, abs=1e-3)
    assert found.turns[-1] == ("assistant", "Berlin") and len(found.turns) == 6


def test_an_answer_that_stays_is_said_to(demo: "infoflow.Model") -> None:
    found = infoflow.correct(demo, QUESTION, "The answer is Paris.")
    (change,) = found.changes
    assert found.answers[1].text == "Paris" and change.difference is None and change.to_frame().empty
    assert "did not change" in tables.said(change) and tables.words(change).empty


def test_biases_are_a_part_of_their_own() -> None:
    model = tiny.model("qwen2")
    found = infoflow.correct(model, "ab", "cd", one_word=False)
    (change,) = found.changes
    assert change.difference is not None and abs(change.difference.total) > 0.01
    assert change.to_frame()["part"].iloc[-1] == "bias"
    assert change.to_frame()["logit"].sum() == pytest.approx(change.difference.total, rel=1e-3, abs=1e-3)
    assert found.answers[0].form == "plain text"


MORE = [[infoflow.text.tokens.Token(2000, text)] for text in ("x", "'", "7", "!", " y", "\n")]
"""what may come after a word"""


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ((" Paris", "<end>"), "Paris"),
        ((" New", " York"), "New"),
        ((" swim", "ming", "."), "swimming"),
        (("\n", " yes"), "yes"),
        ((" yes", "\n", "no"), "yes"),
        (("<end>", " x"), ""),
        ((" 17", "32"), "1732"),
    ],
)
def test_the_first_word_is_the_answer(said: tuple[str, ...], text: str, demo: "infoflow.Model") -> None:
    pieces = tuple(infoflow.text.tokens.Token(4 if t == "<end>" else 1000 + i, t) for i, t in enumerate(said))
    gen = replace(infoflow.generate(demo, "a", 1), pieces=pieces, n_prompt=0)
    found, over = corrections._said(demo, gen, True)
    assert found == text
    assert all(corrections._said(demo, replace(gen, pieces=(*pieces, *more)), True)[0] == text for more in MORE) == over


@pytest.mark.parametrize(
    ("written", "one_word", "text", "asks"),
    [
        ((" swim", "ming", " pools", ".", "\n", "more"), True, "swimming", [4] * 5),
        ((" swim", "ming", " pools", ".", "\n", "more"), False, "swimming pools.", [7, 7, 7, 7, 12]),
        ((" s", "w", "i", "m", "ming", " pools"), True, "swimming", [4, 7] * 4 + [4, 12]),  # a word that is longer
    ],
)
def test_an_answer_is_its_first_word_or_its_first_line(
    written: tuple[str, ...], one_word: bool, text: str, asks: list[int], demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks: for an answer, for a conversation, or with a request; and the conversation goes on with it."""
    asked: list[corrections.GenerationRequest] = []

    def run(request: corrections.GenerationRequest, model: "infoflow.Model", told: object = None) -> "infoflow.Generation":
        asked.append(request)
        said = tuple(infoflow.text.tokens.Token(1000 + i, t) for i, t in enumerate(written[: request.max_new_tokens]))
        pieces = (*model.encode(request.prompt), *said)
        return replace(made.generation([[1.0]], 1), pieces=pieces, n_prompt=len(pieces) - len(said))

    monkeypatch.setattr(corrections.GenerationRequest, "run", run)
    monkeypatch.setattr(corrections.LensRequest, "run", lambda *_: made.lens([[1], [1], [1]]))
    more = {"form": "plain text", "one_word": one_word, "max_new_tokens": 7}
    assert corrections.answer(demo, [("user", "a")], **more).text == text
    found = infoflow.correct(demo, "a", ["b", "c"], **more)
    assert [a.text for a in found.answers] == [text] * 3 and found.turns[1] == found.turns[-1] == ("assistant", text)
    assert corrections.CorrectionRequest(prompt=("a",), form=Form.PLAIN, one_word=one_word).run(demo).answers[0].text == text
    assert [r.max_new_tokens for r in asked] == asks


def test_parts_of_a_conversation_are_named_in_order(demo: "infoflow.Model") -> None:
    turns = (("user", "a "), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e"))
    written = demo.conversation(turns, Form.PLAIN)
    ids = written.ids
    gen = replace(made.generation([[1.0]], 1), pieces=demo.encode((*ids, 5)), n_prompt=len(ids))
    names, part_of = corrections.parts_of(made.answer(turns=turns, generation=gen, turn_of=written.turn_of))
    assert names == (
        "start",
        "template",
        "question: a",
        "answer 1: b",
        "correction 1: c",
        "answer 2: d",
        "correction 2: e",
        "answer cue",
    )
    assert part_of[0] == 0 and set(part_of) == set(range(8))
    whole = [t.text for t in gen.pieces[: len(ids)]]
    for number, letter in enumerate("abcde", 2):
        assert letter in "".join(t for t, p in zip(whole, part_of, strict=True) if p == number)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: infoflow.correct(m, "  ", WRONG), "turn of the conversation is empty"),
        (lambda m: infoflow.correct(m, QUESTION, ""), "turn of the conversation is empty"),
        (lambda m: infoflow.correct(m, QUESTION, WRONG, form="letter"), "There is no form 'letter'"),
        (lambda m: infoflow.correct(tiny.model(), QUESTION, WRONG, form="chat"), "no chat template"),
        (lambda m: infoflow.correct(m, QUESTION, WRONG, contrast="Why?"), "are held against each other"),
        (lambda m: infoflow.correct(m, QUESTION, WRONG, contrast=["a", "b", "c"]), "3 turns of the user's, the conversation 2"),
        (lambda m: corrections.answer(m, []), "must be the user's"),
        (lambda m: corrections.answer(m, [("user", "a"), ("assistant", "b")]), "must be the user's"),
    ],
)
def test_what_can_not_be_done_is_said(call, message: str, demo: "infoflow.Model") -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadPrompt, match=message):
        call(demo)


def test_answers_of_two_conversations_are_not_compared(demo: "infoflow.Model", paris: "infoflow.Correction") -> None:
    other = corrections.answer(demo, [("user", "What color is the sky?")])
    with pytest.raises(BadPrompt, match="not of one conversation"):
        corrections.change(demo, other, paris.answers[1])


def test_layers_and_attention_are_those_of_the_run(paris: "infoflow.Correction") -> None:
    before, after = paris.answers
    rows = tables.layers(before, after)
    assert rows.columns.tolist() == ["layer", "“Paris”", "others", "“Rome”", "others after"]
    assert rows["layer"].iloc[0] == "Layer 5" and rows["layer"].iloc[-1] == "Embedding"
    assert rows["“Rome”"].iloc[0] == pytest.approx(float(after.generation.prob[0]), abs=1e-4)
    assert all(text.count("%") == 3 for text in rows["others"])
    bars, first = tables.attended(after, "one head", 5, 2, hide_first=False)
    row = after.generation.pattern[5, 2, 0]
    assert bars["share"].sum() == pytest.approx(1, abs=1e-5) and first == pytest.approx(float(row[0]))
    assert bars.loc[bars["name"] == "Rome", "share"].sum() == pytest.approx(
        float(row[[i for i, t in enumerate(after.generation.pieces[: len(row)]) if t.text == " Rome"]].sum()), abs=1e-5
    )
    hidden, _ = tables.attended(after, "last layer", 0, 0)
    assert hidden["share"].sum() == pytest.approx(1, abs=1e-5) and "⟨bos⟩" not in hidden["name"].tolist()


def test_a_conversation_is_kept_and_read_again() -> None:
    kept = Conversation("demo", "abc", Form.CHAT, (QUESTION, WRONG), ("Paris", "Rome"))
    assert load_conversation(save_conversation(kept)) == kept
    for bad in (
        b"",
        b"{}",
        b"\xff",
        b'{"infoflow": "flow"}',
        save_conversation(kept).replace(b'"said": [', b'"said": [1, '),
        b"[1]",
        save_conversation(kept).replace(b'"chat"', b'"letter"'),
    ):
        with pytest.raises(InfoflowError, match="no saved conversation"):
            load_conversation(bad)
    for said in ((), ("x",) * 21, ("x" * 5000,)):
        with pytest.raises(InfoflowError, match="A conversation has 1 to 20 turns"):
            load_conversation(save_conversation(replace(kept, said=said)))
    assert tables.other_answers(("Paris", "Rome"), ("Paris", "Rome")) == ""
    assert "answer 2 is “Oslo”, saved was “Rome”" in tables.other_answers(("Paris", "Rome"), ("Paris", "Oslo"))


def test_a_first_word_of_several_tokens_keeps_its_others(demo: "infoflow.Model", paris: "infoflow.Correction") -> None:
    """Without a mark before the text the first token is a piece of a word: hiding it hides no more than itself."""
    found = paris.answers[0]
    pieces = tuple(infoflow.text.tokens.Token(i, t) for i, t in enumerate(("Un", "usual", " word")))
    pattern = np.zeros_like(found.generation.pattern)[:, :, :1, :3]
    pattern[-1, :, 0] = (0.5, 0.3, 0.2)
    gen = replace(
        infoflow.generate(demo, [1, 2, 3], 1), pieces=(*pieces, found.generation.pieces[-1]), n_prompt=3, pattern=pattern
    )
    bars, first = tables.attended(replace(found, generation=gen), "last layer", 0, 0)
    assert dict(zip(bars["name"], bars["share"], strict=True)) == pytest.approx({"Unusual": 0.6, "word": 0.4})
    assert first == pytest.approx(0.5)


def test_an_answer_can_be_stopped_while_it_is_written(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run", lambda *_: pytest.fail("it went on to read what was written"))

    def stop(done: int, total: int) -> None:
        raise infoflow.Cancelled("stopped")

    with pytest.raises(infoflow.Cancelled):
        corrections.answer(demo, [("user", QUESTION)], on_progress=stop)


@pytest.mark.parametrize("form", ["chat", "plain text"])
def test_what_is_said_before_the_question_is_a_part_of_its_own(form: str, demo: "infoflow.Model") -> None:
    found = infoflow.correct(demo, "What is the capital of France?", "No, the answer is Rome.", form=form, system="Be brief.")
    (change,) = found.changes
    assert change.parts[2] == "system: Be brief." and change.parts[3].startswith("question: ")
    generation = change.after.generation
    of_it = [t.text for t, part in zip(generation.pieces[: generation.n_prompt], change.part_of, strict=True) if part == 2]
    assert "".join(of_it).strip() == "Be brief."
    assert change.difference is None or change.to_frame()["logit"].sum() == pytest.approx(change.difference.total, abs=1e-4)
    plain = infoflow.correct(demo, "What is the capital of France?", "No, the answer is Rome.", form=form)
    assert generation.prompt_ids != plain.changes[0].after.generation.prompt_ids


@pytest.mark.slow
@pytest.mark.parametrize("form", ["chat", "plain text"])
def test_a_conversation_is_held_against_one_with_other_words(form: str, demo: "infoflow.Model") -> None:
    said = (QUESTION.replace("France", "Spain"), WRONG.replace("Rome", "Berlin"))
    found = infoflow.correct(demo, QUESTION, WRONG, form=form, contrast=said)
    change = found.changes[0]
    turns = [("user", said[0]), ("assistant", change.before.text), ("user", said[1])]
    ids = demo.conversation(turns, Form.of(form)).ids
    told = infoflow.attribute(
        demo, change.after.generation.prompt_ids, change.after.token, against=change.before.token, contrast=list(ids)
    )
    np.testing.assert_array_equal(change.difference.specific, told.specific)
    table = change.to_frame().set_index("part")
    assert set(table.index[table["specific"] != 0]) == {"question: " + QUESTION, "correction 1: " + WRONG}
    np.testing.assert_allclose(table["specific"] + table["hindsight"], table["logit"], atol=1e-5)
    assert table["specific"].sum() == pytest.approx(float(told.specific.sum()), abs=1e-4)
    assert [*found.to_frame().columns[-2:]] == ["specific", "hindsight"]
    question = infoflow.correct(demo, QUESTION, WRONG, form=form, contrast=said[0]).changes[0].to_frame().set_index("part")
    assert set(question.index[question["specific"] != 0]) == {"question: " + QUESTION}
    bank = infoflow.correct(demo, QUESTION, WRONG, form=form, contrast="bank").changes[0]
    assert np.abs(bank.difference.specific).max() > 0.1 and "Beyond the contrast “correction 1" in bank.summary()
