"""Memory and time of every analysis reckoned by hand for a model of a few numbers, and what is refused or offered by them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from infoflow.analyses import (
    activations,
    attention,
    attribution,
    carriers,
    causal,
    circuits,
    cost,
    direct,
    flow,
    flow_cost,
    frozen_lens,
    generation,
    graph,
    jacobian,
    location,
    logit_lens,
    promotions,
    readers,
    reruns,
)
from infoflow.analyses.cost import Estimate
from infoflow.errors import TooLarge
from infoflow.models import memory
from infoflow.models.sizes import Sizes
from infoflow.studies import roles
from infoflow.text.tokens import Token

SMALL = Sizes(
    layers=2, d_model=4, d_head=3, heads=2, kv_heads=1, vocabulary=10, hidden=5, parameters=1000, mapped_parameters=100,
    passing_parameters=960,
    biased=False, parallel=False, half=False,
)  # fmt: skip


def model(allowed: int = 10**9, takes: int | None = None, speed: float = 1e4, **sizes: Any) -> Any:
    """One on this machine; with `takes`, hosted by a service that sends so many bytes back at most."""
    return SimpleNamespace(
        sizes=lambda: replace(SMALL, **sizes), speed=lambda: speed, memory_limit=lambda: allowed, hosted=takes is not None,
        connection=None if takes is None else SimpleNamespace(limit=takes), encode=lambda prompt: [Token(1, "a")] * len(prompt),
    )  # fmt: skip


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps in between take 2000 bytes, 500 numbers; what they were allowed is noted."""
    asked: list[int] = []
    monkeypatch.setattr(memory, "chunk", lambda allowed: asked.append(allowed) or 2000)
    monkeypatch.setattr(memory, "product", lambda allowed: 500)
    return asked


# 6 tokens apart: 6 * 7 / 2 = 21 rows of 4: state 84; gram 2 * 2 * 6 * 36 = 864; seen 6 * (24 + 15) + 2 * 36 = 306;
# attention 21 * (8 + 18 + 3) + 6 * 6 * 9 = 933; MLP 21 * (8 + 10) = 378; forward 60 + 3 * 72 = 276
# 6 in 3 sources and the bias: 6 * 4 / 2 + 6 = 18 rows: state 72; gram 2 * 2 * 6 * 16 = 384; attention 18 * 29 + 6 * 4 * 9 = 738
@pytest.mark.parametrize(
    ("sizes", "n_sources", "floats"),
    [
        ({}, None, 84 + 864 + 306 + 933),
        ({}, 9, 84 + 864 + 306 + 933),  # no more sources than tokens
        ({"parallel": True}, 6, 2 * 84 + 864 + 306 + 933),
        ({"half": True}, 6, 84 + 864 + 306 + 933 + 100 // 2 + 4 * 5),
        ({"hidden": 50}, 6, 84 + 864 + 6 * (24 + 150) + 72 + 21 * (8 + 100)),
        ({"vocabulary": 1000}, 6, 84 + 864 + 306 + 6000 + 216),
        ({"biased": True}, 3, 72 + 384 + 306 + 738),
    ],
)
def test_memory_of_a_decomposition(sizes: dict[str, Any], n_sources: int | None, floats: int) -> None:
    found = flow_cost.estimate(model(**sizes), 6, n_sources)
    assert found.bytes == 4 * floats + 6_000_000 and not found.hosted
    assert (found.n_tokens, found.n_sources) == (6, 4 if n_sources == 3 else 6)


def test_steps_in_between_take_no_more_than_their_chunk(chunks: list[int]) -> None:
    assert flow_cost.estimate(model(allowed=77), 6).bytes == 4 * (84 + 864 + 306 + 500) + 6_000_000  # attention would take 933
    assert flow_cost.estimate(model(hidden=50), 6).bytes == 4 * (84 + 864 + 1116 + 500) + 6_000_000  # the MLP 2268
    assert chunks == [77, 77, 10**9, 10**9]


def test_time_of_a_decomposition() -> None:
    """Multiply-adds: 21 rows through the maps, 6 tokens through all, inner products 4 L T S^2 d; and numbers moved."""
    adds, moved = 21 * 100 + 6 * 1000 + 4 * 2 * 6 * 36 * 4, 2 * 21 * (32 + 20)
    seconds = flow_cost.estimate(model(speed=1e4), 6).seconds
    assert seconds == pytest.approx(0.02 + 0.004 * 2 + 1.1 * adds / 1e4 + moved / 8e8, rel=1e-9)
    fast = flow_cost.estimate(model(speed=1e30), 6).seconds
    assert fast is not None and fast - 0.028 == pytest.approx(moved / 8e8, rel=1e-4)


def test_what_comes_back_of_a_hosted_decomposition_is_packed() -> None:
    found = flow_cost.estimate(model(takes=1, biased=True), 6, 3)
    assert found.bytes == 2 * 2 * 6 * 5 * 6 * 4 // 6 and found.n_sources == 4 and found.hosted and found.seconds is None
    assert str(found) == "about 1 MB to bring back"
    assert flow_cost.estimate(model(takes=1), 3).bytes == 2 * 2 * 3 * 4 * 5 * 4 // 6


def test_memory_of_the_other_analyses(chunks: list[int]) -> None:
    here, hosted, half = model(), model(takes=1), model(half=True)
    assert attention.needed_bytes(here, 6) == 4 * (2 * 2 * 36 + 5 * 2 * 36 + 60)
    assert attention.needed_bytes(hosted, 6) == 4 * (2 * 2 * 2 * 36 + 5 * 2 * 36 + 60)
    backward = 2 * (2 * 36 + 6 * (20 + 8)) + 60
    assert attribution.needed_bytes(here, 6) == 4 * backward
    assert attribution.needed_bytes(half, 6) == 4 * (backward + 100)
    lens = logit_lens.needed_bytes  # residuals twice, logits, theirs where it reads; 500 // 40 is 12 cells together
    assert lens(here, 6, True) == 4 * (2 * 5 * 6 * 4 + 24 * 10 + 3 * 120 + 3 * (12 // 5 + 1) * 10 + 3 * 2 * 36 + 2 * 120)
    assert lens(here, 8, False) == 4 * (2 * 3 * 8 * 4 + 32 * 10 + 3 * 120 + 3 * (12 // 3 + 1) * 10 + 3 * 2 * 64 + 2 * 120)
    assert lens(here, 6, True, 1) == 4 * (2 * 5 * 4 + 14 * 10 + 3 * 50 + 3 * 2 * 10 + 3 * 2 * 36 + 2 * 50)
    assert lens(model(vocabulary=99), 2, False) == 4 * (2 * 3 * 2 * 4 + 8 * 99 + 3 * 99 + 3 * 99 + 24 + 2 * 99)  # one at least
    large = lens(model(vocabulary=3_000_000), 2, False)  # what is worked in at a time is 4 MB at most
    assert large == 4 * (2 * 3 * 2 * 4 + (8 + 3 + 3) * 3_000_000 + 24 + 2 * 1_000_000)
    more = 2 * 6 * (2 * 2 + 2 * 3) + 2 * 2 * 10  # 4 tokens and 2 to come
    assert generation.needed_bytes(here, 4, 2) == 6 * backward + 4 * more + 2000


@pytest.mark.parametrize(("allowed", "rows"), [(1, 1), (10**4, 1), (6 * 2752, 3), (10**9, 1024 // 6)])
def test_as_many_runs_go_together_as_half_of_what_is_allowed_holds(allowed: int, rows: int) -> None:
    """Of six tokens; one at least, and no more than fill a pass."""
    run = object.__new__(reruns.Reruns)
    run.model, run.tokens, run.other = model(allowed), (1,) * 6, (1,) * 6
    assert run.row_bytes() == 4 * (6 * (4 * 5 + 10 * 4) + 4 * 2 * 36 + 4 * 10) == 2752
    assert run.at_once() == rows


def test_requests_say_what_their_analysis_takes() -> None:
    here = model()
    six = {"prompt": "abcdef"}
    assert attention.AttentionRequest(**six).estimate(here).bytes == attention.needed_bytes(here, 6)
    assert attribution.AttributionRequest(**six, target=1).estimate(here).bytes == attribution.needed_bytes(here, 6)
    carried = carriers.CarriersRequest(**six, layer=0, position=0, source=0).estimate(here)
    # up to layer 0: 6 * (3 + 2) and 2 * 4; reads 2 * 2 * 6; one layer's run 6 * (40 + 20 + 24) + 5 * 2 * 36; logits 60
    assert carried.bytes == 4 * (30 + 8 + 24 + 864 + 60) and (carried.n_tokens, carried.n_sources) == (6, 1)
    assert carriers.needed_bytes(here, 6, 1) == carried.bytes + 4 * (30 + 8)  # and up to the next
    assert carriers.needed_bytes(model(half=True), 6, 0) == carried.bytes + 4 * (100 // 2 + 4 * 5)
    for mids in (True, False):
        assert logit_lens.LensRequest(**six, mids=mids).estimate(here).bytes == logit_lens.needed_bytes(here, 6, mids)
    three = logit_lens.LensRequest(**six, positions=(-1, 0, 2)).estimate(here)
    assert three.bytes == logit_lens.needed_bytes(here, 6, True, 3)
    assert promotions.PromotionsRequest(**six).estimate(here).bytes == logit_lens.needed_bytes(here, 6, True, 1)
    wrote, in_half = (direct.DirectRequest(**six, target=1).estimate(one) for one in (here, model(half=True)))
    assert (wrote.n_tokens, wrote.n_sources, wrote.bytes) == (6, 1, logit_lens.needed_bytes(here, 6, False, 1))
    assert in_half.bytes == wrote.bytes + 4 * 2 * 2 * 3 * 4  # each layer's output map
    calibrated = attention.CalibrationRequest(length=4).estimate(here)
    assert calibrated.bytes == attention.needed_bytes(here, 9) and calibrated.n_tokens == 9
    assert flow.FlowRequest(**six, sources="2 spans").estimate(here) == flow_cost.estimate(here, 6, 2)


def test_memory_of_residuals_heads_and_edges() -> None:
    here, biased = model(), model(biased=True)
    backward = attribution.needed_bytes(here, 6) // 4
    assert activations.needed_bytes(here, 6) == 4 * (2 * (6 * (20 + 6) + 2 * 36) + 60)
    assert activations.ActivationsRequest(prompt="abcdef").estimate(here).bytes == activations.needed_bytes(here, 6)
    few, many = 2 * 36 // 20, 2 * 36 // 2  # moves of a hundredth of the logit or more, or any
    assert graph.needed_bytes(here, 6, 0.01) == 4 * (backward + 6 * 2 * 36 + 2 * few * (7 + 3 * graph.HEADS))
    assert graph.needed_bytes(here, 6, 0.009) == 4 * (backward + 6 * 2 * 36 + 2 * many * (7 + 3 * graph.HEADS))
    weak = graph.GraphRequest(prompt="abcdef", target=1, threshold=0.001)
    assert weak.estimate(here).bytes == graph.needed_bytes(here, 6, 0.001)
    kept = 2 * 6 * (4 + 6 * location.KEPT)
    assert location.needed_bytes(here, 6) == 4 * (backward + 2 * 6 * (20 + 12) + 4 * 36 + kept)
    assert location.needed_bytes(biased, 6) == 4 * (backward + 2 * 2 * 6 * (20 + 12) + 4 * 36 + kept)
    assert location.needed_bytes(here, 6, True) == location.needed_bytes(here, 6) + 4 * 2 * 5 * 6 * 4
    assert readers.needed_bytes(here, 6) == location.needed_bytes(here, 6) + 4 * 30


def test_memory_of_states_that_are_pushed_on(chunks: list[int]) -> None:
    """Three positions of six in three rows: states twice (as they go, and a layer's), their ends twice, one layer's pattern."""
    needed = frozen_lens.needed_bytes
    plain = 4 * (2 * 3 * 3 * 4 + 2 * 3 * 3 * 4 + 3 * 2 * 36) + 2000
    assert needed(model(), 6, 3, [0, 2, 5], False, 1) == plain
    assert needed(model(), 6, 3, [0, 2, 5], False, 2) == plain + 4 * (2 * 3 * 3 * 4 + 2 * 3 * 3 * 4)
    maps = 2 * 4 * 10 + 4 * 4 * 2 * 3  # the unembedding and a layer's widest, in float32
    assert needed(model(half=True), 6, 3, [0, 2, 5], False, 1) == plain + 4 * maps
    assert needed(model(half=True, biased=True), 6, 3, [0, 2, 5], False, 1) == plain + 4 * (maps + 2 * 4 * 10)


def test_memory_of_a_fitted_lens() -> None:
    fit = object.__new__(jacobian._Fit)
    fit.model, fit.texts, fit.rows = model(), [(1,) * 6, (1,)], ("a", "b", "c")
    fit.how = jacobian._How(skip=0, directions=2, turned=False, seed=0)
    layer, back = 6 * (14 * 4 + 5 * 5 + 3 * 2 * 6), 5 * 6 * ((3 + 8) * 4 + 3 * 5 + 3 * 2 * 6)  # five directions at a time
    assert fit._needed(5) == 4 * (2 * layer + back + 3 * 4 * (2 * 4 + 2) + 2 * 6 * 10)


def test_what_runs_side_by_side_takes() -> None:
    row = 4 * (6 * (4 * 5 + 10 * 4) + 4 * 2 * 36 + 4 * 10)
    six = SimpleNamespace(n_layers=2, n_heads=2, product_bytes=10**6)

    def asked(**more: Any) -> Any:
        made = model(**more)
        made.plan = lambda: six
        return made

    of_circuit = circuits.CircuitRequest(prompt="abcdef", target=1)
    whole = of_circuit.estimate(asked())  # 4 heads and 2 MLPs, beside the run and the other
    assert (whole.bytes, whole.n_sources, whole.n_tokens) == ((2 + 6) * row, 6, 6)
    assert whole.seconds == pytest.approx(2 * 6 * 6 / 2 * (1000 - 40) / 1e4)
    three = of_circuit.estimate(asked(allowed=6 * row))  # half of it is for them
    assert three.bytes == (2 + 3) * row
    assert of_circuit.estimate(asked(takes=1)).seconds is None
    assert roles.RolesRequest(prompt="abcdef", target=1).estimate(asked()) == whole
    copy = 4 * (6 * (4 * 5 + 8 * 4) + 3 * 2 * 36 + 2 * 10)
    removed = causal.CausalRequest(prompt="abcdef", target=1, sources="2 spans")
    assert removed.estimate(asked()).bytes == max(attribution.needed_bytes(model(), 6), 32 * copy)
    six.product_bytes = 3 * copy + 1
    assert removed.estimate(asked()).bytes == max(attribution.needed_bytes(model(), 6), 3 * copy)
    assert removed.estimate(asked()).n_sources == 2


def test_an_estimate_in_words() -> None:
    plain = Estimate(n_tokens=1, n_sources=1, bytes=3_000_000)
    assert str(plain) == "about 3 MB of memory" and not plain.hosted
    assert str(replace(plain, seconds=0.0)) == "about 3 MB of memory and less than a second"


def test_what_a_machine_can_not_hold_is_refused_but_a_service_has_its_own() -> None:
    cost.refuse_here(model(allowed=5), 5, "It needs", "Shorten it")
    cost.refuse_here(model(allowed=5, takes=1), 6, "It needs", "Shorten it")
    with pytest.raises(TooLarge, match="It needs about"):
        cost.refuse_here(model(allowed=5), 6, "It needs", "Shorten it")


@pytest.fixture
def hundreds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes a hundred bytes for each source; five sources are the limit but where a test says otherwise."""
    monkeypatch.setattr(
        flow_cost, "estimate", lambda model, n, sources: Estimate(n_tokens=n, n_sources=sources, bytes=100 * sources)
    )
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", "5")


def test_refusals_are_at_the_limits_and_not_before(hundreds: None) -> None:
    flow_cost.refuse(model(allowed=500), 9, 5)
    with pytest.raises(TooLarge, match=r"^The prompt has 6 tokens; the limit is 5\..*'5 spans'.*INFOFLOW_MAX_TOKENS to 6 or"):
        flow_cost.refuse(model(allowed=10**9), 6, 6)
    with pytest.raises(TooLarge, match=r"^The prompt makes 6 sources; the limit is 5"):
        flow_cost.refuse(model(allowed=10**9), 9, 6)
    with pytest.raises(TooLarge, match=r"9 tokens in 5 sources need about.*Group it into 2 spans or fewer, or set"):
        flow_cost.refuse(model(allowed=499), 9, 5)
    with pytest.raises(TooLarge, match=r"Shorten it, or set INFOFLOW_MAX_MEMORY_MB"):
        flow_cost.refuse(model(allowed=99), 9, 5)
    flow_cost.refuse(model(allowed=1, takes=500), 9, 5)  # a service's memory is its own
    with pytest.raises(TooLarge, match=r"9 tokens in 5 sources would bring .* back"):
        flow_cost.refuse(model(takes=499), 9, 5)


def test_the_advice_of_a_high_limit_is_32_spans(hundreds: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", "50")
    with pytest.raises(TooLarge, match="'32 spans'"):
        flow_cost.refuse(model(), 99, 51)


@pytest.mark.parametrize(
    ("allowed", "most", "sources", "spans"),
    [(350, 50, 16, 2), (350, 6, 16, 3), (300, 50, 3, 3), (100, 50, 16, 1), (99, 50, 16, 0), (1600, 50, 16, 16), (400, 50, 16, 4)],
)
def test_fewer_sources_are_halved_until_they_fit(
    allowed: int, most: int, sources: int, spans: int, hundreds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", str(most))
    assert flow_cost.fewer_sources(model(allowed=allowed), 99, sources) == spans


def prompt(words: int, of: int = 2) -> list[Token]:
    """So many words of two tokens each, in sentences of twenty."""
    pieces = [" a"] + ["b"] * (of - 1)
    return [Token(1, piece + ("." if (n + 1) % 20 == 0 and piece == "b" else "")) for n in range(words) for piece in pieces]


@pytest.mark.parametrize(
    ("allowed", "most", "takes", "offered"),
    [
        (10**9, 64, None, [("64 spans", 64), ("words", 40), ("32 spans", 32), ("16 spans", 16), ("sentences", 2)]),
        (10**9, 63, None, [("words", 40), ("32 spans", 32), ("16 spans", 16), ("sentences", 2)]),
        (10**9, 40, None, [("words", 40), ("32 spans", 32), ("16 spans", 16), ("sentences", 2)]),
        (10**9, 39, None, [("32 spans", 32), ("16 spans", 16), ("sentences", 2)]),
        (1600, 64, None, [("16 spans", 16), ("sentences", 2)]),
        (1599, 64, None, [("sentences", 2)]),
        (1, 40, 1, [("words", 40), ("32 spans", 32), ("16 spans", 16), ("sentences", 2)]),  # not this machine's memory
        (1, 64, None, []),
    ],
)  # fmt: skip
def test_groupings_that_fit_are_offered_the_finest_first(
    allowed: int, most: int, takes: int | None, offered: list[tuple[str, int]], hundreds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", str(most))
    found = flow_cost.smaller_runs(model(allowed=allowed, takes=takes), prompt(40))
    assert [(kind, cost.n_sources) for kind, cost in found] == offered
    assert all(cost.n_tokens == 80 and cost.bytes == 100 * cost.n_sources for _, cost in found)


def test_a_grouping_that_groups_nothing_or_as_another_does_is_not_offered(
    hundreds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", "64")
    assert [kind for kind, _ in flow_cost.smaller_runs(model(), prompt(16, of=1))] == ["sentences"]
    assert [kind for kind, _ in flow_cost.smaller_runs(model(), prompt(32))] == ["words", "16 spans", "sentences"]
