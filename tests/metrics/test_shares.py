"""The numbers of `metrics.py` on cases worked out by hand, and their properties."""

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from infoflow.metrics import shares as metrics


def gram(*vectors: list[float]) -> np.ndarray:
    stacked = np.array(vectors, dtype=np.float64)
    return stacked @ stacked.T


def test_on_vectors_whose_answers_are_known() -> None:
    """(3, 0) and (0, 4): lengths 3 and 4, whole of length 5."""
    G = gram([3, 0], [0, 4])
    np.testing.assert_allclose(metrics.norms(G), [3, 4])
    assert metrics.total_norm(G) == pytest.approx(5)
    assert metrics.cancellation(G) == pytest.approx(7 / 5)
    np.testing.assert_allclose(metrics.cosine(G), [3 / 5, 4 / 5])
    np.testing.assert_allclose(metrics.shares(G, "norm"), [3 / 7, 4 / 7])
    np.testing.assert_allclose(metrics.shares(G, "projection"), [9 / 25, 16 / 25])
    np.testing.assert_allclose(metrics.shares(G, "distance"), [1 / 3, 2 / 3])  # 5 - 4 and 5 - 3


def test_a_part_against_the_whole_has_a_negative_projection_and_no_distance_share() -> None:
    G = gram([3, 0], [-1, 0])
    np.testing.assert_allclose(metrics.shares(G, "projection"), [1.5, -0.5])
    np.testing.assert_allclose(metrics.shares(G, "distance"), [1, 0])
    assert metrics.cancellation(G) == pytest.approx(2)


def test_nothing_has_no_shares() -> None:
    G = np.zeros((2, 2))
    for metric in metrics.METRICS:
        assert (metrics.shares(G, metric) == 0).all()
    assert metrics.cancellation(G) == 0


@settings(deadline=None)  # a busy machine fails no test
@given(arrays(np.float64, (4, 6), elements=st.floats(-3, 3, width=32)))
def test_shares_match_the_vectors(parts: np.ndarray) -> None:
    whole = parts.sum(0)
    size, lengths = np.linalg.norm(whole), np.linalg.norm(parts, axis=-1)
    closer = np.maximum(size - np.linalg.norm(whole - parts, axis=-1), 0)
    assume(size > 0.1 and (closer.sum() > 0.01 or closer.sum() == 0))  # next to nothing has no digits left to compare
    G = parts @ parts.T
    np.testing.assert_allclose(metrics.shares(G, "norm"), lengths / lengths.sum(), atol=1e-6)
    np.testing.assert_allclose(metrics.shares(G, "projection"), parts @ whole / (whole @ whole), atol=1e-8)
    np.testing.assert_allclose(metrics.shares(G, "distance"), closer / (closer.sum() or 1), atol=1e-5)


@settings(deadline=None)
@given(st.integers(1, 9))
def test_effective_number_of_equal_sources_is_their_number(n: int) -> None:
    assert metrics.effective_number(np.full(n, 0.3)) == pytest.approx(n)
    assert metrics.effective_number(np.array([1.0] + [0.0] * n)) == pytest.approx(1)


def test_hiding_takes_a_part_out_of_the_sum() -> None:
    G = gram([3, 0], [0, 4], [5, 5])
    seen = metrics.without(G, np.array([False, False, True]))
    np.testing.assert_allclose(metrics.shares(seen, "projection"), [9 / 25, 16 / 25, 0])


def test_a_short_whole_has_the_same_shares_as_a_long_one() -> None:
    """Lengths below 1, whose squares are smaller than they are: nothing depends on the unit."""
    long, short = gram([3, 0], [0, 4], [-1, 1]), gram([0.03, 0], [0, 0.04], [-0.01, 0.01])
    for metric in metrics.METRICS:
        np.testing.assert_allclose(metrics.shares(short, metric), metrics.shares(long, metric), rtol=1e-9)
    np.testing.assert_allclose(metrics.shares(gram([0.03, 0], [0, 0.04]), "distance"), [1 / 3, 2 / 3])
    assert metrics.cancellation(short) == pytest.approx(metrics.cancellation(long))
    np.testing.assert_allclose(metrics.cosine(short), metrics.cosine(long))


def test_every_cell_is_measured_by_itself() -> None:
    """Two layers by three positions of two parts: what one cell holds changes nothing in another."""
    parts = [([3, 0], [0, 4]), ([1, 0], [-0.25, 0]), ([0, 0], [0, 0]), ([0.5, 0], [0.5, 0.5]), ([0, 2], [1, 0]), ([5, 0], [0, 0])]
    several = np.stack([gram(*vectors) for vectors in parts]).reshape(2, 3, 2, 2).astype(np.float32)
    every = [metrics.norms, metrics.total_norm, metrics.cosine, metrics.cancellation]
    for measure in (*every, *(partial(metrics.shares, metric=metric) for metric in metrics.METRICS)):
        together = np.asarray(measure(several))
        assert together.shape[:2] == (2, 3) and together.dtype == np.float64
        for i, vectors in enumerate(parts):
            np.testing.assert_allclose(together[i // 3, i % 3], measure(gram(*vectors)), atol=1e-6)
    np.testing.assert_allclose(metrics.shares(several, "projection")[0, 1], [4 / 3, -1 / 3], rtol=1e-6)


def test_hiding_keeps_what_the_shown_parts_are_to_each_other() -> None:
    seen = metrics.without(gram([1, 2], [3, 4], [5, 6]), np.array([False, True, False]))
    np.testing.assert_allclose(seen, [[5, 0, 17], [0, 0, 0], [17, 0, 61]])


def test_rounding_below_zero_is_nothing() -> None:
    G = np.array([[-1e-9, 0.0], [0.0, -1e-9]])
    assert (metrics.norms(G) == 0).all() and metrics.total_norm(G) == 0
    cancelled = np.array([[1.0, -1.0 - 1e-9], [-1.0 - 1e-9, 1.0]])
    assert (metrics.shares(cancelled, "projection") == 0).all()
    with pytest.raises(KeyError):
        metrics.shares(G, "length")


def test_the_effective_number_goes_by_size_and_is_1_for_nothing() -> None:
    assert metrics.effective_number(np.zeros(3)) == pytest.approx(1)
    assert metrics.effective_number(np.array([0.5, -0.5, 0.0])) == pytest.approx(2)
    assert metrics.effective_number(np.array([3.0, 1.0])) == pytest.approx(4 / 3**0.75)
