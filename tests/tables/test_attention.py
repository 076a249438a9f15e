"""Tables of attention on maps made by hand: whose map, what is done with the first token, words, heads in numbers."""

import numpy as np
import pytest

from infoflow.metrics import heads
from infoflow.tables import attention as tables
from tests.helpers import made

ONE = [[1.0, 0, 0], [0.5, 0.5, 0], [0.5, 0.25, 0.25]]
LACKING = [[0.6, 0, 0], [0.2, 0.6, 0], [0.1, 0.3, 0.4]]
"""rows that lack something of 1, as where the softmax has a sink of its own"""
PATTERN = np.array([[ONE, LACKING], [LACKING, LACKING]])


@pytest.mark.parametrize(
    ("level", "title", "of"),
    [
        ("one head", "Layer 0, head 1", [LACKING]),
        ("layer mean", "Layer 0: mean of 2 maps", [ONE, LACKING]),
        ("mean of all", "All layers and heads: mean of 4 maps", [ONE, LACKING, LACKING, LACKING]),
    ],
)
def test_a_view_is_the_map_it_names(level: str, title: str, of: list[list[list[float]]]) -> None:
    found = tables.view(made.attention(PATTERN), level, 0, 1, "pattern", "shown")
    assert found.title == title
    np.testing.assert_allclose(found.weights, np.mean(of, 0), rtol=1e-6)
    assert found.sink == pytest.approx(np.mean([0.5 if m is ONE else 0.15 for m in of]))
    assert found.missing == pytest.approx(np.mean([0 if m is ONE else 0.8 / 3 for m in of]), abs=1e-6)
    written = tables.view(made.attention(PATTERN), level, 0, 1, "contribution", "shown")
    np.testing.assert_allclose(written.weights, np.mean(of, 0) * [10, 20, 30], rtol=1e-6)


def test_the_first_token_is_masked_or_its_rows_scaled_to_what_they_summed_to() -> None:
    attn = made.attention(PATTERN)
    masked = tables.view(attn, "one head", 0, 1, "pattern", "masked")
    np.testing.assert_allclose(masked.weights, [[0, 0, 0], [0, 0.6, 0], [0, 0.3, 0.4]], rtol=1e-6)
    whole = tables.view(attn, "one head", 0, 1, "pattern", "renormalised")
    np.testing.assert_allclose(whole.weights, [[0, 0, 0], [0, 0.8, 0], [0, 2.4 / 7, 3.2 / 7]], rtol=1e-6)
    np.testing.assert_allclose(whole.weights[1:].sum(1), 0.8, rtol=1e-6)
    assert whole.sink == masked.sink == pytest.approx(0.15) and whole.missing == pytest.approx(0.8 / 3)
    mean = tables.view(attn, "layer mean", 0, 1, "pattern", "renormalised")  # each head by itself, then the mean
    np.testing.assert_allclose(mean.weights[2], [0, (0.5 + 2.4 / 7) / 2, (0.5 + 3.2 / 7) / 2], rtol=1e-6)
    three = tables.weightings(attn, "one head", 0, 1, "masked")
    np.testing.assert_allclose(three[:, 2], [[0, 0.3, 0.4], [0, 0.6, 1.2], [0, 6, 12]], rtol=1e-6)


def test_a_map_as_a_table_has_the_pairs_that_causality_allows() -> None:
    found = tables.matrix(np.array(ONE), ["a", "b", "c"])
    rows = [(r.dest, r.src, r.dest_token, r.src_token, r.weight) for r in found.itertuples()]
    first = [(0, 0, "a", "a", 1), (1, 0, "b", "a", 0.5), (1, 1, "b", "b", 0.5)]
    assert rows == [*first, (2, 0, "c", "a", 0.5), (2, 1, "c", "b", 0.25), (2, 2, "c", "c", 0.25)]


def test_heads_in_numbers() -> None:
    attn = made.attention(PATTERN)
    np.testing.assert_allclose(tables.measure(attn, "value norm")[0], [(1 + 1.5 + 1.75) / 3, (0.6 + 1.4 + 1.9) / 3], rtol=1e-6)
    np.testing.assert_allclose(tables.measure(attn, "sink share"), [[0.5, 0.15], [0.15, 0.15]], rtol=1e-6)
    np.testing.assert_allclose(
        tables.measure(attn, "concentration", slice(0, 1), slice(1, 2)), [[(0.6 + 0.6 + 0.4) / 3]], rtol=1e-6
    )
    assert tables.measure(attn, "entropy")[0, 0] == pytest.approx(2.5 * np.log(2) / 3)
    assert tables.measure(attn, "value norm", slice(1, 2), slice(0, 1)).shape == (1, 1)


def scores() -> heads.HeadScores:
    numbers = np.array([[[0.9, 0.1], [0.2, 0.3]], [[0.5, 0.6], [np.nan, 0.1]], [[0.1, 0.2], [0.1, 0.45]]])
    return heads.HeadScores(scores=numbers, eligible=(3, 5, 3), basis="this prompt")


def test_the_map_of_all_heads_names_their_kind() -> None:
    found = tables.head_map(made.attention(PATTERN), "kind", scores(), 0.5)
    assert list(zip(found["layer"], found["head"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert found["value"].tolist() == [0.9, 0.6, 0.2, 0.45]
    assert found["kind"].tolist() == ["previous token", "duplicate token", "diffuse", "diffuse"]
    assert found["induction"].tolist() == [0.1, 0.2, 0.1, 0.45] and found["previous token"].tolist() == [0.9, 0.1, 0.2, 0.3]
    by = tables.head_map(made.attention(PATTERN), "sink share", scores(), 0.4)
    assert by["value"].tolist() == pytest.approx([0.5, 0.15, 0.15, 0.15]) and by["kind"][3] == "induction"


def test_heads_whose_scores_are_not_known_have_no_number() -> None:
    none = heads.HeadScores(scores=np.full((3, 2, 2), np.nan), eligible=(0, 0, 0), basis="this prompt")
    assert tables.head_map(made.attention(PATTERN), "kind", none, 0.4)["value"].tolist() == [0] * 4


def test_one_head_in_words() -> None:
    rows = dict(tables.inspector(made.attention(PATTERN), 0, 1, scores(), 0.5).itertuples(index=False))
    assert rows == {
        "kind": "duplicate token", "previous token": "0.10 (mean of 3 positions)",
        "duplicate token": "0.60 (mean of 5 positions)", "induction": "0.20 (mean of 3 positions)",
        "entropy": rows["entropy"], "concentration": "0.53", "value norm": "1.30",
        "sink share": "0.15",
    }  # fmt: skip
    none = heads.HeadScores(scores=np.full((3, 2, 2), np.nan), eligible=(0, 0, 0), basis="this prompt")
    alone = dict(tables.inspector(made.attention(PATTERN), 1, 0, none, 0.5).itertuples(index=False))
    assert alone["previous token"] == "no position tells" and alone["kind"] == "too few positions"
    few = heads.HeadScores(scores=scores().scores, eligible=(3, 1, 0), basis="this prompt")
    assert tables.head_map(made.attention(PATTERN), "kind", few, 0.1)["value"].tolist() == [0.9, 0.1, 0.2, 0.3]
    of_few = dict(tables.inspector(made.attention(PATTERN), 0, 1, few, 0.5).itertuples(index=False))
    assert of_few["duplicate token"] == "0.60 (mean of 1 position, too few to tell)"
    assert tables.evidence(few).startswith(
        "Positions that can tell: 3 for previous token, 1 for duplicate token, 0 for induction. Fewer"
    )
    assert "Fewer" not in tables.evidence(scores())


def test_the_largest_pairs_are_named_from_source_to_destination() -> None:
    found = tables.pairs(np.array([[1, 0, 0], [0.4, 0.6, 0], [0.1, 0.7, 0.2]]), ["a", "b", "c"], 2)
    assert list(found.itertuples(index=False, name=None)) == [("b", "c", 0.7), ("a", "b", 0.4)]
    assert len(tables.pairs(np.tril(np.ones((9, 9))), "abcdefghi")) == 6


def test_what_a_position_attends_to_is_summed_by_word() -> None:
    weights = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0], [0.2, 0.1, 0.3, 0.0]])
    found = tables.attended(weights, ["x", "yy", "yy", "z"])
    assert found["label"].tolist() == ["x", "yy"] and found["share"].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert tables.attended(weights, ["x", "yy", "yy", "z"], 1)["share"].tolist() == [0.5, 0.5]
    assert tables.attended(0 * weights, ["x", "yy", "yy", "z"]).empty
