"""Tables of a flow on one made by hand: cells, depth, what is hidden, errors, predictions, trust."""

import numpy as np
import pytest

from infoflow.errors import BadPrompt
from infoflow.tables import flow as tables
from tests.helpers import made


def test_a_cell_has_its_sources_the_largest_first_with_every_measure() -> None:
    flow = made.flow(parts={(1, 0, 3): [1.0, 2.0, 3.0]})
    found = tables.cell(flow, 1, "mid", 3)
    assert found.sources.columns.tolist() == ["source", "source_label", "share", "projection", "cosine", "norm"]
    assert found.sources["source_label"].tolist() == ["d", "bc", "A"] and found.sources["source"].tolist() == [2, 1, 0]
    np.testing.assert_allclose(found.sources["share"], [1 / 2, 1 / 3, 1 / 6])
    np.testing.assert_allclose(found.sources["projection"], [9 / 14, 4 / 14, 1 / 14])
    np.testing.assert_allclose(found.sources["cosine"], np.array([3, 2, 1]) / np.sqrt(14))
    np.testing.assert_allclose(found.sources["norm"], [3, 2, 1])
    assert (found.layer, found.stage, found.position) == (1, "mid", 3)
    assert found.error == pytest.approx(1e-6) and found.cancellation == pytest.approx(6 / np.sqrt(14))
    assert found.effective_sources == pytest.approx(np.exp(-sum(q * np.log(q) for q in (1 / 2, 1 / 3, 1 / 6))))
    other = tables.cell(flow, 1, "mid", 3, "projection", hidden=("d",))
    assert other.sources["source_label"].tolist() == ["bc", "A"] and other.cancellation == found.cancellation
    np.testing.assert_allclose(other.sources["share"], [4 / 5, 1 / 5])
    assert tables.cell(flow, 1, "post", 3).error == 0 and tables.cell(flow, 1, "mid", 2).error == pytest.approx(4e-6)


def test_a_cell_holds_what_can_reach_it() -> None:
    flow = made.flow()
    assert [set(tables.cell(flow, 0, "post", p).sources["source"]) for p in range(4)] == [{0}, {0, 1}, {0, 1}, {0, 1, 2}]
    embed = tables.cell(flow, -1, "embed", 2)
    assert embed.sources.set_index("source")["norm"].to_dict() == pytest.approx({0: 0, 1: 4})
    assert embed.error == 0 and embed.sources["share"].iloc[0] == 1 and embed.sources["source_label"].iloc[0] == "bc"
    assert embed.cancellation == pytest.approx(1)
    for bad in ((3, "mid", 0), (-1, "mid", 0), (0, "top", 0), (0, "mid", 4), (0, "mid", -1), (-1, "embed", 4)):
        with pytest.raises(BadPrompt, match="no cell"):
            tables.cell(flow, *bad)


def test_a_source_is_followed_through_every_row() -> None:
    flow = made.flow(2, {(0, 1, 3): [1, 3, 0], (1, 0, 3): [2, 2, 4], (1, 1, 3): [0, 1, 1], (1, 1, 2): [9, 9, 9]})
    path = tables.through_depth(flow, 1, 3)
    assert path["depth"].tolist() == [0, 0.5, 1, 1.5]
    assert path["row"].tolist() == [f"layer {n} after {what}" for n in (0, 1) for what in ("attention", "MLP")]
    np.testing.assert_allclose(path["share"], [1 / 3, 3 / 4, 1 / 4, 1 / 2])
    np.testing.assert_allclose(tables.through_depth(flow, 1, 3, hidden=(2,))["share"], [1 / 2, 3 / 4, 1 / 2, 1])
    np.testing.assert_allclose(tables.through_depth(flow, 1, 3, "projection")["share"][1:3], [9 / 10, 4 / 24])


def test_what_is_hidden_is_told_of_every_bar() -> None:
    found = tables.hidden(made.flow(2, {(1, 0, 3): [2, 1, 1]}), (0,))
    assert len(found) == 2 * 2 * 4 and found.columns.tolist() == ["layer", "stage", "position", "share"]
    share = found.set_index(["layer", "stage", "position"])["share"]
    assert share[1, "mid", 3] == pytest.approx(1 / 2) and share[1, "post", 3] == pytest.approx(1 / 3) and share[0, "mid", 0] == 1
    assert share[0, "post", 2] == pytest.approx(1 / 2) and tables.hidden(made.flow(), ()).empty


def test_errors_are_the_worst_and_the_middle_of_each_row() -> None:
    found = tables.errors(made.flow())
    assert found["depth"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5] and found["row"][2] == "layer 1 after attention"
    np.testing.assert_allclose(found["worst"], [0, 0, 4e-6, 0, 0, 0])
    np.testing.assert_allclose(found["median"], [0, 0, 0.5e-6, 0, 0, 0])


def test_predictions_are_the_first_and_whatever_is_likely() -> None:
    found = tables.predictions(made.flow())
    assert found["token"].tolist() == ["t0", "t1", "t2"] and found["id"].tolist() == [0, 1, 2]
    assert found["probability"].tolist() == [0.5, 0.2, 0.02] and found["logit"].tolist() == [5, 4, 3]
    assert len(tables.predictions(made.flow(), at_least=0.9)) == 1 and len(tables.predictions(made.flow(), 0.0, most=3)) == 3
    many = tuple(made.flow().top[0] for _ in range(8))
    assert len(tables.predictions(made.flow(top=many))) == 5


def test_what_was_run_is_one_line() -> None:
    assert tables.provenance_line(made.flow()) == ("Model by-hand, revision r1, float32; 4 tokens; infoflow 9.9, method 7.")


def test_trust_by_hand() -> None:
    flow = made.flow(
        1, {(0, 0, 1): [3, 1, 0], (0, 1, 3): [1, 1, 2]}, error=np.array([[[0, 0, 0, 0], [0, 3e-5, 0, 0]]], np.float32)
    )
    found = tables.trust(flow)
    assert found.max_error == pytest.approx(3e-5) and found.worst_at == "layer 0 after MLP, position 1"
    aside = [3 / 4, 1 / 2, 1 / 3, 1 / 2, 1 / 2, 1 / 4]  # positions 1 to 3 of both rows
    assert found.aside_share == pytest.approx(np.mean(aside)) and found.top_agrees and found.logit_error == 1e-6
    kappa = [1, 4 / 10**0.5, 2**0.5, 3**0.5, 1, 2**0.5, 2**0.5, 4 / 6**0.5]
    assert found.median_cancellation == pytest.approx(np.median(kappa)) and found.max_cancellation == pytest.approx(3**0.5)
    assert tables.trust(flow, ("d",)).aside_share == pytest.approx(np.mean([0, 0, 1 / 3, 0, 0, 1 / 2]))
    alone = made.flow(1, source_of=np.zeros(4, int), source_labels=("all",), gram=np.ones((1, 2, 4, 1, 1), np.float32),
                      source_logits=np.ones((1, 2), np.float32))  # fmt: skip
    with pytest.raises(BadPrompt):
        alone.hidden_mask((0,))
    assert tables.trust(alone).aside_share == 1 and not tables.trust(made.flow(top_agrees=False)).top_agrees
