"""Every run of a sweep is what a hook on plain transformers makes of that run alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import infoflow
from infoflow.analyses import reruns
from infoflow.analyses.patching import PatchRequest, Units, joined
from infoflow.analyses.sweeps import SITES, Direction
from infoflow.errors import BadPrompt, Cancelled, TooLarge
from infoflow.interventions import Block, Mean, Noise, Replace, Scale
from tests.helpers import patched, tiny

CLEAN, CORRUPTED = "Mary saw a", "Mary was a"
FAMILIES = list(tiny.FAMILIES)
THIN = 5
"""every fifth run of a sweep is held against its twin; 1 tries them all"""


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_site_is_what_a_hook_makes_of_it(name: str) -> None:
    model = tiny.model(name)
    clean, other = ([t.id for t in model.encode(text)] for text in (CLEAN, CORRUPTED))
    n, plan = len(clean), model.plan()
    for site in SITES:
        if site == "resid_mid":
            continue
        found = infoflow.patch(model, CLEAN, CORRUPTED, site, target=65, against=66)
        scale = max(1.0, float(np.abs(found.effect()).max()))
        assert found.effect().shape == ((3, len(found.heads), 1) if found.heads else (3, 1, n))
        units = [
            (i, h, p) for i in range(3) for h in found.heads or (None,) for p in ((5, 7, n - 1) if found.positions else (None,))
        ]
        for layer, head, p in units[SITES.index(site) % THIN :: THIN]:
            logits = patched.logits_of(model, other, clean, site, layer, head, None if p is None else [p])[-1]
            value = found.effect()[layer, head or 0, p or 0]
            assert value == pytest.approx(float(logits[65] - logits[66]), abs=2e-5 * scale), (site, layer, head, p)
        if found.positions:
            assert (np.abs(found.change()[:, :, :5]) < 1e-6).all()  # before the prompts differ
        assert np.abs(found.change()).max() > 1e-3, site
    if not plan.parallel:
        middle = infoflow.patch(model, CLEAN, CORRUPTED, "resid_mid", target=65, against=66, layers=[1])
        one = infoflow.attribute(
            model, CORRUPTED, 65, 66, interventions=[infoflow.interventions.Replace("resid_mid", CLEAN, 1, 7)]
        )
        assert middle.effect()[0, 0, 7] == pytest.approx(one.model_total, abs=1e-4)


def lead(model: infoflow.Model, base: list[int], source: list[int], *where: object, **more: object) -> float:
    logits = patched.logits_of(model, base, source, *where, **more)[-1]  # type: ignore[arg-type]
    return float(logits[65] - logits[66])


def both(model: infoflow.Model) -> tuple[list[int], list[int]]:
    clean, other = ([t.id for t in model.encode(text)] for text in (CLEAN, CORRUPTED))
    return clean, other


def test_either_direction_and_a_share_of_the_way_is_clean_at_one() -> None:
    model = tiny.model("llama")
    clean, other = both(model)
    back, broken = (
        infoflow.patch(model, CLEAN, CORRUPTED, target=65, against=66, direction=way) for way in ("denoising", "noising")
    )
    assert broken.effect()[1, 2, 0] == pytest.approx(lead(model, clean, other, "z", 1, 2), abs=1e-5)
    for found in (back, broken):
        way = float(found.clean.lead - found.corrupted.lead)
        np.testing.assert_allclose(found.effect("recovery"), (found.effect() - float(found.corrupted.lead)) / way, atol=1e-9)
        np.testing.assert_allclose(found.change(), found.effect() - float(found.unpatched.lead), atol=1e-9)
    assert back.other_labels == broken.labels and back.unpatched is back.corrupted and broken.unpatched is broken.clean
    np.testing.assert_allclose(float(back.clean.lead), float(broken.clean.lead), atol=1e-5)


def test_heads_by_positions_layers_words_and_places() -> None:
    model = tiny.model("llama")
    clean, other = both(model)
    whole = infoflow.patch(model, CLEAN, CORRUPTED, target=65, against=66, units="heads and positions", layers=[2, 0])
    assert whole.effect().shape == (2, 4, len(clean)) and whole.layers == (2, 0)
    assert whole.effect()[1, 3, 7] == pytest.approx(lead(model, other, clean, "z", 0, 3, [7]), abs=1e-5)
    layer = infoflow.patch(model, CLEAN, CORRUPTED, "mlp", target=65, against=66, units="layers", positions=["was", -1])
    assert layer.effect().shape == (3, 1, 1) and layer.together == (5, 6, 7, 8, 10)
    assert layer.effect()[1, 0, 0] == pytest.approx(lead(model, other, clean, "mlp", 1, None, [5, 6, 7, 8, 10]), abs=1e-5)
    frame = whole.to_frame()
    assert list(frame.columns[:4]) == ["layer", "head", "position", "label"] and len(frame) == 2 * 4 * len(clean)


def test_prompts_of_unlike_lengths_at_either_end() -> None:
    model = tiny.model("gpt2")
    base, source = ([t.id for t in model.encode(text)] for text in ("was a", "Mary saw a"))
    end = infoflow.patch(model, "Mary saw a", "was a", "resid_pre", target=65, against=66, align="end")
    assert end.provenance.request.align == "end"
    for layer, p in ((0, 1), (1, 3), (2, 5)):
        assert end.effect()[layer, 0, p] == pytest.approx(
            lead(model, base, source, "resid_pre", layer, None, [p], shift=5), abs=1e-5
        )
    start = infoflow.patch(model, "Mary saw a", "was a", target=65, against=66, align="start", position=3)
    logits = patched.logits_of(model, base, source, "z", 1, 2)[3]
    assert start.effect()[1, 2, 0] == pytest.approx(float(logits[65] - logits[66]), abs=1e-5)
    with pytest.raises(BadPrompt, match="no counterpart"):
        infoflow.patch(model, "Mary saw a", "was a", target=65, align="start", direction="noising")


def test_the_same_prompt_under_noise_or_a_mean_is_corrupted() -> None:
    model = tiny.model("llama")
    noise = Noise("embed", 2.0, positions=(3, 4))
    found = infoflow.patch(model, CLEAN, noise, "resid_pre", target=65, against=66)
    assert float(found.corrupted.lead) == pytest.approx(
        infoflow.attribute(model, CLEAN, 65, 66, interventions=[noise]).model_total, abs=1e-5
    )
    restored = found.effect()[0, 0]
    both_back = infoflow.patch(
        model, CLEAN, noise, "resid_pre", target=65, against=66, units="layers", positions=(3, 4), layers=[0]
    )
    assert both_back.effect()[0, 0, 0] == pytest.approx(float(found.clean.lead), abs=1e-5)
    assert found.differs == tuple(p in (3, 4) for p in range(len(found.tokens)))
    one = infoflow.attribute(model, CLEAN, 65, 66, interventions=[noise, Replace("embed", CLEAN, None, 3)]).model_total
    assert restored[3] == pytest.approx(one, abs=1e-5)
    draws = [
        infoflow.patch(model, CLEAN, Noise("embed", 2.0, positions=(3, 4), seed=s), "resid_pre", target=65, against=66).effect()
        for s in (0, 1)
    ]
    mean = infoflow.patch(model, CLEAN, noise, "resid_pre", target=65, against=66, draws=2)
    np.testing.assert_allclose(mean.effect(), np.mean(draws, 0), atol=1e-5)
    middle = infoflow.patch(model, CLEAN, Mean("embed", positions="Mary"), "attn", target=65, against=66, direction="noising")
    assert float(middle.corrupted.lead) == pytest.approx(
        infoflow.attribute(model, CLEAN, 65, 66, interventions=[Mean("embed", positions="Mary")]).model_total, abs=1e-5
    )


def test_frozen_positions_keep_what_they_write() -> None:
    """What is patched at a position reaches the end through attention of later layers alone; with the end's own writing frozen,
    nothing but the residual there changes."""
    model = tiny.model("llama")
    found = infoflow.patch(model, CLEAN, CORRUPTED, "resid_post", target=65, against=66, frozen=-1)
    free = infoflow.patch(model, CLEAN, CORRUPTED, "resid_post", target=65, against=66)
    n = len(found.tokens)
    assert np.abs(found.change()[:, 0, : n - 1]).max() < 1e-5 < np.abs(free.change()[:, 0, : n - 1]).max()
    np.testing.assert_allclose(found.change()[:, 0, n - 1], free.change()[:, 0, n - 1], atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_the_mean_over_a_range_is_put_in_at_every_place(name: str) -> None:
    """The prompts are of unlike length, so that a place's counterpart is another one, and some have none."""
    model = tiny.model(name)
    base, source = ([t.id for t in model.encode(text)] for text in ("was a", "Mary saw a"))
    over = [1, 2, 6]
    for site, layer, head in (("z", 1, 2), ("k", 0, 1), ("mlp", 1, None), ("resid_pre", 2, None)):
        more = {"target": 65, "against": 66, "align": "end", "averaged": over}
        found = infoflow.patch(model, "Mary saw a", "was a", site, **more)
        for p in (1, 3) if head is None else (None,):
            at = None if p is None else [p]
            wanted = lead(model, base, source, site, layer, head, positions=at, mean=over)
            assert found.effect()[layer, head or 0, p or 0] == pytest.approx(wanted, abs=2e-5), (site, p)
        assert found.live.all()  # also at places that are alike in both
    clean, other = both(model)
    saw, more = [5, 6, 7, 8], {"target": 65, "against": 66, "averaged": "saw"}
    word = infoflow.patch(model, CLEAN, CORRUPTED, "mlp", **more)
    assert word.effect()[1, 0, 2] == pytest.approx(lead(model, other, clean, "mlp", 1, None, [2], mean=saw), abs=2e-5)
    for site in ("mlp", "z"):
        wanted = patched.slopes(model, other, clean, site, 1, saw)
        ours = infoflow.patch(model, CLEAN, CORRUPTED, site, method="gradient", **more).change()[1]
        np.testing.assert_allclose(ours[:, 0] if site == "z" else ours[0], wanted, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "gemma2"])
def test_a_path_is_a_head_that_acts_on_another_alone(name: str) -> None:
    """By two runs of plain hooks: one where all attention after the sender keeps what it writes, whose queries (or keys, values)
    the receiver then gets in a second."""
    model = tiny.model(name)
    clean, other = both(model)
    for role in "qkv":
        found = infoflow.patch(model, CLEAN, CORRUPTED, "z", target=65, against=66, receiver=f"2.1.{role}")
        head = 1 if role == "q" else 1 * model.plan().n_kv_heads // model.plan().n_heads
        for layer, sender in ((0, 2), (1, 3)):
            wanted = patched.along_a_path(model, other, clean, (layer, sender), (2, head, role))[-1]
            value = float(wanted[65] - wanted[66])
            assert found.effect()[layer, sender, 0] == pytest.approx(value, abs=2e-5 * max(1, abs(value))), (role, layer)
        assert np.abs(found.change()[2]).max() < 1e-6 < np.abs(found.change()[:2]).max()
    direct = infoflow.patch(model, CLEAN, CORRUPTED, "z", target=65, against=66, receiver="logits", direct=True)
    whole = infoflow.patch(model, CLEAN, CORRUPTED, "z", target=65, against=66)
    np.testing.assert_allclose(direct.effect()[2], whole.effect()[2], atol=2e-5) if model.plan().parallel else None
    assert np.abs(direct.effect()[:2] - whole.effect()[:2]).max() > 1e-4
    for sender in ((0, 1), (1, 3), (2, 0)):
        logits = patched.straight(model, other, clean, sender)[-1]
        assert direct.effect()[(*sender, 0)] == pytest.approx(float(logits[65] - logits[66]), abs=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_an_estimate_is_the_gradient_times_what_would_be_put_in(name: str) -> None:
    model = tiny.model(name)
    clean, other = both(model)
    for site in SITES:
        if site == "resid_mid" and model.plan().parallel or (site == "pattern" and name == "gpt_oss"):
            continue
        found = infoflow.patch(model, CLEAN, CORRUPTED, site, target=65, against=66, method="gradient")
        exact = infoflow.patch(model, CLEAN, CORRUPTED, site, target=65, against=66)
        assert found.effect().shape == exact.effect().shape and np.isnan(found.effect("kl")).all()
        np.testing.assert_allclose(float(found.clean.lead), float(exact.clean.lead), atol=1e-4)
        by_head = site in ("z", "q", "k", "v")
        if (by_head or site in ("mlp", "resid_pre")) and name in ("llama", "gpt2", "bloom", "gemma2", "gpt_neox", "phi3"):
            wanted = patched.slopes(model, other, clean, site, 1)
            ours = found.change()[1, : len(wanted), 0] if by_head else found.change()[1, 0]
            np.testing.assert_allclose(ours, wanted, atol=2e-4 * max(1.0, float(np.abs(wanted).max())))


def test_it_is_done_in_passes_told_stopped_and_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    model, told = tiny.model("llama"), []
    whole = infoflow.patch(
        model, CLEAN, CORRUPTED, target=65, against=66, on_progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (12, 12) and told == sorted(told)
    monkeypatch.setattr(reruns, "ENOUGH", 1)
    few = infoflow.patch(model, CLEAN, CORRUPTED, target=65, against=66)
    np.testing.assert_allclose(few.effect(), whole.effect(), atol=1e-5)
    parts = [part.run(model) for part in whole.provenance.request.slices(3, 2)]
    np.testing.assert_allclose(joined(parts).effect(), whole.effect(), atol=1e-5)
    assert [part.layers for part in parts] == [(0, 1), (2,)] and joined(parts).layers == (0, 1, 2)

    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        infoflow.patch(model, CLEAN, CORRUPTED, on_progress=stop)
    assert infoflow.attribute(model, CLEAN, 65).max_error < 1e-5  # and the next run is right


def test_as_many_rows_as_heads_of_two_are_not_taken_for_them() -> None:
    """BLOOM gives a layer one bias for each head of each row: of two rows and four heads eight, as many as six runs that have
    joined two make."""
    model = tiny.model("bloom")
    clean, other = ([t.id for t in model.encode(text)] for text in ("Mary saw ab", "Mary was ab"))
    found = infoflow.patch(model, "Mary saw ab", "Mary was ab", "resid_pre", target=65, against=66)
    assert int(found.live.sum()) == 6
    for layer, p in ((0, 7), (1, 7), (2, 11)):
        assert found.effect()[layer, 0, p] == pytest.approx(lead(model, other, clean, "resid_pre", layer, None, [p]), abs=1e-5)


def test_what_is_frozen_and_patched_is_told_and_the_rest_is_held() -> None:
    model = tiny.model("llama")
    with pytest.raises(BadPrompt, match="all frozen positions are patched"):
        infoflow.patch(model, CLEAN, CORRUPTED, "z", target=65, against=66, frozen=-1)
    more = {"target": 65, "against": 66, "positions": (7, 8)}
    partly, held, free = (infoflow.patch(model, CLEAN, CORRUPTED, "z", frozen=f, **more) for f in ((8, -1), -1, None))
    np.testing.assert_allclose(partly.effect(), held.effect(), atol=1e-6)
    assert np.abs(held.change()).max() < 1e-5 < np.abs(free.change()).max()


def test_a_prefix_is_not_kept_where_positions_are_read_by_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model("llama")
    swept = reruns.Reruns(model, model.encode(CORRUPTED), both(model)[0], [65], same=6)
    assert swept.prefix == 6
    monkeypatch.setattr(model, "alike", lambda lengths: [(n, n) for n in lengths])
    assert swept.prefix == 0


def test_a_position_inside_is_read_under_changes_behind_it(demo: infoflow.Model) -> None:
    prompt = "When Mary and John went to the store, John gave a drink to"
    noisy = infoflow.patch(demo, prompt, Noise("embed", positions=-1), "mlp", position=5, layers=[0])
    assert noisy.target == infoflow.decompose(demo, [t.id for t in demo.encode(prompt)][:6], top_k=1).top[0].id


def test_interventions_hold_in_both_runs() -> None:
    model = tiny.model("llama")
    found = infoflow.patch(model, CLEAN, CORRUPTED, "mlp", target=65, against=66, interventions=[Scale("attn", 0.5, 1)])
    one = infoflow.attribute(model, CLEAN, 65, 66, interventions=[Scale("attn", 0.5, 1)])
    assert float(found.clean.lead) == pytest.approx(one.model_total, abs=1e-5)


def test_what_is_left_open_is_settled_by_the_two_runs(demo: infoflow.Model) -> None:
    found = infoflow.patch(demo, "When Mary and John went to the store, John gave a drink to")
    assert (found.target_label, found.against_label) == (" Mary", " John") and found.proposals
    assert found.provenance.request.corrupted == found.proposals[0]
    noisy = infoflow.patch(demo, "The xyzzy", layers=[0])
    assert isinstance(noisy.provenance.request.corrupted, Noise)


def test_a_sweep_of_too_much_work_is_refused_in_words_and_smaller_ones_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 11 places the first 6 are alike and computed once: 4 heads at 5 places are 20 runs a layer, of 5 of 11 tokens, through
    3, 2 and 1 of 3 layers."""
    model = tiny.model("llama")
    request = PatchRequest(prompt=CLEAN, corrupted=CORRUPTED, target=65, against=66, units=Units.HEADS_AND_POSITIONS)
    once = 11 * model.sizes().passing_parameters
    passes = 20 * (3 + 2 + 1) / 3 * 5 / 11
    monkeypatch.setattr(model, "speed", lambda: once * passes / 600.5)  # half a second above ten minutes
    assert request.estimate(model).seconds == pytest.approx(600.5)
    said = "60 patched runs of 11 tokens do the work of about 18 whole runs of the prompt: 11 minutes or more"
    with pytest.raises(TooLarge, match=said) as refused:
        request.run(model)
    assert "10 are allowed. Smaller: positions that differ, and the one that is read (" in str(refused.value)
    offers = {what.partition(" (")[0]: one for what, one, _ in request.smaller(model)}
    assert offers["the position that is read alone"].run(model).positions == (10,)
    assert offers["layers 1 to 1"].run(model).layers == (1,)
    assert offers["heads at all positions together"].run(model).runs.logit.shape == (3, 4, 1)
    assert offers["the estimate from one backward pass"].method == "gradient"
    monkeypatch.setenv("INFOFLOW_MAX_MINUTES", "11")
    assert request.run(model).runs.logit.shape == (3, 4, 11)


def test_offers_are_of_something_and_what_can_not_be_run_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads at all positions together would patch the frozen one, too; on the way to layer 1 nothing of layer 1 is."""
    model = tiny.model("llama")
    monkeypatch.setattr(model, "speed", lambda: 1.0)
    monkeypatch.setenv("INFOFLOW_MAX_MINUTES", "1")
    apart = PatchRequest(prompt=CLEAN, corrupted=CORRUPTED, target=65, against=66, units=Units.HEADS_AND_POSITIONS)
    held = replace(apart, frozen=8)
    with pytest.raises(TooLarge, match="60 patched runs"):
        held.run(model)
    monkeypatch.setenv("INFOFLOW_MAX_MINUTES", "1000000000")
    assert [what for what, _, _ in held.smaller(model)] == [
        "positions that differ, and the one that is read (36 runs)", "the position that is read alone (12 runs)",
        "layers 1 to 1 (20 runs)",
    ]  # fmt: skip
    offers = [what for what, _, _ in replace(apart, receiver="1.0.q").smaller(model)]
    assert "heads at all positions together (8 runs)" in offers and not any("layers 1 to 1" in what for what in offers)


PEER = np.load(Path(__file__).with_name("peer_maps.npz"))
"""TransformerLens 4.3's maps on the same weights, [layer, head]: `scripts/peer_maps.py`"""


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gpt_neox, sequential", "qwen2"])
def test_another_tools_maps_of_every_head_are_ours(name: str) -> None:
    model = tiny.model(name)
    found = infoflow.patch(model, CLEAN, CORRUPTED, target=65, against=66)
    np.testing.assert_allclose(found.effect()[..., 0], PEER[f"{name} patched"], atol=1e-4)
    np.testing.assert_allclose(infoflow.attribute(model, CLEAN, 65, 66).by_head, PEER[f"{name} direct"], atol=1e-4)


@pytest.mark.slow
def test_another_tools_maps_of_a_trained_model_are_ours() -> None:
    model = infoflow.load_model("smollm2")
    clean, corrupted = (f"When Mary and John went to the store, {name} gave a drink to" for name in ("John", "Mary"))
    found = infoflow.patch(model, clean, corrupted, target=" Mary", against=" John")
    np.testing.assert_allclose(found.effect()[..., 0], PEER["smollm2 patched"], atol=1e-4)
    np.testing.assert_allclose(infoflow.attribute(model, clean, " Mary", " John").by_head, PEER["smollm2 direct"], atol=1e-4)
    assert found.strongest(4) == [(23, 3, 0), (29, 1, 0), (24, 4, 0), (20, 0, 0)]
    estimate = infoflow.patch(model, clean, corrupted, target=" Mary", against=" John", method="gradient")
    assert np.corrcoef(estimate.change().ravel(), found.change().ravel())[0, 1] == pytest.approx(0.980, abs=2e-3)


IOI = "When Mary and John went to the store, {} gave a drink to"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "clean", "corrupted", "target", "against"),
    [
        ("demo", IOI.format("John"), IOI.format("Mary"), " Mary", " John"),
        ("demo", "The capital of France is", "The capital of Italy is", " Paris", " Rome"),
        ("smollm2", IOI.format("John"), IOI.format("Mary"), " Mary", " John"),
        ("smollm2", "The capital of France is", "The capital of Italy is", " Paris", " Rome"),
    ],
)
def test_patching_and_locating_agree_when_the_answer_comes_to_the_end(
    name: str, clean: str, corrupted: str, target: str, against: str
) -> None:
    """The first layer before which half of the answer is at the last position: by the residual taken there from the clean run,
    and by what the frozen network's residuals hold of it."""
    model = infoflow.load_model(name)
    swept = infoflow.patch(model, clean, corrupted, "resid_pre", target=target, against=against, positions=-1)
    moved = int(np.argmax(swept.effect("recovery")[:, 0, 0] > 0.5))
    where = infoflow.locate(model, clean, target, against, contrast=corrupted)
    rows = [max(row for row in range(len(where.rows)) if where.layer_of(row) == layer - 1) for layer in range(model.n_layers)]
    held = (where.specific if where.specific is not None else where.by_cell)[rows]
    located = int(np.argmax(held[:, -1] > 0.5 * held.sum(1)))
    assert abs(moved - located) <= 2, (moved, located)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"corrupted": CLEAN}, "the same tokens"),
        ({"corrupted": "Mary was"}, "needs its counterpart"),
        ({"site": "soul"}, "no site 'soul'"),
        ({"metric": "mood"}, "no metric 'mood'"),
        ({"site": "mlp", "units": "heads"}, "all heads are summed"),
        ({"units": "pairs"}, "unit"),
        ({"layers": [3]}, "no layer 3"),
        ({"positions": 99}, "no position 99"),
        ({"position": 99}, "no position 99"),
        ({"target": 65, "against": 65}, "are the same"),
        ({"corrupted": Block(1)}, "corrupts no state"),
        ({"draws": 0}, "draws"),
        ({"receiver": "9.9"}, "no receiver"),
        ({"receiver": "5.0.q"}, "no receiver"),
        ({"receiver": "logits", "site": "mlp"}, "Paths begin at heads"),
        ({"method": "gradient", "frozen": 1}, "holds no positions"),
        ({"site": "pattern", "averaged": 1}, "A pattern is of the positions"),
        ({"averaged": 99}, "no position 99"),
    ],
)
def test_bad_input_is_a_sentence(more: dict[str, object], said: str) -> None:
    given = {"corrupted": CORRUPTED, "target": 65, "against": 66, **more}
    with pytest.raises(BadPrompt, match=said):
        infoflow.patch(tiny.model("llama"), CLEAN, **given)  # type: ignore[arg-type]
    if said == "no receiver":
        with pytest.raises(BadPrompt, match="no residual between"):
            infoflow.patch(tiny.model("gpt_neox"), CLEAN, CORRUPTED, "resid_mid", target=65)


@pytest.mark.parametrize("direction", list(Direction))
def test_notes_are_of_each_prompt_s_own_text(direction: Direction, demo: "infoflow.Model") -> None:
    """The run that others are taken into is no changed text of the clean prompt."""
    clean, corrupted = "When Mary and John left, John gave a drink to", "When Mary and John left, Mary gave a drink to"
    assert infoflow.patch(demo, clean, corrupted, layers=[0], direction=direction).notes == ()


def test_what_is_to_be_said_of_either_prompt_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infoflow.Model, "notes", lambda self, text, tokens: ("Of any.", f"Of {text}."))
    found = infoflow.patch(tiny.model("llama"), CLEAN, CORRUPTED, layers=[0], target=65)
    assert found.notes == ("Of any.", f"Of {CLEAN}.", f"Of {CORRUPTED}.")
