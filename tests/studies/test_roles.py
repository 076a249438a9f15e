"""Roles: who plays them is read off patterns and contributions, and what is left without them off runs of their own."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

import infoflow
from infoflow.analyses.circuits import MLP, Knockouts
from infoflow.interventions import Mean
from infoflow.pictures.roles import picture
from infoflow.studies import roles as studied
from infoflow.studies.roles import CARRIERS, LOOKS, MLPS, MOVERS, SCORED, Role
from infoflow.summaries import roles as verdicts
from infoflow.text.examples import PRESETS
from tests.helpers import made
from tests.helpers.drawn import drawing

IOI = "When Mary and John went to the store, John gave a drink to"


def test_movers_look_at_the_answer_and_nothing_is_left_without_them(demo: infoflow.Model) -> None:
    found = infoflow.roles(demo, IOI, " Mary", " John")
    movers = found.role(MOVERS)
    attn, split = infoflow.attention(demo, IOI), infoflow.attribute(demo, IOI, " Mary", " John")
    at = split.tokens.index(" Mary") if " Mary" in split.tokens else 2
    assert movers.members and all(attn.pattern[layer, head, -1, at] >= LOOKS for layer, head in movers.members)
    assert movers.share == pytest.approx(sum(split.by_head[u] for u in movers.members) / split.direct_total, abs=1e-5)
    knock = Knockouts(demo, demo.encode(IOI), [split.target, split.against or 0])
    (left, nothing), lead = knock.leads([list(movers.members), knock.units])
    assert movers.left == pytest.approx((left - nothing) / (lead - nothing), abs=1e-5) and movers.needed
    assert found.role(MLPS).members == tuple((layer, MLP) for layer in range(6))
    assert len(found.to_frame()) == len(found.roles) == 6


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ioi", "induction", "factual", "copying", "duplicate"])
def test_every_examples_known_circuit_has_a_verdict(key: str, demo: infoflow.Model) -> None:
    prompt = next(p.prompt for p in PRESETS if p.key == key)
    first, second = infoflow.decompose(demo, prompt, top_k=2).top
    found = infoflow.roles(demo, prompt, first.id, second.id)
    said = verdicts.of_example(found, key)
    assert len(said) == len(verdicts.EXPECTED[key]) and all(s.text.endswith(".") for s in said)
    assert key == "induction" or any(": yes" in sentence.text for sentence in said)
    assert np.isfinite([role.left for role in found.roles]).all()


def test_duplicate_token_heads_are_there_where_words_come_again_and_the_bundled_model_goes_on_without_them(
    demo: infoflow.Model,
) -> None:
    prompt = next(p.prompt for p in PRESETS if p.key == "duplicate")
    found = infoflow.roles(demo, prompt, " green", "red")
    duplicate, induction, movers = verdicts.of_example(found, "duplicate")
    heads, pattern = found.role(SCORED["duplicate token"]), infoflow.attention(demo, prompt).pattern
    ids = [t.id for t in demo.encode(prompt)]
    before = [(i, j) for i in range(len(ids)) for j in range(1, i) if ids[i] == ids[j] and i > 8]
    assert heads.members and all(
        sum(pattern[layer, head, i, j] for i, j in before) > 0.1 * len({i for i, _ in before}) for layer, head in heads.members
    )
    assert duplicate.text.startswith("Duplicate-token heads find the same token before: not needed, ") and not heads.needed
    assert ": yes, " in induction.text and ": yes, " in movers.text


def test_induction_heads_are_those_whose_knock_out_destroys_copying(demo: infoflow.Model) -> None:
    """Calibrated on random tokens said twice, not on this prompt."""
    calibrated = infoflow.calibrate(demo).labels(0.4)
    heads = [(int(layer), int(head)) for layer, head in np.argwhere(calibrated == "induction")]
    prompt = "The cat sat on the mat. The cat sat on the"
    split = infoflow.attribute(demo, prompt, " mat")
    knock = Knockouts(demo, demo.encode(prompt), [split.target])
    (left, nothing), lead = knock.leads([heads, knock.units])
    assert heads and (left - nothing) / (lead - nothing) < 0.5


def test_a_verdict_says_who_what_and_what_is_left(demo: infoflow.Model) -> None:
    found = infoflow.roles(demo, "The capital of France is", " Paris", " Rome")
    carriers = verdicts.verdict(found, found.role(CARRIERS))
    assert carriers.startswith("Carriers bring what “France” says to the end: yes, ") and "knocking them out" in carriers
    assert verdicts.verdict(found, found.role(SCORED["induction"])).endswith("no, there are none on this prompt.")
    drawn = drawing(picture(found).chart)
    played = [role.name for role in found.roles if role.members]
    assert len(drawn.of("rect")) == len(played) < len(found.roles), "a role that nobody plays has no bar"


def test_where_the_parts_hardly_speak_for_an_answer_no_role_is_judged(demo: infoflow.Model) -> None:
    found = replace(infoflow.roles(demo, "The capital of France is", " Paris", " Rome"), lead=2.5, nothing=2.4)
    for said in (verdicts.sentences(found), verdicts.of_example(found, "factual")):
        assert [s.text for s in said] == [
            "The lead is +2.5, and +2.4 with every head and MLP at its mean over neutral texts: they hardly speak for this "
            "answer, so that no role is judged."
        ]


def knocked_out(heads: Iterable[tuple[int, int]]) -> list[Mean]:
    """Each head's z at its mean over neutral texts."""
    return [Mean("z", int(layer), None, int(head), prompts="bank") for layer, head in heads]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", "smollm2"])
def test_the_heads_that_patching_finds_are_those_that_the_answer_needs(name: str, request: pytest.FixtureRequest) -> None:
    """Without the three heads that bring back most, less than half of the lead of the name said once is left."""
    model = request.getfixturevalue({"demo": "demo", "smollm2": "smol"}[name])
    change = infoflow.patch(model, IOI, IOI.replace(", John", ", Mary"), target=" Mary", against=" John").change("logit_diff")
    strongest = [divmod(int(i), change.shape[1]) for i in np.argsort(-change.ravel())[:3]]

    def lead(changes: list[Mean]) -> float:
        lens = infoflow.logit_lens(
            model, IOI, positions=[-1], rows=["embed"], targets=[" Mary", " John"], mids=False, interventions=changes
        )
        return float(lens.target_logits[-1, -1] @ [1, -1])

    assert lead(knocked_out(strongest)) < 0.5 * lead([])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["demo", "smollm2"])
def test_the_heads_that_calibration_calls_induction_do_the_copying(name: str, request: pytest.FixtureRequest) -> None:
    """Random tokens said twice: the second time each is foreseen, but without those heads; without as many others it still is."""
    model = request.getfixturevalue({"demo": "demo", "smollm2": "smol"}[name])
    draw = np.random.default_rng(0)
    said = [int(i) for i in draw.choice(np.arange(300, model.sizes().vocabulary - 300), 12, replace=False)]
    twice = (0, *said, *said[:-1])
    labels = infoflow.calibrate(model).labels()
    found = [tuple(map(int, at)) for at in np.argwhere(labels == "induction")]
    others = [tuple(map(int, at)) for at in np.argwhere(labels != "induction")]
    assert found

    def foreseen(heads: Iterable[tuple[int, int]]) -> float:
        read = range(14, len(twice))
        lens = infoflow.logit_lens(model, twice, 1, said, knocked_out(heads), mids=False, positions=read, rows=["embed"])
        return float(np.mean([lens.target_probs[-1, i, p - 12] for i, p in enumerate(read)]))

    as_many = [others[i] for i in draw.choice(len(others), len(found), replace=False)]
    before = foreseen([])
    without = foreseen(found)
    assert without < 0.1 * before and foreseen(as_many) > 10 * without


def test_what_is_needed_is_what_leaves_less_than_half() -> None:
    role = Role(name="movers", members=((0, 1),), share=0.5, left=0.5)
    assert not role.needed and replace(role, left=0.49).needed and not replace(role, left=0.49, members=()).needed


@pytest.mark.parametrize(("ids", "moves"), [((5, 6, 1), [(0, 1)]), ((5, 1, 6), [(0, 0)]), ((1, 5, 6), []), ((5, 6, 8), [])])
def test_a_mover_looks_at_the_answer_wherever_it_stands(ids: tuple[int, ...], moves: list[tuple[int, int]]) -> None:
    """Head 0.0 looks at the place before, head 0.1 at its own; the answer is token 1."""
    pattern = np.zeros((2, 2, 3, 3))
    pattern[0, 0, 2, 1] = pattern[0, 1, 2, 2] = 1.0
    split = made.attribution([9.0, 1.0, 0.5], by_head=np.full((2, 2), 10, np.float32))
    rests, found = studied._members(split, made.attention(pattern), ids)
    assert rests == 1 and found[MOVERS] == moves and found[MLPS] == [(0, MLP), (1, MLP)]
    assert found[CARRIERS] == ([] if ids[1] == 1 else [(0, 0)])
    least = np.full((2, 2), np.float32(studied.WRITES * split.direct_total))
    same = replace(split, by_head=least, direct_total=float(least[0, 0]) / studied.WRITES)
    assert studied._members(same, made.attention(pattern), ids)[1][MOVERS] == moves, "as much as is asked for is enough"
