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
    assert found.eligible == (3, 0, 0) and found.labels()[0, 0] == "previous token"  # position 1 could look at the sink alone


def test_a_duplicate_token_head_and_an_induction_head_on_the_same_tokens() -> None:
    ids = [1, 5, 6, 7, 8, 5, 6, 7]  # after a mark: 5 at 5 was at 1, 6 at 6 at 2, 7 at 7 at 3
    one = [[1], [1], [1], [1], [1]]
    duplicate = heads.score(pattern([*one, [0, 0.9, 0.1], [0.2, 0, 0.7, 0.1], [0.2, 0, 0, 0.8]]), ids)
    assert duplicate.scores[1, 0, 0] == pytest.approx(0.8) and duplicate.scores[2, 0, 0] == pytest.approx(0.2 / 3)
    assert duplicate.labels()[0, 0] == "duplicate token" and duplicate.eligible == (6, 3, 3)
    induction = heads.score(pattern([*one, [0.1, 0, 0.9], [0.3, 0, 0, 0.7], [0, 0, 0, 0, 0.8, 0, 0.2]]), ids)
    assert induction.scores[2, 0, 0] == pytest.approx(0.8) and induction.labels()[0, 0] == "induction"
    assert induction.scores[0, 0, 0] == pytest.approx(0.2 / 6)


def test_the_largest_over_earlier_occurrences_counts() -> None:
    ids = [1, 5, 6, 5, 7, 8, 5]  # the last 5 was at 1 and at 3
    found = heads.score(pattern([[1], [1], [1], [0, 0.6], [1], [1], [0.1, 0.2, 0.15, 0.3, 0.25]]), ids)
    assert found.scores[1, 0, 0] == pytest.approx((0.6 + 0.3) / 2)
    # position 3 would look at 2, which is the token before it as well; position 6 at 2 or 4
    assert found.scores[2, 0, 0] == pytest.approx(0.25) and found.eligible == (4, 2, 1)


def test_what_fits_two_kinds_and_what_is_no_search_is_no_evidence() -> None:
    own = np.zeros((1, 1, 4, 4))
    own[0, 0, np.arange(4), np.arange(4)] = 1
    laughing = heads.score(own, [1, 5, 5, 5])  # ha ha ha, each on itself
    assert laughing.labels()[0, 0] == heads.UNKNOWN and max(laughing.eligible) < heads.NEEDED
    assert heads.score(own[..., :2, :2], [1, 5]).eligible == (0, 0, 0)  # two tokens make no previous token head
    sink = pattern([[1]] * 8)
    assert heads.score(sink, [5, 6, 7, 5, 8, 5, 9, 5]).labels()[0, 0] == "diffuse"  # on the first token, which is the same
    many = heads.score(pattern([[1], *([[0] * i + [1] for i in range(7)])]), [1, *[5] * 7])
    assert many.labels()[0, 0] != "previous token" and many.eligible[0] == 0  # the token before is the same one


def test_evidence_by_hand() -> None:
    previous, duplicate, induction = heads.evidence([1, 5, 6, 7, 5, 6])
    assert previous == [[], [], [1], [2], [3], [4]]
    assert duplicate == [[], [], [], [], [1], [2]]
    assert induction == [[], [], [], [], [2], [3]]


def test_nothing_above_the_threshold_is_diffuse_and_the_threshold_can_be_moved() -> None:
    even = pattern([[1], [0.5, 0.5], [1 / 3] * 3, [0.25] * 4, [0.2] * 5])
    found = heads.score(even, [5, 6, 7, 8, 9])
    assert found.scores[0, 0, 0] == pytest.approx((1 / 3 + 0.25 + 0.2) / 3)
    assert found.labels(0.4)[0, 0] == "diffuse" and found.labels(0.25)[0, 0] == "previous token"


def test_ties_go_to_the_first_kind_and_one_token_has_no_label() -> None:
    both = heads.HeadScores(scores=np.full((3, 1, 1), 0.7), eligible=(3, 3, 3), basis="this prompt")
    assert both.labels()[0, 0] == "previous token"
    few = heads.HeadScores(scores=np.full((3, 1, 1), 0.7), eligible=(2, 2, 3), basis="this prompt")
    assert few.labels()[0, 0] == "induction" and np.isnan(few.counted[:2]).all()  # scores of two positions don't count
    alone = heads.score(pattern([[1]]), [5])
    assert np.isnan(alone.scores).all() and alone.labels()[0, 0] == heads.UNKNOWN and alone.eligible == (0, 0, 0)


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
    ids = [5, 6, 7, 6, 8]
    for measure in (heads.entropy, heads.concentration, heads.sink_share):
        found = measure(some)
        for layer, head in np.ndindex(2, 3):
            assert found[layer, head] == pytest.approx(measure(some[layer : layer + 1, head : head + 1])[0, 0])
    scores, alone = heads.score(some, ids).scores, heads.score(some[1:, 2:], ids).scores
    assert scores.shape == (3, 2, 3) and scores[:, 1, 2] == pytest.approx(alone[:, 0, 0], nan_ok=True)
    assert scores[0, 1, 2] == pytest.approx(np.mean([some[1, 2, i, i - 1] for i in (2, 4)]))
    assert heads.sink_share(pattern([[1], [0.25, 0.75]]))[0, 0] == pytest.approx(0.25)
    assert heads.sink_share(np.ones((2, 3, 1, 1))).tolist() == [[1, 1, 1]] * 2


def test_a_threshold_is_passed_by_what_is_above_it() -> None:
    level = heads.HeadScores(scores=np.array([0.4, 0.3, 0.2]).reshape(3, 1, 1), eligible=(3, 3, 3), basis="this prompt")
    assert level.labels()[0, 0] == "diffuse" and level.labels(0.39)[0, 0] == "previous token"


def test_the_largest_pairs_leave_a_token_on_itself_out() -> None:
    weights = np.array([[1, 0, 0], [0.4, 0.6, 0], [0.1, 0.7, 0.2]])
    assert heads.top_pairs(weights, 2).tolist() == [[2, 1], [1, 0]]
    assert heads.top_pairs(weights[:1, :1], 5).tolist() == []
    tied = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0]])
    assert heads.top_pairs(tied, 2).tolist() == [[1, 0], [2, 0]]  # in reading order where they are equal
    assert heads.top_pairs(np.array([[0.9, 0], [0, 0.9]]), 3).tolist() == []
