"""Kinds of silent faults, and what was tried of each: a wrong number or label that nothing tells of.

Every row runs. Where a kind has tests of its own, they go further; here stands what was tried, in one place.
"""

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import infoflow
from infoflow.analyses import selftest
from infoflow.analyses.request import as_prompt
from infoflow.errors import BadPrompt, InfoflowError
from infoflow.files import formats, strict
from infoflow.metrics import heads
from infoflow.models import decoding
from infoflow.pictures import glyphs
from infoflow.tables import corrections as correction_tables
from infoflow.text.characters import printable, shortened, spaces, width
from infoflow.text.tokens import Token, as_id, groups_of, label, sources_of, unique, visible
from infoflow.text.vocabulary import Vocabulary, joined
from infoflow.ui import blocks
from infoflow.ui.asking import fits_in_a_link
from tests.helpers import made, tiny, tokenizer_kinds

PROMPT = "When Mary"


def own(model: "infoflow.Model", prompt: str = PROMPT) -> torch.Tensor:
    """The model's own logits after a prompt."""
    with torch.no_grad():
        logits: torch.Tensor = model._hf(torch.tensor([[t.id for t in model.encode(prompt)]])).logits[0, -1]
    return logits


def one_word(family: str) -> bool:
    """Flow, attribution, generation and lens name one number for one logit."""
    model = tiny.model(family)
    logits = own(model)
    flow, gen = infoflow.decompose(model, PROMPT), infoflow.generate(model, PROMPT, 1)
    best = flow.top[0].id
    found = infoflow.attribute(model, PROMPT, best)
    lens = infoflow.logit_lens(model, PROMPT, positions=[-1])
    all_of = [flow.top[0].logit, found.model_total, float(gen.logit[0]), float(gen.logits[0, 0]), float(lens.logits[-1, 0, 0])]
    assert all_of == pytest.approx([float(logits[best])] * 5, rel=1e-4)
    summed = float(flow.source_logits[:, [t.id for t in flow.targets].index(best)].sum())
    assert summed == pytest.approx(found.total, rel=1e-3) == pytest.approx(float(gen.total[0]), rel=1e-3)
    return (found.total == pytest.approx(found.model_total, rel=1e-4)) != bool(found.softcap) and bool(found.note) == bool(
        found.softcap
    )


def lead(family: str) -> bool:
    """The lead of one logit over another is that of the model's own."""
    model = tiny.model(family)
    found, logits = infoflow.attribute(model, PROMPT, 5, against=9), own(model)
    return found.model_total == pytest.approx(float(logits[5] - logits[9]), abs=1e-4)


def refused(verdict: str) -> bool:
    """A family that computes something else carries the self-test's verdict in any analysis, and the user is warned."""
    more = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 40}
    name, sizes = ("Qwen2Moe", more) if verdict == "unsupported" else ("Starcoder2", {})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = infoflow.attention(infoflow.wrap_model(tiny.other_model(name, **sizes), tiny.tokenizer()), PROMPT)
    assert any("Do not rely on the numbers" in str(w.message) for w in told) == (verdict == "unsupported")
    return result.provenance.verdict == verdict


def nothing_passes(value: float) -> bool:
    """A number that is none is below no limit."""
    flow = replace(made.flow(), logit_error=value)
    return selftest.judge(flow).verdict == selftest.Verdict.UNSUPPORTED


def strict_json(value: Any) -> bool:
    read = json.loads(strict.as_json({"a": [value]}), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return read == {"a": [None]}


def flow_json() -> bool:
    broken = replace(made.flow(), logit_error=float("nan"), error=np.full((3, 2, 4), np.inf, np.float32))
    read = json.loads(formats.as_json(broken), parse_constant=lambda name: pytest.fail(name))
    return read["logit_error"] is None and read["error"][0][0][0] is None


def greedy(name: str, value: Any) -> bool:
    hf = tiny.hf_model("llama")
    before = infoflow.generate(infoflow.wrap_model(hf, tiny.tokenizer()), PROMPT, 4).output_ids
    setattr(hf.generation_config, name, value)
    return infoflow.generate(infoflow.wrap_model(hf, tiny.tokenizer()), PROMPT, 4).output_ids == before


def stretches(rope: dict[str, Any], expected: int) -> bool:
    from types import SimpleNamespace

    return len(decoding.alike(SimpleNamespace(rope_parameters=rope, max_position_embeddings=8), range(4, 12))) == expected


def vocabulary(kind: str, **more: Any) -> Vocabulary:
    return Vocabulary(tokenizer_kinds.made(kind, **more), 10_000, None)


def joins(kind: str, text: str) -> bool:
    return joined(vocabulary(kind).encode(text)[1:]) == text


def notes(kind: str, prompt: Any, said: str) -> bool:
    found = vocabulary(kind)
    return said in " ".join(found.notes(prompt, found.encode(prompt)))


CHATML = (
    "<|im_start|>system\nBe kind<|im_end|>"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>{% endfor %}"
)


def part(text: str, expected: str) -> bool:
    """A turn's own words, whatever the template writes around them."""
    of = vocabulary("bytes", chat_template=CHATML)
    found = of.chat((("user", text),), True)
    tokens = of.tokens(found.ids)
    return joined([t for t, turn in zip(tokens, found.turn_of, strict=True) if turn == 0]) == expected


def kind_of(ids: list[int], looks_at: list[int]) -> str:
    pattern = np.zeros((1, 1, len(ids), len(ids)))
    pattern[0, 0, np.arange(len(ids)), looks_at] = 1
    return str(heads.score(pattern, ids).labels()[0, 0])


def says(call: Callable[[], Any], words: str) -> bool:
    with pytest.raises(InfoflowError, match=words):
        call()
    return True


def answer_of(text: str) -> bool:
    changed = made.change(made.attribution([1.0, 2.0], model_total=0.48))
    return text in correction_tables.said(changed)


WORD, WRITTEN, NAMES, SOURCES, TOLD, HEADS, EDGES, SHOWN = (
    "one word, one quantity", "what was written is what is read", "one name for an id", "sources are numbers",
    "what changed is told", "kinds of heads", "edges", "typed text is no markup",
)  # fmt: skip
TABLE: list[tuple[str, str, Callable[[], Any]]] = [
    *(
        (WORD, f"a logit of {name}, from four analyses", lambda name=name: one_word(name))
        for name in ("llama", "cohere", "granite", "gemma2", "gpt2")
    ),
    *((WORD, f"a lead of {name}", lambda name=name: lead(name)) for name in ("cohere", "granite", "gemma2")),
    (WORD, "the lead that the Corrections page says", lambda: answer_of("by 0.48 logits")),
    (WORD, "a family that the self-test refuses", lambda: refused("unsupported")),
    (WORD, "an unknown family that it does not refuse", lambda: refused("exact")),
    *((WORD, f"an error of {value}", lambda value=value: nothing_passes(value)) for value in (math.nan, math.inf)),
    *((WORD, f"{value} in JSON", lambda value=value: strict_json(value)) for value in (math.nan, math.inf, -math.inf)),
    (WORD, "a flow of broken numbers in JSON", flow_json),
    (WRITTEN, "suppressed tokens", lambda: greedy("suppress_tokens", [35, 67, 70])),
    (WRITTEN, "a forced end", lambda: greedy("forced_eos_token_id", 8)),
    (WRITTEN, "guidance", lambda: greedy("guidance_scale", 3.0)),
    (WRITTEN, "a least length", lambda: greedy("min_new_tokens", 60)),
    (WRITTEN, "a watermark", lambda: greedy("watermarking_config", {"bias": 9.0})),
    (WRITTEN, "strings that stop", lambda: greedy("stop_strings", ["a"])),
    (WRITTEN, "several sequences", lambda: greedy("num_return_sequences", 2)),
    (
        WRITTEN,
        "LongRoPE across its switch",
        lambda: stretches({"rope_type": "longrope", "original_max_position_embeddings": 7}, 2),
    ),
    (
        WRITTEN,
        "LongRoPE before its switch",
        lambda: stretches({"rope_type": "longrope", "original_max_position_embeddings": 70}, 1),
    ),
    (WRITTEN, "dynamic scaling", lambda: stretches({"rope_type": "dynamic"}, 4)),
    (WRITTEN, "scaling that does not depend on the length", lambda: stretches({"rope_type": "yarn"}, 1)),
    (WRITTEN, "a turn that stands in the template too", lambda: part("user", "user")),
    (WRITTEN, "a turn that is a mark", lambda: part("<|im_end|>", "<|im_end|>")),
    (WRITTEN, "a turn with the template's own message", lambda: part("Be kind", "Be kind")),
    *((NAMES, f"four spaces, {kind}", lambda kind=kind: joins(kind, "a    b")) for kind in tokenizer_kinds.LOSSLESS),
    *((NAMES, f"spaces before a text, {kind}", lambda kind=kind: joins(kind, "  a b")) for kind in tokenizer_kinds.LOSSLESS),
    *(
        (NAMES, f"a real replacement character, {kind}", lambda kind=kind: joins(kind, "a\ufffdb"))
        for kind in tokenizer_kinds.LOSSLESS
    ),
    (NAMES, "bytes that are no character", lambda: label(Token(0, "\ufffd", raw=b"\xe4")) == "⟨E4⟩"),
    (NAMES, "forty spaces", lambda: label(Token(0, " " * 40)) == visible(" " * 40) == spaces(" " * 40) == "␣×40"),
    (NAMES, "a no-break space", lambda: label(Token(0, "\xa0")) == "⍽"),
    (NAMES, "a zero-width space", lambda: label(Token(0, "\u200b")) == "⟨ZWSP⟩"),
    (NAMES, "a joiner alone", lambda: label(Token(0, "\u200d")) == "⟨ZWJ⟩"),
    (NAMES, "a family of joined emoji", lambda: label(Token(0, "👨\u200d👩\u200d👧")) == "👨\u200d👩\u200d👧"),
    (NAMES, "a mark without its letter", lambda: label(Token(0, "\u0301")) == "◌\u0301"),
    (NAMES, "a direction mark", lambda: printable("a\u202eb") == "a⟨RLO⟩b"),
    (NAMES, "a long name of joined emoji is cut between them", lambda: shortened("👨\u200d👩" * 9, 3) == "👨\u200d👩" * 2 + "…"),
    (
        NAMES,
        "how wide ideographs are",
        lambda: [width(t) for t in ("日本", "ab", "é", "👨\u200d👩\u200d👧", "日\ufe00")] == [4, 2, 1, 2, 2],
    ),
    (NAMES, "glyphs of our own signs", lambda: glyphs.lacking(["⟨bos⟩␣⏎⇥⍽◌₁"]) == ""),
    (NAMES, "an end that is spelled like a beginning", lambda: label(Token(0, "", name="</s>")) == "⟨/s⟩"),
    (NAMES, "[/INST] and [INST]", lambda: label(Token(0, "", name="[/INST]")) != label(Token(0, "", name="[INST]"))),
    (SOURCES, "a made-up name meets a real one", lambda: len(set(unique(["a", "a", "a·2"]))) == 3),
    (SOURCES, "the word bias", lambda: "bias" not in groups_of("tokens", [Token(0, "bias"), Token(1, " bias")])),
    (SOURCES, "a group named bias", lambda: sources_of([Token(0, "a"), Token(1, "b")], ["bias", "b"])[0] == ["bias·2", "b"]),
    (TOLD, "lower case", lambda: notes("WordPiece", "The CAT", "to lower case")),
    (TOLD, "composed letters", lambda: notes("bytes, composed", "e\u0301", "Unicode's NFC")),
    (TOLD, "a beginning said twice", lambda: notes("bytes", "<s>a", "begins twice")),
    (TOLD, "an end in the middle", lambda: notes("bytes", "a</s>b", "stands in the middle")),
    (TOLD, "a beginning in the middle", lambda: notes("bytes", "a<s>b", "stands in the middle")),
    (TOLD, "pads", lambda: notes("bytes", "a<pad><pad>", "2 of the tokens are pads")),
    (TOLD, "ids without the beginning", lambda: notes("bytes", [5, 6], "is not there")),
    (HEADS, "ha ha ha, each on itself", lambda: kind_of([1, 5, 5, 5], [0, 1, 2, 3]) == heads.UNKNOWN),
    (HEADS, "two tokens", lambda: kind_of([1, 5], [0, 0]) == heads.UNKNOWN),
    (HEADS, "a sink that is said again", lambda: kind_of([5, 6, 7, 5, 8, 5, 9, 5], [0] * 8) == heads.DIFFUSE),
    (HEADS, "the token before, which is the same", lambda: kind_of([1, 5, 5, 5, 5, 5], [0, 0, 1, 2, 3, 4]) != "previous token"),
    (HEADS, "one position of evidence", lambda: kind_of([1, 5, 6, 7, 5], [0, 0, 0, 0, 1]) == heads.DIFFUSE),
    (EDGES, "half a surrogate", lambda: says(lambda: tiny.model().encode("a\ud83d"), "half of one")),
    *(
        (EDGES, f"{given!r} among ids", lambda given=given: says(lambda: as_prompt([1, given]), "whole numbers"))
        for given in ("a", 2.5, None, True)
    ),
    (EDGES, "a float as a target", lambda: says(lambda: as_id(2.5), "Token ids are whole numbers; “2.5” is none")),
    (EDGES, "a number as a prompt", lambda: says(lambda: as_prompt(5), "text or token ids")),
    (
        EDGES,
        "ids of numpy and torch",
        lambda: as_prompt(np.array([1, 2])) == as_prompt(torch.tensor([1, 2])) == (1, 2) and as_id(np.int64(3)) == 3,
    ),
    (EDGES, "an id beyond the embeddings", lambda: says(lambda: tiny.model().encode([300]), "no token 300")),
    (EDGES, "a target beyond them", lambda: says(lambda: tiny.model().token_id(300), "no token 300")),
    (EDGES, "a missing folder", lambda: says(lambda: formats.check_place("/no/such/place/a.json"), "no folder")),
    (EDGES, "8,000 ideographs in a link", lambda: not fits_in_a_link("猫" * 8000) and fits_in_a_link("猫" * 500)),
    (SHOWN, "an arrow", lambda: blocks.plain("a -> b->c").count("\u2060") == 1),
    (SHOWN, "a comparison", lambda: blocks.plain("x >= 3, y>=4").count("\u2060") == 1),
    (SHOWN, "a rule of equals signs", lambda: blocks.plain("a\n===") == "a\\\n\\=\\=\\="),
    (SHOWN, "indented code", lambda: blocks.plain("    x") == "\xa0\xa0\xa0\xa0x"),
    (SHOWN, "markup of all kinds", lambda: all(f"\\{c}" in blocks.plain("*_`[]<>#$:~|") for c in "*_`[]<>#$:~|")),
]


def test_there_are_sixty_rows_and_every_kind() -> None:
    assert len(TABLE) >= 60 and {kind for kind, *_ in TABLE} == {WORD, WRITTEN, NAMES, SOURCES, TOLD, HEADS, EDGES, SHOWN}
    assert len({(kind, tried) for kind, tried, _ in TABLE}) == len(TABLE)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tried", "holds"), TABLE, ids=[f"{kind}: {tried}" for kind, tried, _ in TABLE])
def test_what_was_tried(kind: str, tried: str, holds: Callable[[], Any]) -> None:
    assert holds()


def test_a_row_can_fail() -> None:
    with pytest.raises(BadPrompt):
        as_prompt(["5"])
    assert not joins("WordPiece", "The CAT") and kind_of([1, 5, 6, 7, 8], [0, 0, 1, 2, 3]) == "previous token"
