"""The numbers of `metrics.py` on cases worked out by hand, and their properties."""

import numpy as np
import pytest
from hypothesis import assume, given
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


@given(st.integers(1, 9))
def test_effective_number_of_equal_sources_is_their_number(n: int) -> None:
    assert metrics.effective_number(np.full(n, 0.3)) == pytest.approx(n)
    assert metrics.effective_number(np.array([1.0] + [0.0] * n)) == pytest.approx(1)


def test_hiding_takes_a_part_out_of_the_sum() -> None:
    G = gram([3, 0], [0, 4], [5, 5])
    seen = metrics.without(G, np.array([False, False, True]))
    np.testing.assert_allclose(metrics.shares(seen, "projection"), [9 / 25, 16 / 25, 0])
