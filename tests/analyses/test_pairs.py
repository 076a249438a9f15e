"""Pairs of heads: what both do is what hooks on plain transformers make of the two at once."""

import numpy as np
import pytest

import infoflow
from infoflow.errors import BadPrompt
from infoflow.summaries.pairs import _why
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


def test_the_strongest_are_those_of_the_sweep_and_alone_do_what_they_did_there() -> None:
    model, more = tiny.model("llama"), {"target": 65, "against": 66, "direction": "noising", "frozen": 2}
    swept = infoflow.patch(model, CLEAN, CORRUPTED, positions=[7, -1], **more)
    found = infoflow.patch_pairs(model, CLEAN, CORRUPTED, positions=[7, -1], strongest=3, **more)
    assert found.heads == tuple((layer, head) for layer, head, _ in swept.strongest(3))
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
    assert "either is enough" in _why([0.4, 0.3, 0.5], -0.2) and "either is enough" in _why([-0.4, -0.3, -0.5], 0.2)
    assert "needs the other" in _why([0.4, 0.3, 0.9], 0.2) and _why([0.4, -0.3, 0.0], -0.1) == ", less than the sum"
    found = infoflow.patch_pairs(demo, "When Mary and John went to the store, John gave a drink to", strongest=5)
    assert found.summary().startswith("Of pairs among 5 heads 0.6 and 0.3 depart most from their sum: alone +36% and +17%")
