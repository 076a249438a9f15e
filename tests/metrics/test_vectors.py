"""Lengths and angles, by hand."""

import numpy as np
import pytest

from infoflow.metrics.vectors import Norm, cosine, norm


@pytest.mark.parametrize(("kind", "length"), [(Norm.L2, 5.0), (Norm.L1, 7.0), (Norm.LARGEST, 4.0), (Norm.COUNT, 2.0)])
def test_lengths(kind: Norm, length: float) -> None:
    x = np.array([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    assert norm(x, kind).tolist() == [length, 0.0]


def test_entries_below_a_hundredth_of_the_largest_do_not_count() -> None:
    assert norm(np.array([100.0, 1.0, 1.01, -50.0], np.float32), Norm.COUNT) == 3


def test_angles() -> None:
    x = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]], np.float32)
    assert np.allclose(cosine(x, np.array([1.0, 0.0], np.float32)), [1.0, 2**-0.5, 0.0])
    assert cosine(x[:1], -x[:1]).tolist() == [-1.0]
