"""Requests: one value an analysis, which is its key, its file and its provenance, and which makes the result again."""

import inspect
import json
from contextlib import nullcontext
from dataclasses import MISSING, fields, replace
from typing import Any

import numpy as np
import pytest

import infoflow
from infoflow.analyses import perform, selftest
from infoflow.analyses.activations import ActivationsRequest
from infoflow.analyses.attention import AttentionRequest, CalibrationRequest
from infoflow.analyses.attribution import AttributionRequest, Direct
from infoflow.analyses.carriers import CarriersRequest
from infoflow.analyses.causal import By, CausalRequest
from infoflow.analyses.circuits import CircuitRequest
from infoflow.analyses.direct import DirectRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.generation import GenerationRequest
from infoflow.analyses.graph import GraphRequest
from infoflow.analyses.location import LocationRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.analyses.pairs import PairsRequest
from infoflow.analyses.patching import Method, PatchRequest, Units
from infoflow.analyses.promotions import PromotionsRequest
from infoflow.analyses.query_key import QueryKeyRequest
from infoflow.analyses.readers import ReadersRequest
from infoflow.analyses.request import Request, check_position, from_dict, known
from infoflow.analyses.stability import StabilityRequest
from infoflow.analyses.sweeps import Direction
from infoflow.errors import BadPrompt, Cancelled, TooLarge, UnsupportedModel
from infoflow.interventions import Noise, Zero
from infoflow.models.spec import ModelSpec
from infoflow.studies.corrections import CorrectionRequest
from infoflow.studies.roles import RolesRequest
from infoflow.text.alignment import Align
from infoflow.text.conversations import Form
from tests.helpers import tiny

PROMPT = "The capital of France is"
SPEC = ModelSpec(name="a/b", revision="c0ffee", dtype="bfloat16")
REQUESTS: list[Request[Any]] = [
    FlowRequest(model=SPEC, prompt=PROMPT, sources="words", targets=(" Paris", 7), top_k=3),
    FlowRequest(prompt=(5, 6, 7), sources=("a", "b", "a")),
    AttributionRequest(
        prompt=PROMPT,
        target=" Paris",
        against=5,
        position=2,
        centred=True,
        direct=Direct.WITHOUT_NORM,
        contrast=("The capital of Italy is", "The capital of Spain is"),
    ),
    DirectRequest(prompt=PROMPT, target=" Paris", against=5, position=2, centred=True, direct=Direct.WITHOUT_NORM),
    AttentionRequest(prompt=PROMPT),
    CalibrationRequest(length=5, samples=2, seed=9),
    LensRequest(prompt=PROMPT, k=2, targets=(5,), mids=False),
    PromotionsRequest(prompt=PROMPT, position=-2, mids=False),
    ActivationsRequest(prompt=PROMPT),
    StabilityRequest(prompt=PROMPT, position=2, sources="words"),
    LocationRequest(prompt=PROMPT, target=" Paris", against=5, position=2, centred=True, top_k=3, contrast="bank"),
    GraphRequest(prompt=PROMPT, target=" Paris", against=5, position=2, threshold=0.1),
    ReadersRequest(prompt=PROMPT, layer=1, head=3, target=" Paris", against=5, position=2),
    CausalRequest(prompt=PROMPT, target=" Paris", against=5, by=By.SWAP, position=2, sources="words"),
    PatchRequest(
        prompt=PROMPT,
        corrupted=Noise("embed", 2.0, positions=3),
        target=" Paris",
        against=5,
        site="mlp",
        units=Units.LAYERS,
        positions=(1, "France"),
        layers=(0, 2),
        averaged=(0, "France"),
        frozen=5,
        direction=Direction.NOISING,
        position=2,
        align=Align.END,
        draws=3,
        direct=True,
    ),
    PairsRequest(
        prompt=PROMPT,
        corrupted="The capital of Italy is",
        target=" Paris",
        against=5,
        heads=((1, 0), (0, 3)),
        positions=(1, "France"),
        layers=(0, 2),
        averaged=2,
        frozen=5,
        direction=Direction.NOISING,
        position=2,
        align=Align.END,
        draws=3,
    ),
    CircuitRequest(prompt=PROMPT, target=" Paris", against=5, keep=0.6, position=2, texts=("The capital of Spain is",)),
    RolesRequest(prompt=PROMPT, target=" Paris", against=5, position=2),
    CarriersRequest(prompt=PROMPT, layer=1, position=3, source="France", stage="mid", sources="words"),
    QueryKeyRequest(prompt=PROMPT, layer=1, head=3, query=-1, key_position=2, against=0, sources="words"),
    GenerationRequest(prompt=PROMPT, max_new_tokens=3, temperature=0.5, top_p=0.9, seed=4, form=Form.CHAT, k=2, thinking=True),
    CorrectionRequest(prompt=("What?", "No."), form=Form.CHAT, one_word=False, max_new_tokens=4),
]


def test_every_analysis_has_a_request_here() -> None:
    assert {r.analysis for r in REQUESTS} == known().keys()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.analysis)
def test_a_request_is_plain_values_and_comes_back(request_: Request[Any]) -> None:
    written = json.loads(json.dumps(request_.to_dict()))
    again = from_dict(written)
    assert again == request_ and type(again) is type(request_) and hash(again) == hash(request_)
    assert written.keys() == {"analysis", *(f.name for f in fields(request_))}


OTHER: dict[str, Any] = {
    "model": ModelSpec(name="other"), "prompt": "else", "sources": "sentences", "targets": (1,), "top_k": 4, "target": 9,
    "against": 8, "position": 1, "centred": False, "direct": Direct.FOLDED, "length": 6, "samples": 3, "seed": 1, "k": 7,
    "mids": True, "positions": (0,), "layer": 2, "source": 1, "stage": "post", "max_new_tokens": 9, "temperature": 0.1,
    "top_p": 0.5, "form": Form.PLAIN, "one_word": True, "thinking": False, "written": (1, 2),
    "corrupted": "The capital of Spain is", "site": "z", "units": Units.AUTO, "layers": (1,),
    "frozen": None, "averaged": (0,),
    "direction": Direction.DENOISING, "align": Align.NONE, "draws": 1, "method": Method.GRADIENT, "receiver": "logits",
    "texts": "bank", "keep": 0.7,
    "head": 2, "query": -2, "key_position": 1, "by": By.ZERO, "system": "Be brief.", "contrast": "another", "output": (3, 4),
    "threshold": 0.02, "kind": "frozen", "read": "last", "rows": ("embed",), "lens": "some/lens.pt", "digest": "x", "heads": None,
    "strongest": 4,
}  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.analysis)
def test_no_field_is_left_out_of_the_key(request_: Request[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {request_.key}
    monkeypatch.setattr("infoflow.analyses.request.as_interventions", lambda given: tuple(given))
    for field in fields(request_):
        value = (Zero("mlp"),) if field.name == "interventions" else OTHER[field.name]
        if field.name == "prompt" and isinstance(request_, CorrectionRequest):
            value = ("else",)
        if isinstance(request_, PairsRequest) and field.name in ("corrupted", "site"):
            value = {"corrupted": "another", "site": "v"}[field.name]
        if field.name == "direct" and isinstance(request_, PatchRequest):
            value = False
        keys.add(replace(request_, **{field.name: value}).key)
    for field in fields(ModelSpec):
        keys.add(replace(request_, model=replace(request_.model, **{field.name: "x"})).key)
    assert len(keys) == 1 + len(fields(request_)) + len(fields(ModelSpec))


def test_requests_of_two_kinds_with_the_same_fields_have_two_keys() -> None:
    class Twin(AttentionRequest):
        analysis = "twin"

    assert Twin(prompt=PROMPT).key != AttentionRequest(prompt=PROMPT).key


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.analysis)
def test_a_function_takes_what_its_request_holds(request_: Request[Any]) -> None:
    taken = set(inspect.signature(getattr(infoflow, request_.function)).parameters) - {"on_progress", "on_token", "model"}
    held = set(request_.arguments())
    assert taken == held | {"metric"} if isinstance(request_, PatchRequest | PairsRequest) else taken == held
    names = {f.name for f in fields(request_)} - {"model"}
    assert len(held) >= len(names) - 2  # by other names, or made again


@pytest.mark.parametrize("kind", dict.fromkeys(type(r) for r in REQUESTS), ids=lambda kind: kind.analysis)
def test_what_is_left_out_is_what_its_function_takes_then(kind: type[Request[Any]]) -> None:
    taken = inspect.signature(getattr(infoflow, kind.function)).parameters
    left_out = {f.name: f.default for f in fields(kind) if f.default is not MISSING and f.name in taken and f.name != "model"}
    assert left_out == {name: taken[name].default for name in left_out}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"analysis": "magic", "prompt": "a"}, "no analysis 'magic'"),
        ({"prompt": "a"}, "no analysis 'None'"),
        ({"analysis": "flow"}, "prompt: Field required"),
        ({"analysis": "flow", "prompt": 5}, "prompt"),
        ({"analysis": "flow", "prompt": "a", "colour": 1}, "colour"),
        ({"analysis": "flow", "prompt": "a", "model": {"name": "x", "key": "secret"}}, "model.key"),
        ({"analysis": "attribution", "prompt": "a", "target": 1, "direct": "sideways"}, "direct"),
        ({"analysis": "generation", "prompt": "a", "max_new_tokens": "many"}, "max_new_tokens"),
        ({"analysis": "flow", "prompt": "x", "model": "smollm2"}, 'model: Input should be an object: {"name": "demo"}.'),
    ],
)
def test_what_is_no_request_is_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadPrompt, match=message):
        from_dict(values)


RESULTS = {
    "flow": (lambda m: infoflow.decompose(m, PROMPT, sources="words", targets=[" Paris"]), "gram"),
    "attribution": (lambda m: infoflow.attribute(m, PROMPT, " Paris", against=" Rome"), "by_source"),
    "direct": (lambda m: infoflow.direct(m, PROMPT, " Paris", against=" Rome"), "by_head"),
    "attention": (lambda m: infoflow.attention(m, PROMPT), "pattern"),
    "logit_lens": (lambda m: infoflow.logit_lens(m, PROMPT, 3, [" Paris"], mids=False, positions=[-1]), "target_logits"),
    "promotions": (lambda m: infoflow.promotions(m, PROMPT, 2), "gained"),
    "activations": (lambda m: infoflow.activations(m, PROMPT), "resid_post"),
    "stability": (lambda m: infoflow.stability(m, PROMPT, 3, sources="words"), "dots"),
    "location": (lambda m: infoflow.locate(m, PROMPT, " Paris", against=" Rome"), "by_cell"),
    "graph": (lambda m: infoflow.graph(m, PROMPT, " Paris", against=" Rome", threshold=0.02), "by_source"),
    "readers": (lambda m: infoflow.readers(m, PROMPT, 3, 1, " Paris", against=" Rome"), "by_head"),
    "causal": (lambda m: infoflow.causal(m, PROMPT, " Paris", against=" Rome", sources="words"), "effect"),
    "patching": (lambda m: infoflow.patch(m, PROMPT, "The capital of Italy is"), "live"),
    "pairs": (lambda m: infoflow.patch_pairs(m, PROMPT, "The capital of Italy is", strongest=3), "heads"),
    "circuits": (lambda m: infoflow.circuit(m, PROMPT, " Paris", " Rome"), "knocked"),
    "roles": (lambda m: infoflow.roles(m, PROMPT, " Paris", " Rome"), "lead"),
    "carriers": (lambda m: infoflow.carriers(m, PROMPT, 5, 5, "France"), "by_head"),
    "query_key": (lambda m: infoflow.query_key(m, PROMPT, 3, 1, -1, 4, against=2), "parts"),
    "generation": (lambda m: infoflow.generate(m, PROMPT, 2, temperature=0.7, seed=3), "by_source"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RESULTS)
def test_a_result_carries_the_request_that_makes_it_again(name: str, demo: infoflow.Model) -> None:
    make, array = RESULTS[name]
    result = make(demo)
    made = result.provenance
    assert made.request.model == demo.spec and made.model == "demo" and made.revision == demo.revision and made.prompt == PROMPT
    again = from_dict(json.loads(json.dumps(made.to_dict()))["request"]).run(demo)
    np.testing.assert_array_equal(getattr(again, array), getattr(result, array))
    assert again.provenance == made and type(made).from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_what_a_reader_leaves_open_is_settled(demo: infoflow.Model) -> None:
    typed = AttributionRequest(prompt=PROMPT, target="Paris", against="Rome").exactly(demo)
    assert (typed.target, typed.against) == (demo.token_id(" Paris"), demo.token_id(" Rome")) and typed.model == demo.spec
    assert LensRequest(prompt=PROMPT, targets=("Paris",)).exactly(demo).targets == (demo.token_id(" Paris"),)
    assert GenerationRequest(prompt="a", form=Form.AUTO).exactly(demo).form == Form.PLAIN
    assert CorrectionRequest(prompt=("a",)).exactly(demo).form == Form.CHAT
    assert CorrectionRequest(prompt=("a",)).exactly(tiny.model()).form == Form.PLAIN


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: r.analysis)
def test_an_estimate_comes_before_the_run(request_: Request[Any], demo: infoflow.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "run", lambda *_: pytest.fail("the model ran"))
    monkeypatch.setattr(demo, "generate", lambda *_: pytest.fail("the model wrote"))
    found = request_.estimate(demo)
    read = {
        "calibration": 1 + 2 * 5,  # a mark, and five tokens said twice
        "generation": len(demo.chat([("user", PROMPT)])) + 3,
        "corrections": len(demo.chat([("user", "What?"), ("assistant", "…"), ("user", "No.")])) + 4,
    }
    of_prompt = 3 if request_.prompt == (5, 6, 7) else 6
    assert found.n_tokens == read.get(request_.analysis, of_prompt)
    assert found.bytes > 0 and str(found).startswith("about ")


def test_a_conversation_is_reckoned_with_where_the_two_must_take_turns() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}"
        "{% endif %}{{ m['content'] }}\n{% endfor %}"
    )
    model = infoflow.wrap_model(tiny.hf_model("llama"), tokenizer)
    request = CorrectionRequest(prompt=("ab", "cd", "ef"))
    one = CorrectionRequest(prompt=("ab",)).estimate(model)
    assert request.estimate(model).n_tokens > one.n_tokens
    said = lambda doing, fraction: None  # noqa: E731
    assert len(perform.perform(request, lambda spec, say: nullcontext(model), said).result.changes) == 2


def test_smaller_requests_fit(demo: infoflow.Model) -> None:
    large = FlowRequest(prompt="The old wizard walked through the forest. " * 12)
    with pytest.raises(TooLarge):
        large.run(demo)
    offers = large.smaller(demo)
    assert [kind for kind, *_ in offers] and all(replace(large, sources=kind) == small for kind, small, _ in offers)
    kind, small, cost = offers[-1]
    flow = small.run(demo)
    assert len(flow.source_labels) == cost.n_sources <= 16 and AttentionRequest(prompt="a").smaller(demo) == []


# ------------------------------------------------------------------ perform


def test_progress_is_told_in_words_and_can_stop_the_run(demo: infoflow.Model) -> None:
    said: list[tuple[str, float]] = []
    for request in (FlowRequest(prompt=PROMPT), LensRequest(prompt=PROMPT), GenerationRequest(prompt=PROMPT, max_new_tokens=2)):
        perform.perform(request, lambda spec, say: nullcontext(demo), lambda doing, fraction: said.append((doing, fraction)))
    words = [doing for doing, _ in said]
    assert any(w.startswith("Layer 6 of 6 · 6 tokens in 6 sources, about") for w in words) and "Layer 6 of 6" in words
    assert any(w.startswith("Writing, 2 of at most 2:") for w in words)
    assert any(w.startswith("Reading what was written") for w in words) and all(0 <= f <= 1 for _, f in said)

    def stop(doing: str, fraction: float) -> None:
        if doing.startswith("Layer 2"):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        perform.perform(FlowRequest(prompt=PROMPT), lambda spec, say: nullcontext(demo), stop)


def test_a_model_is_tested_once_and_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = tiny.model(), []
    real = selftest.check
    monkeypatch.setattr(perform, "check", lambda m: asked.append(m) or real(m))
    said: list[tuple[str, float]] = []

    def hear(doing: str, fraction: float) -> None:
        said.append((doing, fraction))

    for _ in range(2):
        found = perform.perform(AttentionRequest(prompt="ab"), lambda spec, say: nullcontext(model), hear)
    assert len(asked) == 1 and said.count(("Self-test …", 0.0)) == 1
    assert found.verdict.verdict == "exact" and found.cost is not None and not found.has_template
    other = tiny.model()
    monkeypatch.setattr(
        perform, "check", lambda m: selftest.Check(verdict=selftest.Verdict.UNSUPPORTED, reason="It does not run.", errors={})
    )
    with pytest.raises(UnsupportedModel, match="It does not run"):
        perform.perform(AttentionRequest(prompt="ab"), lambda spec, say: nullcontext(other), lambda doing, fraction: None)


@pytest.mark.slow
def test_a_study_lets_a_cache_have_its_parts(demo: infoflow.Model) -> None:
    kept: dict[str, Any] = {}
    ran: list[str] = []

    def part(request: Request[Any], on_progress: Any) -> Any:
        if request.key not in kept:
            ran.append(request.analysis)
            kept[request.key] = request.run(demo, on_progress)
        return kept[request.key]

    two = CorrectionRequest(prompt=("What is the capital of France?", "No, the answer is Rome."))
    found = two.run(demo, run_part=part)
    assert [a.text for a in found.answers] == ["Paris", "Rome"]
    assert ran == ["generation", "logit_lens"] * 2 + ["logit_lens", "attribution"]
    ran.clear()
    more = replace(two, prompt=(*two.prompt, "No, it is Oslo.")).run(demo, run_part=part)
    assert len(more.changes) == 2 and ran == ["generation", "logit_lens", "logit_lens", "attribution"]  # the new turn's alone


@pytest.mark.parametrize(("position", "there"), [(-4, False), (-3, True), (0, True), (2, True), (3, False)])
def test_a_prompt_of_three_tokens_has_three_positions_from_either_end(position: int, there: bool) -> None:
    with nullcontext() if there else pytest.raises(BadPrompt, match=f"no position {position}; the prompt has 3 tokens"):
        check_position(position, 3)
