"""Pairs of heads: what both do is what hooks on plain transformers make of the two at once."""

from dataclasses import replace

import numpy as np
import pytest

import infoflow
import infoflow.analyses.pairs
from infoflow.analyses.sweeps import Direction
from infoflow.errors import BadPrompt
from infoflow.metrics.effects import Outcomes
from infoflow.pictures.pairs import picture
from infoflow.summaries.pairs import _why
from infoflow.tables import pairs as tables
from tests.helpers import patched, tiny

CLEAN, CORRUPTED = "Mary saw a", "Mary was a"


@pytest.mark.parametrize(
    ("name", "site"),
    [("gpt2", "z"), ("llama", "z"), ("llama", "v"), ("llama", "q"), ("gpt_neox", "z"), ("gemma2", "z"), ("bloom", "v")],
)
def test_every_pair_is_two_hooks_at_once(name: str, site: str) -> None:
    model = tiny.model(name)
    clean, other = ([t.id for t in model.encode(text)] for text in (CLEAN, CORRUPTED))
    heads = [(2, 1), (0, 1), (1, 0), (0, 0)]
    found = infoflow.patch_pairs(model, CLEAN, CORRUPTED, site, target=65, against=66, heads=heads)
    assert found.heads == tuple(heads) and found.effect().shape == (4, 4)
    for a in range(4):
        for b in range(a, 4):
            logits = patched.two_heads(model, other, clean, site, [heads[a], heads[b]] if a != b else [heads[a]])[-1]
            wanted = float(logits[65] - logits[66])
            assert found.effect()[a, b] == pytest.approx(wanted, abs=2e-5 * max(1.0, abs(wanted))), (a, b)
            assert found.effect()[b, a] == found.effect()[a, b]
    change, apart = found.change(), found.interaction()
    assert apart[0, 1] == pytest.approx(change[0, 1] - change[0, 0] - change[1, 1]) and np.isnan(np.diag(apart)).all()
    assert np.nanmax(np.abs(apart)) > 1e-4


def test_a_pair_is_told_and_coloured_by_what_departs_from_its_sum() -> None:
    """Colours end at the largest cell off the diagonal; where one alone does more, the note says so."""
    heads = [(layer, head) for layer in range(3) for head in range(4)]
    found = infoflow.patch_pairs(tiny.model("llama"), CLEAN, CORRUPTED, target=65, against=66, heads=heads)
    table = tables.strongest(found, "logit_diff")
    apart = found.interaction()[np.triu_indices(12, 1)]
    assert len(table) == 10 and len(tables.strongest(found, "logit_diff", 3)) == 3
    assert np.abs(table["beyond their sum"]).tolist() == pytest.approx(sorted(np.abs(apart), reverse=True)[:10])
    first = table.iloc[0]
    a, b = (found.names.index(name) for name in first["pair"].split(" and "))
    change = found.change()
    assert (first["first"], first["second"], first["together"]) == (change[a, a], change[b, b], change[a, b])
    ended = " Its colours end where the scale does."
    last = infoflow.patch_pairs(tiny.model("llama"), CLEAN, CORRUPTED, target=65, against=66, heads=[(2, 0), (2, 1), (2, 2)])
    seen = set()
    for run in (found, last):  # heads of one layer hardly act through each other
        cells = tables.cells(run, "recovery", tables.BEYOND)
        alone = cells["first"] == cells["second"]
        over = cells["change"][alone].abs().max() > cells["change"][~alone].abs().max()
        seen.add(bool(over))
        assert (ended in picture(run).note) == over
    assert seen == {True, False}


def test_the_strongest_are_those_of_the_sweep_and_alone_do_what_they_did_there() -> None:
    model, more = tiny.model("llama"), {"target": 65, "against": 66, "direction": "noising", "frozen": 2}
    swept = infoflow.patch(model, CLEAN, CORRUPTED, positions=[7, -1], **more)
    found = infoflow.patch_pairs(model, CLEAN, CORRUPTED, positions=[7, -1], strongest=3, **more)
    assert found.heads == tuple((layer, head) for layer, head, _ in swept.strongest(3))
    assert picture(found).title.startswith("Pairs of the 3 strongest heads (z)")
    chosen = infoflow.patch_pairs(model, CLEAN, CORRUPTED, positions=[7, -1], heads=[np.array((0, 0)), (1, 0)], **more)
    assert picture(chosen).title.startswith("Pairs of 2 heads (z)")
    assert "negative:" in picture(chosen).note
    assert not any("negative:" in picture(chosen, metric=name).note for name in ("rank", "kl"))  # they fall as it comes back
    for k, (layer, head) in enumerate(found.heads):
        assert found.change()[k, k] == pytest.approx(swept.change()[layer, head, 0], abs=1e-5)
    frame = found.to_frame()
    assert len(frame) == 3 and frame["logit_diff_both"].iloc[0] == pytest.approx(found.change()[0, 1])
    again = found.provenance.request.run(model)
    np.testing.assert_allclose(again.effect(), found.effect(), atol=1e-5)
    told: list[tuple[int, int]] = []
    infoflow.patch_pairs(model, CLEAN, CORRUPTED, strongest=3, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6) and told[0] == (0, 1)


def test_heads_side_by_side_do_not_interact_and_those_in_a_row_do() -> None:
    """Two heads of the last layer add to one residual, which the unembedding's norm reads alone: by logits before it, their
    changes would sum; a head of the first layer acts through the others."""
    model = tiny.model("llama")
    found = infoflow.patch_pairs(model, CLEAN, CORRUPTED, target=65, against=66, heads=[(2, 0), (2, 1), (0, 0)])
    apart, change = np.abs(found.interaction()), np.abs(found.change())
    assert apart[0, 1] < 0.2 * max(change[0, 0], change[1, 1])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"site": "mlp"}, "all heads are summed"),
        ({"heads": [(0, 0)]}, "Pairs are of 2 to 64 heads, and these are 1"),
        ({"heads": [(0, 0), (0.5, 1)]}, r"A head is \(layer, head\), two whole numbers counted from 0, and \(0.5, 1\) is not"),
        ({"heads": [(0, 0, 1), (0, 1)]}, r"A head is \(layer, head\)"),
        ({"heads": [3, 4]}, r"A head is \(layer, head\).* and 3 is not"),
        ({"heads": ["01", (0, 1)]}, r"A head is \(layer, head\).* and '01' is not"),
        ({"strongest": 65}, "these are 65"),
        ({"heads": [(0, 0), (0, 0), (1, 0)]}, "named twice"),
        ({"heads": [(0, 0), (3, 0)]}, "no head 3.0"),
        ({"site": "v", "heads": [(0, 0), (0, 3)]}, "no head 0.3 at 'v'"),
        ({"metric": "mood"}, "no metric"),
    ],
)
def test_bad_input_is_a_sentence(more: dict[str, object], said: str) -> None:
    with pytest.raises(BadPrompt, match=said):
        infoflow.patch_pairs(tiny.model("llama"), CLEAN, CORRUPTED, **more)  # type: ignore[arg-type]


def test_what_a_departure_means_is_said_where_both_go_one_way(demo: infoflow.Model) -> None:
    back, broken = Direction.DENOISING, Direction.NOISING
    assert "either is enough" in _why([0.4, 0.3, 0.5], -0.2, back) and "either is enough" in _why([-0.4, -0.3, -0.5], 0.2, back)
    assert "needs the other" in _why([0.4, 0.3, 0.9], 0.2, back) and _why([0.4, -0.3, 0.0], -0.1, back) == ", less than the sum"
    assert _why([-0.4, -0.3, -0.9], -0.2, broken) == ", more than the sum: either is enough"
    assert _why([-0.4, -0.3, -0.5], 0.2, broken).endswith(
        "less than the sum: one acts through the other, or each needs the other"
    )
    found = infoflow.patch_pairs(demo, "When Mary and John went to the store, John gave a drink to", strongest=5)
    assert found.summary().startswith("Of pairs among 5 heads 0.6 and 0.3 depart most from their sum: alone +36% and +17%")


def gate(direction: Direction, alone: float) -> infoflow.analyses.pairs.Pairs:
    """Two heads that go the whole way from one run to the other together, and so much of it each alone."""
    base, end = (0.0, 1.0) if direction == Direction.DENOISING else (1.0, 0.0)

    def said(share: object) -> Outcomes:
        logit = np.array(base + np.array(share) * (end - base))
        return Outcomes(logit=logit, **dict.fromkeys(("against", "log_probability", "rank", "kl"), np.zeros(logit.shape)))

    found = infoflow.patch_pairs(tiny.model("llama"), CLEAN, CORRUPTED, target=65, heads=[(0, 0), (1, 0)], direction=direction)
    return replace(found, runs=said([[alone, 1.0], [1.0, alone]]), clean=said(abs(end - 0.0)), corrupted=said(abs(end - 1.0)))


OR, AND = "either is enough", "each needs the other"


@pytest.mark.parametrize(
    ("direction", "alone", "is_it", "is_not"),
    [
        (Direction.DENOISING, 0.9, OR, AND),  # one brings back what both do
        (Direction.DENOISING, 0.1, AND, OR),
        (Direction.NOISING, 0.1, OR, AND),  # it breaks when both are gone
        (Direction.NOISING, 0.9, AND, OR),
    ],
)
def test_gates_of_two_heads_are_called_what_they_are(direction: Direction, alone: float, is_it: str, is_not: str) -> None:
    found = gate(direction, alone)
    assert float(found.clean.lead) == 1.0 and float(found.corrupted.lead) == 0.0
    assert is_it in found.summary() and is_not not in found.summary()
    note = picture(found).note
    sign = "negative: " if found.interaction("recovery")[0, 1] < 0 else "positive: "
    meant = note[note.index(sign) :].partition(";")[0].partition(". On")[0]
    assert is_it in meant and is_not not in meant
    assert ("bring the answer back" in note) == (direction == Direction.DENOISING)
