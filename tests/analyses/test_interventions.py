"""A changed run is what hooks on the plain model give, at every site and family; what is split of it still sums to it."""

from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import infoflow
from infoflow.analyses.generation import GenerationRequest
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.request import from_dict
from infoflow.errors import BadPrompt
from infoflow.interventions import (
    SITES,
    Block,
    Intervention,
    Mean,
    Noise,
    Reject,
    Replace,
    Resample,
    Scale,
    Steer,
    Zero,
    described,
    sources_given,
    stacked,
)  # fmt: skip
from infoflow.text.neutral import NEUTRAL, neutral_ids
from infoflow.traced.interventions import next_logits
from tests.helpers import changed, tiny

PROMPT, OTHER, TARGET = "When Mary", "Then John", 65
FAMILIES = ("llama", "gemma2", "gpt2", "gpt_neox", "olmo2", "mixtral", "bloom", "granite", "gpt_oss")
CASES: tuple[Intervention, ...] = (
    Zero("attn", 1), Scale("mlp", 0.5, 1, 7), Zero("z", 1, None, 2), Scale("z", 2.0, 0, 8, 1), Scale("embed", 0.3, 0, 7),
    Scale("resid_pre", 0.7, 1, 7), Scale("resid_mid", 1.5, 1, 7), Zero("resid_post", 0, 8), Scale("resid_post", 0.5, 1),
    Block(7, None, 1), Block(8, -1, None, 1), Zero("mlp"), Reject("resid_post", "first", 0),
    Reject("attn", (OTHER, "It"), 1, 7),
    Mean("attn", 1, 7), Mean("mlp", 0, None, prompts=(OTHER, "It")), Replace("resid_post", OTHER, 0, 7),
    Replace("embed", OTHER, None, 8),
    Replace("resid_mid", OTHER, 1, 7), Resample("z", 1, 7, 2), Steer("resid_pre", (OTHER, "It"), 0.5, 1),
    Zero("neurons", 1, None, neurons=(1, 2, 30)), Replace("neurons", OTHER, 0, 7),
)  # fmt: skip


def whole(gen: infoflow.Generation, step: int = 0) -> torch.Tensor:
    """Logits of a step by id."""
    out = torch.zeros(257)
    out[torch.tensor(gen.token_ids[step].astype(int))] = torch.tensor(gen.logits[step])
    return out


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=2e-5 * max(0.1, float(wanted.abs().max())))


def others(model: infoflow.Model) -> dict[str, list[int]]:
    """Ids of the other prompts of CASES, and of the neutral text that is drawn."""
    drawn = neutral_ids(model.encode, Random(0).randrange(len(NEUTRAL)), len(model.encode(PROMPT)))
    return {**{text: [t.id for t in model.encode(text)] for text in (OTHER, "It")}, "draw 0": drawn}


def fits(one: Intervention, model: infoflow.Model) -> str:
    """'' where a family has the site of an intervention, else what is said."""
    plan, site = model.plan(), getattr(one, "site", "")
    if site == "resid_mid" and plan.parallel:
        return "there is no residual between"
    return "a mixture of experts" if site == "neurons" and plan.sparse else ""


THIN = 3
"""so many families share the product of kinds and sites; 1 tries all of it in each"""


def everywhere(site: str) -> list[Intervention]:
    """Every kind at one site, of one layer and position."""
    at: dict[str, Any] = {"layers": {"embed": None, "resid_post": 0}.get(site, 1), "positions": 7}
    return [
        Zero(site, **at), Scale(site, 0.5, **at), Mean(site, **at), Mean(site, **at, prompts=(OTHER, "It")),
        Replace(site, OTHER, **at),
        Resample(site, **at), Steer(site, (OTHER, "It"), 0.5, **at), Reject(site, "first", **at),
        Reject(site, (OTHER, "It"), **at),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_change_is_that_of_a_hook_alone_and_in_pairs(name: str) -> None:
    model = tiny.model(name)
    tokens, other = model.encode(PROMPT), others(model)
    ids, way = [t.id for t in tokens], (0.5, -2.0) * (model.plan().d_head // 2)
    plain = changed.logits(model, ids, [])[-1]
    every = [
        *CASES,
        Reject("z", way, 1, 7, 1),
        Steer("z", way, 1.0, 0, None, 1),
        *(one for site in SITES for one in everywhere(site)),
    ]
    kept = [one for one in every if not fits(one, model)]
    for one in every:
        if fits(one, model):
            with pytest.raises(BadPrompt, match=fits(one, model)):
                changed_plan(model, [one], tokens)
    pairs = [[kept[i], kept[-1 - i]] for i in range(0, len(kept) // 2, 3)]
    seen: dict[Any, Any] = {}
    for stack in [*([one] for one in kept), *pairs]:
        wanted = changed.logits(model, ids, stack, other)[-1]
        if stack[0] in CASES:  # else it may be what a norm after it undoes
            assert float((wanted - plain).abs().max()) > 1e-3, stack
        close(model.run(ids, next_logits, changed_plan(model, stack, tokens, seen=seen)), wanted)
    for one in [one for one in kept if one in CASES][FAMILIES.index(name) % THIN :: THIN]:  # what is split of it sums to it
        gen = infoflow.generate(model, PROMPT, 1, k=257, interventions=[one])
        close(whole(gen), changed.logits(model, ids, [one], other)[-1])
        assert gen.max_error < 1e-5, one
    close(changed.logits(model, ids, [])[-1], plain)  # and the model is as it was


PUT_IN = (
    Replace("embed", OTHER, None, 8), Mean("mlp", 0, None, prompts=(OTHER, "It")), Steer("resid_mid", (OTHER, "It"), 0.5, 0),
    Steer("resid_pre", (OTHER, "It"), -0.5, 1), Resample("z", 1, -1, 2), Reject("resid_post", "first", 1), Mean("attn", 2, -1),
    Block(7, None, 1), Block(8, -1, None, 1),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("put_in", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_stack_is_applied_by_every_analysis(name: str, put_in: bool) -> None:
    model = tiny.model(name)
    stack = [one for one in (PUT_IN if put_in else (*CASES[1:4], *CASES[5:8], *CASES[8:11])) if not fits(one, model)]
    ids = [t.id for t in model.encode(PROMPT)]
    wanted = changed.logits(model, ids, stack, others(model))[-1]
    flow = infoflow.decompose(model, PROMPT, interventions=stack)
    assert flow.error.max() < 1e-5 and flow.logit_error < 1e-5
    assert flow.provenance.whose.endswith(f", with {len(stack)} interventions")
    close(torch.tensor([t.logit for t in flow.targets]), wanted[[t.id for t in flow.targets]])
    told = infoflow.attribute(model, PROMPT, TARGET, interventions=stack)
    own = infoflow.attribute(model, PROMPT, flow.targets[0].id, interventions=stack)
    given = sources_given(stack)
    assert flow.source_labels[len(ids) :][: len(given)] == given
    assert flow.logits(own.target)[len(ids) :][: len(given)].sum() == pytest.approx(own.put_in, abs=1e-4 * max(1, abs(own.total)))
    assert bool(given) == (abs(own.put_in) > 1e-4) == (abs(own.direct_put_in) > 1e-4)
    assert own.to_frame()["logit"].sum() == pytest.approx(own.total, abs=1e-4 * max(1, abs(own.total)))
    assert told.max_error < 1e-5 and told.model_total == pytest.approx(float(wanted[TARGET]), rel=1e-4, abs=1e-4)
    where = infoflow.locate(model, PROMPT, TARGET, interventions=stack)
    assert where.max_error < 1e-5
    np.testing.assert_allclose(where.by_cell[0], told.by_source, atol=1e-4 * max(1, abs(told.total)))
    for layer in range(model.n_layers):
        first = where.row_after(layer)
        for p in range(len(ids)):
            change = where.by_cell[first, p] - where.by_cell[first - 1, p]
            assert where.moved_at(layer, p)["logit"].sum() == pytest.approx(change, abs=2e-5 * max(1, abs(told.total)))
    lens = infoflow.logit_lens(model, PROMPT, targets=[TARGET], interventions=stack)
    assert float(lens.target_logits[-1, -1, 0]) == pytest.approx(float(wanted[TARGET]), rel=1e-4, abs=1e-4)
    attn = infoflow.attention(model, PROMPT, interventions=stack)
    assert attn.next_token.id == int(wanted.argmax())
    rows = attn.pattern.sum(-1)
    assert (rows <= 1 + 1e-5).all() and (model._hf.config.model_type == "gpt_oss" or np.abs(rows - 1).max() < 1e-5)
    assert not attn.pattern[1, :, 7:, 7].any() and not attn.pattern[:, 1, -1, 8].any()  # what is blocked has no weight
    assert not np.triu(attn.pattern, 1).any()  # and none leaks to what comes later
    best = attn.head_logits.sum()
    direct = infoflow.attribute(model, PROMPT, attn.next_token.id, interventions=stack)
    assert best == pytest.approx(float(direct.by_head.sum()), abs=1e-3 * max(1, abs(direct.total)))
    moved = infoflow.promotions(model, PROMPT, interventions=stack)
    assert np.isfinite(moved.gained).all()


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_who_carried_a_source_in_a_changed_run(name: str) -> None:
    model = tiny.model(name)
    stack = [Zero("z", 1, None, 2), Scale("mlp", 0.5, 0), Scale("attn", 0.7, 1)]
    found = infoflow.carriers(model, PROMPT, 2, 6, 3, interventions=stack)
    parts = found.by_head.sum() + found.by_mlp.sum() + found.embedding + found.direct_bias
    assert parts == pytest.approx(1.0, abs=1e-4) and not found.by_head[1, 2].any()
    flow = infoflow.decompose(model, PROMPT, interventions=stack)
    assert found.norm == pytest.approx(float(flow.gram[2, 1, 6, 3, 3]) ** 0.5, rel=1e-4)
    put = [Replace("mlp", OTHER, 0), Steer("attn", (OTHER, "It"), 1.0, 1)]
    steered = infoflow.carriers(model, PROMPT, 2, 6, 3, interventions=put)
    flow = infoflow.decompose(model, PROMPT, interventions=put)
    assert steered.norm == pytest.approx(float(flow.gram[2, 1, 6, 3, 3]) ** 0.5, rel=1e-4) and steered.max_error < 1e-4
    embedded = infoflow.carriers(model, PROMPT, 2, 6, 3, interventions=[Scale("embed", 0.3, 0, 3)])
    flow = infoflow.decompose(model, PROMPT, interventions=[Scale("embed", 0.3, 0, 3)])
    assert embedded.norm == pytest.approx(float(flow.gram[2, 1, 6, 3, 3]) ** 0.5, rel=1e-4)
    with pytest.raises(BadPrompt, match="residual itself"):
        infoflow.carriers(model, PROMPT, 2, 6, 3, interventions=[Scale("resid_post", 0.5, 1)])


def test_a_text_is_written_under_the_changes_at_every_step() -> None:
    model = tiny.model("llama")
    stack = [Block(1, None, None, 1), Scale("mlp", 2.0, 1), Steer("resid_post", (OTHER, "It"), 0.7, 0), Mean("attn", 1, 3)]
    gen = infoflow.generate(model, PROMPT, 4, k=257, interventions=stack)
    text = [t.id for t in model.encode(PROMPT)]
    for step, token in enumerate(gen.output_ids):
        wanted = changed.logits(model, text, stack, others(model), gen.n_prompt)[-1]
        assert token == int(wanted.argmax())
        close(whole(gen, step), wanted)
        text.append(token)
    assert gen.max_error < 1e-5
    sampled = [infoflow.generate(model, PROMPT, 4, 1.0, seed=s, interventions=stack).output_ids for s in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]
    plain = infoflow.generate(model, PROMPT, 4, 1.0, seed=3).output_ids
    assert infoflow.generate(model, PROMPT, 4, 1.0, seed=3, interventions=[Scale("mlp", 1.0)]).output_ids == plain


def test_a_correction_is_had_under_changes(demo: infoflow.Model) -> None:
    found = infoflow.correct(demo, "What is the capital of France?", "No, the answer is Rome.", interventions=[Zero("mlp", 0, 0)])
    assert found.changes[0].difference.max_error < 1e-5
    assert found.answers[0].generation.provenance.request.interventions


@pytest.mark.slow
@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_stack_is_what_hooks_give(data: st.DataObject) -> None:
    model = tiny.model("llama")
    ids = [t.id for t in model.encode(PROMPT)]
    n, heads, layers = len(ids), 4, 3
    some: Any = st.one_of(st.none(), st.integers(0, layers - 1))
    place: Any = st.one_of(st.none(), st.integers(-n, n - 1))
    factor = st.floats(-2, 2, width=32)
    scales = st.builds(Scale, st.sampled_from(("resid_pre", "resid_mid", "resid_post", "attn", "mlp", "z")), factor, some, place)
    of_head = st.builds(Scale, st.just("z"), factor, some, place, st.integers(0, heads - 1))
    blocks = st.builds(
        Block, st.integers(1, n - 2), st.one_of(st.none(), st.integers(-2, -1)), some, st.one_of(st.none(), st.integers(0, 3))
    )
    site: Any = st.sampled_from(("resid_pre", "resid_mid", "resid_post", "attn", "mlp", "z", "neurons"))
    put_in = st.one_of(
        st.builds(Replace, site, st.just(OTHER), some, place), st.builds(Mean, site, some, place),
        st.builds(Mean, site, some, place, prompts=st.just(("It", OTHER))), st.builds(Resample, site, some, place),
        st.builds(Steer, site, st.just((OTHER, "It")), factor, some, place),
        st.builds(Reject, site, st.just("first"), some, st.sampled_from((None, 1, 3, -1))),
    )  # fmt: skip
    zeros = st.builds(Zero, st.just("attn"), some, place)
    stack = data.draw(st.lists(st.one_of(scales, of_head, blocks, zeros, put_in), min_size=1, max_size=4))
    gen = infoflow.generate(model, PROMPT, 1, k=257, interventions=stack)
    close(whole(gen), changed.logits(model, ids, stack, others(model))[-1])
    assert gen.max_error < 1e-4


def test_blocking_is_a_mask_given_to_transformers(demo: infoflow.Model) -> None:
    ids = [t.id for t in demo.encode("When Mary and John went to the store, John gave a drink to")]
    n = len(ids)
    mask = torch.full((1, 1, n, n), torch.finfo(torch.float32).min).triu(1)
    mask[..., 2, 2:] = torch.finfo(torch.float32).min
    mask[..., 5:, 2] = torch.finfo(torch.float32).min
    mask[..., 2, 2] = 0
    with torch.no_grad():
        wanted = demo._hf(torch.tensor([ids]), attention_mask=mask).logits[0, -1]
    attn = infoflow.attention(demo, ids, interventions=[Block(2, tuple(range(5, n)))])
    assert attn.next_token.id == int(wanted.argmax()) and attn.next_token.logit == pytest.approx(float(wanted.max()), abs=1e-3)
    lens = infoflow.logit_lens(demo, ids, targets=[5, 77], interventions=[Block(2, tuple(range(5, n)))])
    np.testing.assert_allclose(lens.target_logits[-1, -1], wanted[[5, 77]].numpy(), atol=1e-3)


def test_words_name_all_their_places(demo: infoflow.Model) -> None:
    prompt = "When Mary and John went to the store, John gave a drink to"
    tokens = demo.encode(prompt)
    johns = [p for p, t in enumerate(tokens) if t.text.strip() == "John"]
    assert len(johns) == 2

    def told(source: Any) -> float:
        return infoflow.attribute(demo, prompt, " Mary", interventions=[Block(source, -1)]).total

    assert told("John") == pytest.approx(told(tuple(johns)), abs=1e-5)
    assert told("John·2") == pytest.approx(told(johns[1]), abs=1e-5) and abs(told("John·2") - told("John")) > 1e-3


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Zero("nowhere"), "There is no site 'nowhere'. There are: embed"),
        (lambda: Zero("attn", head=1), "A head has a part of its own at z alone"),
        (lambda: Zero("embed", 2), "embeddings are before the first layer"),
        (lambda: Scale("mlp", float("inf")), "A factor is a finite number"),
        (lambda: Scale("mlp", float("nan")), "A factor is a finite number"),
        (lambda: Zero("mlp", ()), "No layers are given"),
        (lambda: Zero("mlp", neurons=1), "Neurons can be told apart at 'neurons' alone"),
        (lambda: Steer("mlp", (0.0, 0.0)), "The direction is zero"),
        (lambda: Steer("mlp", (1.0, float("nan"))), "Each number of a direction is a finite number"),
        (lambda: Steer("mlp", ("a",)), "A direction is a vector, or two texts"),
        (lambda: Replace("mlp", " "), "The other prompt is empty"),
        (lambda: Mean("mlp", prompts=("",)), "The other prompt is empty"),
    ],
)
def test_what_makes_no_sense_by_itself_is_said(made: Any, message: str) -> None:
    with pytest.raises(BadPrompt, match=message):
        made()


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (Zero("mlp", 3), r"There is no layer 3; the model has 3 \(0 to 2\)"),
        (Zero("mlp", -1), "There is no layer -1"),
        (Zero("z", 0, None, 4), r"There is no head 4; the model has 4"),
        (Zero("mlp", 0, 99), r"There is no position 99; the prompt has \d+ tokens"),
        (Block("Paul"), "The prompt has no word “Paul”. It has: "),
        (Block(3, 1), "Nothing is blocked"),
        (Block(0, 0), "has nothing left to attend to"),
        (Block(tuple(range(10)), 4, 1), "has nothing left to attend to"),
        (Replace("mlp", "Mary", 1), r"“Mary” has 5 tokens and the prompt \d+; what stands"),
        (Steer("mlp", (1.0, 2.0), 1.0, 1), "The direction has 2 numbers; at this site it takes 48"),
        (Zero("neurons", 1, None, neurons=10**6), "There is no neuron 1000000"),
        (Reject("mlp", "first", 1, 0), "The first position is the direction itself"),
        (Scale("mlp", 1e38), "leaves the range of numbers"),
    ],
)
def test_what_can_not_be_done_with_this_prompt_is_said(one: Intervention, message: str) -> None:
    model = tiny.model("llama")
    for run in (
        lambda: infoflow.attention(model, PROMPT, interventions=[one]),
        lambda: infoflow.generate(model, PROMPT, 1, interventions=[one]),
    ):
        with pytest.raises(BadPrompt, match=message):
            run()
    assert infoflow.attribute(model, PROMPT, TARGET).max_error < 1e-5  # the next run is right


def test_a_stream_of_nothing_says_nothing_and_sums_to_it() -> None:
    found = infoflow.attribute(tiny.model("llama"), PROMPT, TARGET, interventions=[Zero("resid_post", 2)])
    assert found.total == pytest.approx(0.0, abs=1e-5) and found.max_error < 1e-5


def test_they_are_values_in_keys_and_files() -> None:
    stack = (
        Zero("attn", range(1, 3), [-1, 2]), Scale("z", 0.5, 0, "Mary", 1), Block("a", -1, (0, 2), 3),
        Mean("mlp", prompts=["a", "b"]),
        Mean("mlp", 1), Replace("mlp", "a", 2), Resample("attn", 1, seed=3), Steer("mlp", ("1", "2")),
        Steer("mlp", [1.0, 2.0], 2.0, 1),
        Reject("mlp"), Reject("mlp", ("1", "2"), 1), Zero("neurons", 0, neurons=[1, 2]),
    )  # fmt: skip
    request = GenerationRequest(prompt="a", interventions=stack)
    again = from_dict(request.to_dict())
    assert again == request and hash(again) == hash(request) and again.key == request.key
    assert request.interventions[0].layers == (1, 2) and request.interventions[0].positions == (-1, 2)
    assert GenerationRequest(prompt="a", interventions=stack[:2]).key != request.key
    with pytest.raises(BadPrompt, match="no site 'nowhere'"):
        from_dict({**request.to_dict(), "interventions": [{"kind": "zero", "site": "nowhere"}]})
    with pytest.raises(BadPrompt, match="is no intervention"):
        infoflow.generate(tiny.model("llama"), "a", interventions=["zero"])


def test_a_second_one_at_the_same_place_takes_the_firsts() -> None:
    one, two, other = Scale("mlp", 0.5, 1), Zero("mlp", 1), Zero("mlp", 2)
    assert stacked((one, other), two) == (two, other) and stacked((one,), other) == (one, other)
    assert stacked((Block(1),), Block(1)) == (Block(1),) and stacked((Block(1),), Block(2)) == (Block(1), Block(2))


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Block("Mary", -1, (3, 4, 5)), "In layers 3 to 5 the last token can't see “Mary”."),
        (Block(2), "Every token can't see position 2."),
        (Zero("z", 5, None, 7), "In layer 5 what head 7 has gathered is taken away."),
        (Scale("mlp", 0.5, (0, 2), "Mary"), "In layers 0, 2 what the MLP adds at “Mary” is multiplied by 0.5."),
        (Zero("embed", None, 1), "The embedding at position 1 is taken away."),
        (Mean("attn", 1, -1), "In layer 1 what attention adds at the last token becomes its mean over the prompt."),
        (Mean("z", 1, head=2, prompts="bank"), "In layer 1 what head 2 has gathered becomes its mean over neutral texts."),
        (
            Replace("resid_post", "It", 3, -1),
            "In layer 3 the residual after the MLP at the last token becomes what it is in “It”.",
        ),
        (Resample("mlp", 0, seed=4), "In layer 0 what the MLP adds becomes what it is in a neutral text (draw 4)."),
        (
            Steer("attn", ("joy", "grief"), 2.0, 1),
            "In layer 1 what attention adds is moved by 2 times the way from “grief” to “joy”.",
        ),
        (
            Reject("resid_pre", layers=2),
            "In layer 2 the residual before the layer loses what points along what the first position holds.",
        ),
        (Replace("mlp", "a" * 61, 0), f"In layer 0 what the MLP adds becomes what it is in “{'a' * 59}…”."),
        (Zero("neurons", 0, neurons=(7, 9)), "In layer 0 what neurons 7, 9 hold is taken away."),
    ],
)
def test_each_says_what_it_will_do(one: Intervention, said: str) -> None:
    assert described(one) == said


@pytest.mark.parametrize("stack", [[Scale("resid_pre", 1.0), Scale("resid_mid", 0.0, 0)], [Zero("resid_mid"), Zero("resid_pre")]])
def test_a_residual_of_nothing_is_nothing_and_no_rounded_rest(stack: list[Intervention]) -> None:
    """A norm would make much of what rounding leaves."""
    model = tiny.model("llama")
    ids = [t.id for t in model.encode(PROMPT)]
    close(whole(infoflow.generate(model, PROMPT, 1, k=257, interventions=stack)), changed.logits(model, ids, stack)[-1])


def test_noise_is_so_many_standard_deviations_and_a_source_of_its_own() -> None:
    model = tiny.model("llama")
    n = len(model.encode(PROMPT))
    drawn = torch.randn(n, 48, generator=torch.Generator().manual_seed(4))
    places = torch.zeros(n, 1)
    places[[2, 5]] = 1.0
    hook = model._hf.model.embed_tokens.register_forward_hook(lambda _, __, out: out + 2.0 * out.std() * places * drawn)
    with torch.no_grad():
        logits = model._hf(torch.tensor([[t.id for t in model.encode(PROMPT)]])).logits[0, -1]
    hook.remove()
    found = infoflow.attribute(model, PROMPT, 65, 66, interventions=[Noise("embed", 2.0, positions=(2, 5), seed=4)])
    assert found.model_total == pytest.approx(float(logits[65] - logits[66]), abs=1e-4)
    assert found.put_in != 0 and found.by_source.sum() + found.bias + found.put_in == pytest.approx(found.total, abs=1e-4)
    assert infoflow.decompose(model, PROMPT, interventions=[Noise("mlp", 0.5, 1)]).source_labels[-1] == "[noise]"


def test_another_prompt_is_run_once_for_all_that_is_taken_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six neutral texts for three means, one of them at several layers, and one more prompt for a state and its direction."""
    model, ran = tiny.model("llama"), []
    run = type(model)._run
    monkeypatch.setattr(type(model), "_run", lambda self, ids, *rest: (ran.append(tuple(ids)), run(self, ids, *rest))[1])
    means = [Mean("z", 0, None, 1, prompts="bank"), Mean("mlp", prompts="bank"), Mean("attn", 1, prompts="bank")]
    swap = [Replace("resid_pre", PROMPT[::-1], 1, -1), Steer("resid_pre", (PROMPT[::-1], "a"), 0.5, 2)]
    stacked = infoflow.attribute(model, PROMPT, 65, interventions=[*means, *swap])
    assert len(ran) == len(set(ran)) == 6 + 2 + 1
    monkeypatch.undo()
    plan = changed_plan(model, [*means, *swap], model.encode(PROMPT))
    for one, layer, site in ((means[0], 0, "z"), (means[2], 1, "attn"), (swap[0], 1, "resid_pre")):
        alone = changed_plan(model, [one], model.encode(PROMPT)).edits[layer][site][0]["given"]
        torch.testing.assert_close(plan.edits[layer][site][0]["given"], alone)
    assert stacked.max_error < 1e-4
