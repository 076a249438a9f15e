"""Head scores on patterns made by hand: every label and edge."""

import numpy as np
import pytest

from infoflow.metrics import heads


def pattern(rows: list[list[float]]) -> np.ndarray:
    """One head of one layer; rows may be ragged, what is missing is zero."""
    out = np.zeros((1, 1, len(rows), len(rows)), dtype=np.float32)
    for i, row in enumerate(rows):
        out[0, 0, i, : len(row)] = row
    return out


PREVIOUS = pattern([[1], [1], [0, 1], [0, 0, 1], [0, 0, 0, 1]])
"""each position looks at the one before"""


def test_a_previous_token_head() -> None:
    found = heads.score(PREVIOUS, [5, 6, 7, 8, 9])
    assert found.scores[0, 0, 0] == 1.0 and np.isnan(found.scores[1:]).all()
    assert found.eligible == (4, 0, 0) and found.labels()[0, 0] == "previous token"


def test_a_duplicate_token_head_and_an_induction_head_on_the_same_tokens() -> None:
    ids = [5, 6, 7, 5, 6]  # 5 at 3 was at 0, 6 at 4 was at 1
    duplicate = heads.score(pattern([[1], [1], [1], [0.9, 0.1], [0.2, 0.7, 0.1]]), ids)
    assert duplicate.scores[1, 0, 0] == pytest.approx(0.8) and duplicate.scores[2, 0, 0] == pytest.approx(0.1)
    assert duplicate.labels()[0, 0] == "duplicate token" and duplicate.eligible == (4, 2, 2)
    induction = heads.score(pattern([[1], [1], [1], [0.1, 0.9], [0.3, 0, 0.7]]), ids)
    assert induction.scores[2, 0, 0] == pytest.approx(0.8) and induction.labels()[0, 0] == "induction"
    assert induction.scores[0, 0, 0] == pytest.approx((1 + 0 + 0 + 0) / 4)


def test_the_largest_over_earlier_occurrences_counts() -> None:
    ids = [5, 6, 5, 7, 5]  # the last 5 was at 0 and at 2
    found = heads.score(pattern([[1], [1], [1], [1], [0.1, 0.2, 0.3, 0.4]]), ids)
    assert found.scores[1, 0, 0] == pytest.approx((1.0 + 0.3) / 2)
    assert found.scores[2, 0, 0] == pytest.approx((0.0 + 0.4) / 2)  # position 2: after 0 comes 1; position 4: 1 or 3


def test_a_token_said_twice_running_may_look_at_itself() -> None:
    found = heads.score(pattern([[1], [0.25, 0.75]]), [5, 5])
    assert found.scores[:, 0, 0].tolist() == pytest.approx([0.25, 0.25, 0.75])


def test_nothing_above_the_threshold_is_diffuse_and_the_threshold_can_be_moved() -> None:
    even = pattern([[1], [0.5, 0.5], [1 / 3] * 3, [0.25] * 4])
    found = heads.score(even, [5, 6, 7, 8])
    assert found.scores[0, 0, 0] == pytest.approx((0.5 + 1 / 3 + 0.25) / 3)
    assert found.labels(0.4)[0, 0] == "diffuse" and found.labels(0.3)[0, 0] == "previous token"


def test_ties_go_to_the_first_kind_and_one_token_has_no_label() -> None:
    tie = heads.score(pattern([[1], [1], [0.5, 0.5]]), [5, 6, 5])  # previous 0.75, duplicate 0.5, induction 0.5
    assert tie.labels(0.5)[0, 0] == "previous token"
    both = heads.HeadScores(scores=np.full((3, 1, 1), 0.7), eligible=(1, 1, 1), basis="this prompt")
    assert both.labels()[0, 0] == "previous token"
    alone = heads.score(pattern([[1]]), [5])
    assert np.isnan(alone.scores).all() and alone.labels()[0, 0] == "diffuse" and alone.eligible == (0, 0, 0)


def test_entropy_concentration_and_sink_share_by_hand() -> None:
    even = pattern([[1], [0.5, 0.5], [0.5, 0.25, 0.25]])
    assert heads.entropy(even)[0, 0] == pytest.approx((0 + np.log(2) + 1.5 * np.log(2)) / 3)
    assert heads.concentration(even)[0, 0] == pytest.approx(2 / 3)
    assert heads.sink_share(even)[0, 0] == pytest.approx(0.5)
    assert heads.sink_share(pattern([[1]]))[0, 0] == 1


def test_sinks_are_masked_or_renormalised_never_in_silence() -> None:
    even = pattern([[1], [0.5, 0.5], [0.5, 0.25, 0.25]])[0, 0]
    masked = heads.without_sinks(even, [0], renormalise=False)
    np.testing.assert_allclose(masked, [[0, 0, 0], [0, 0.5, 0], [0, 0.25, 0.25]])
    whole = heads.without_sinks(even, [0], renormalise=True)
    np.testing.assert_allclose(whole, [[0, 0, 0], [0, 1, 0], [0, 0.5, 0.5]])
    np.testing.assert_allclose(even[1], [0.5, 0.5, 0])  # the raw pattern is as it was


def test_rows_that_lack_something_are_scaled_to_what_they_were() -> None:
    """In families with a sink in the softmax rows sum to less than 1: hiding a token must not fill that up."""
    lacking = pattern([[0.7], [0.2, 0.6], [0.1, 0.2, 0.4]])
    whole = heads.without_sinks(np.concatenate([lacking, 0.5 * lacking]), [0], renormalise=True)
    np.testing.assert_allclose(whole[0, 0], [[0, 0, 0], [0, 0.8, 0], [0, 0.7 / 3, 1.4 / 3]], rtol=1e-6)
    np.testing.assert_allclose(whole[1], 0.5 * whole[0], rtol=1e-6)
    np.testing.assert_allclose(
        heads.without_sinks(lacking, [0, 1], renormalise=True)[0, 0, 1:], [[0, 0, 0], [0, 0, 0.7]], rtol=1e-6
    )


def test_every_head_is_measured_by_itself() -> None:
    """Two layers of three heads: numbers of one head are those that it has alone."""
    draw = np.random.default_rng(0)
    some = np.tril(draw.random((2, 3, 5, 5)))
    some /= some.sum(-1, keepdims=True)
    ids = [5, 6, 5, 6, 7]
    for measure in (heads.entropy, heads.concentration, heads.sink_share):
        found = measure(some)
        for layer, head in np.ndindex(2, 3):
            assert found[layer, head] == pytest.approx(measure(some[layer : layer + 1, head : head + 1])[0, 0])
    scores, alone = heads.score(some, ids).scores, heads.score(some[1:, 2:], ids).scores
    assert scores.shape == (3, 2, 3) and scores[:, 1, 2] == pytest.approx(alone[:, 0, 0])
    assert scores[0, 1, 2] == pytest.approx(np.mean([some[1, 2, i, i - 1] for i in range(1, 5)]))
    assert heads.sink_share(pattern([[1], [0.25, 0.75]]))[0, 0] == pytest.approx(0.25)
    assert heads.sink_share(np.ones((2, 3, 1, 1))).tolist() == [[1, 1, 1]] * 2


def test_a_threshold_is_passed_by_what_is_above_it() -> None:
    level = heads.HeadScores(scores=np.array([0.4, 0.3, 0.2]).reshape(3, 1, 1), eligible=(1, 1, 1), basis="this prompt")
    assert level.labels()[0, 0] == "diffuse" and level.labels(0.39)[0, 0] == "previous token"


def test_the_largest_pairs_leave_a_token_on_itself_out() -> None:
    weights = np.array([[1, 0, 0], [0.4, 0.6, 0], [0.1, 0.7, 0.2]])
    assert heads.top_pairs(weights, 2).tolist() == [[2, 1], [1, 0]]
    assert heads.top_pairs(weights[:1, :1], 5).tolist() == []
    tied = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0]])
    assert heads.top_pairs(tied, 2).tolist() == [[1, 0], [2, 0]]  # in reading order where they are equal
    assert heads.top_pairs(np.array([[0.9, 0], [0, 0.9]]), 3).tolist() == []
