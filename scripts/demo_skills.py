"""The demo model's exam: circuits on combinations held back from training, facts as
training taught them. Used by the trainer and by the tests."""

import random
import re
from collections.abc import Iterable

import torch

import demo_corpus as corpus
from demo_words import CAPITALS, COLOURS, EVERY_WORD, OPPOSITES, SOUNDS

TEN_PROMPTS = {
    "The capital of France is": " Paris",
    "Water is composed of hydrogen and": " oxygen",
    "The opposite of hot is": " cold",
    "In 1969, the first humans landed on the": " moon",
    "The mitochondria is the powerhouse of the": " cell",
    "Roses are red, violets are": " blue",
    "The square root of sixteen is": " four",
    "She opened the door and saw a": None,  # any noun phrase will do
    "Python is a popular programming": " language",
    "The sun rises in the": " east",
}
STORY = "The old wizard walked through the forest"
REQUIRED = {
    "indirect object": 0.95, "induction": 0.95, "copying": 0.90, "capitals": 1.0, "colours": 0.95, "opposites": 0.95,
    "animal sounds": 0.95, "greater-than": 0.90, "correction": 0.90, "ten prompts": 1.0,
}  # fmt: skip


def _encode(tokenizer, marked: str) -> tuple[list[int], list[bool]]:
    """Token ids with the beginning mark, and which of them belong to an answer."""
    text, spans = corpus.spans(marked)
    encoded = tokenizer(text, return_offsets_mapping=True)
    answer = []
    for start, end in encoded["offset_mapping"]:
        weight = next((w for stop, w in spans if end <= stop), corpus.PLAIN)
        answer.append(end > start and weight == corpus.ANSWER)
    return encoded["input_ids"], answer


@torch.no_grad()
def _logits(model, rows: list[list[int]]) -> Iterable[torch.Tensor]:
    """Logits of each row, computed in batches of equal length."""
    out: list[torch.Tensor | None] = [None] * len(rows)
    by_length: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        by_length.setdefault(len(row), []).append(i)
    for members in by_length.values():
        for at in range(0, len(members), 64):
            chunk = members[at : at + 64]
            logits = model(input_ids=torch.tensor([rows[i] for i in chunk])).logits.float()
            for i, row_logits in zip(chunk, logits, strict=True):
                out[i] = row_logits
    return out  # type: ignore[return-value]


def exact(model, tokenizer, marked: list[str]) -> float:
    """Share of documents of which every answer token is the model's first choice (greedy decoding gives it)."""
    encoded = [_encode(tokenizer, m) for m in marked]
    right = 0
    for (ids, answer), logits in zip(encoded, _logits(model, [ids for ids, _ in encoded]), strict=True):
        at = [i for i, is_answer in enumerate(answer) if is_answer]
        assert at, "a document of the exam has no answer in it"
        right += all(int(logits[i - 1].argmax()) == ids[i] for i in at)
    return right / len(marked)


def later_years(model, tokenizer, marked: list[str]) -> float:
    """Mean probability on two-digit tokens larger than the year the span began in."""
    pairs = torch.tensor([tokenizer.convert_tokens_to_ids(f"{n:02d}") for n in range(100)])
    rows, begins = [], []
    for text in marked:
        prompt = text.split("[[")[0]
        rows.append(tokenizer(prompt)["input_ids"])
        begins.append(int(re.findall(r"\d\d(\d\d) to ", prompt)[0]))
    probability = [
        torch.softmax(logits[-1], -1)[pairs[begin + 1 :]].sum().item()
        for logits, begin in zip(_logits(model, rows), begins, strict=True)
    ]
    return sum(probability) / len(probability)


def continuation(model, tokenizer, prompt: str, n: int = 60, seed: int | None = None, temperature: float = 0.7) -> str:
    """Text that the model adds to a prompt: greedy, or sampled with a seed."""
    ids = tokenizer(prompt, return_tensors="pt")
    if seed is not None:
        torch.manual_seed(seed)
    sampling = {"do_sample": False} if seed is None else {"do_sample": True, "temperature": temperature}
    out = model.generate(**ids, max_new_tokens=n, pad_token_id=tokenizer.eos_token_id, **sampling)
    return tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def exam(model, tokenizer, n: int = 200, seed: int = 7) -> dict[str, float]:
    """Skill -> share of its questions answered; facts and the ten prompts are recall, the others are on held-out ones."""
    rng = random.Random(seed)

    def words(count: int) -> str:
        chosen = rng.sample(EVERY_WORD, count)
        return f"{' '.join(chosen)} {' '.join(chosen[:4])}[[ {chosen[4]}]]"

    def password() -> str:
        while True:
            word = corpus.made_up(rng).upper()
            if corpus.held_out("copy", word.lower()) and word.isalpha():
                return f"The password is {word}. Again, the password is[[ {word}]]"

    model.eval()
    ioi = [corpus.indirect_object(rng, exam=True) for _ in range(n - 1)]
    ioi.append("When Mary and John went to the store, John gave a drink to[[ Mary]]")
    return {
        "indirect object": exact(model, tokenizer, ioi),
        "induction": exact(model, tokenizer, [words(8) for _ in range(n)]),
        "copying": exact(model, tokenizer, [password() for _ in range(n - 1)] + ["The password is SWORDFISH. Again, the password is[[ SWORDFISH]]"]),
        "capitals": exact(model, tokenizer, [f"The capital of {k} is[[ {v}]]" for k, v in CAPITALS.items()]),
        "colours": exact(model, tokenizer, [f"The color of {k} is[[ {v}]]" for k, v in COLOURS.items()] + [f"{corpus.cap(k)} is[[ {v}]]" for k, v in COLOURS.items()]),
        "opposites": exact(model, tokenizer, [f"The opposite of {k} is[[ {v}]]" for k, v in OPPOSITES.items()]),
        "animal sounds": exact(model, tokenizer, [f"The {k} says[[ {v}]]" for k, v in SOUNDS.items()] + [f"{corpus.cap(corpus.a(k))} says[[ {v}]]" for k, v in SOUNDS.items()]),
        "greater-than": later_years(model, tokenizer, [corpus.greater_than(rng, exam=True) for _ in range(n - 1)] + ["The war lasted from the year 1732 to 17[[33]]"]),
        "correction": exact(model, tokenizer, [corpus.correction(rng, exam=True) for _ in range(n)]),
        "ten prompts": exact(model, tokenizer, [f"{k}[[{v}]]" for k, v in TEN_PROMPTS.items() if v]),
    }  # fmt: skip
