"""The prompt's share through what was written: three steps worked out by hand, rows that sum to 1, the slow sum of hops."""

import numpy as np
import pytest

from infoflow.metrics.through import through

PARTS = np.array([
    [1.0, 3.0, 0.0, 0.0],  # a quarter and three quarters
    [2.0, -5.0, 2.0, 0.0],  # half directly, half through the first one written; the negative is set aside
    [0.0, 1.0, 1.0, 2.0],  # a quarter, a quarter through the first, half through the second
])  # fmt: skip


def test_three_steps_by_hand() -> None:
    """Step 2: 1/2 + 1/2 * 1/4 = 5/8 on the first token. Step 3: 1/4 * 1/4 + 1/2 * 5/8 = 3/8."""
    found = through(PARTS, 2)
    np.testing.assert_allclose(found.prompt, [[1 / 4, 3 / 4], [5 / 8, 3 / 8], [3 / 8, 5 / 8]])
    np.testing.assert_allclose(found.direct, [[1 / 4, 3 / 4], [1 / 2, 0], [0, 1 / 4]])
    np.testing.assert_allclose(found.written, [[0, 0, 0], [1 / 2, 0, 0], [1 / 4, 1 / 2, 0]])
    np.testing.assert_allclose(found.negative, [0, -5, 0])
    np.testing.assert_allclose(found.of_span(1, 2), [1 / 2, 1 / 2])
    np.testing.assert_allclose(found.of_span(1, 2, [9, 3, 1]), [(3 * 5 / 8 + 3 / 8) / 4, (3 * 3 / 8 + 5 / 8) / 4])
    np.testing.assert_allclose(found.of_span(0, 2, [0, 0, 0]), found.of_span(0, 2))


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_sum_of_all_hops_and_rows_sum_to_one(seed: int) -> None:
    made = np.random.default_rng(seed)
    n, steps = 4, 7
    parts = made.normal(size=(steps, n + steps - 1))
    for step in range(steps):
        parts[step, n + step :] = 0
    found = through(parts, n)
    hops, total = found.direct, np.zeros((steps, n))
    for _ in range(steps):
        total, hops = total + hops, found.written @ hops
    np.testing.assert_allclose(found.prompt, total, atol=1e-12)
    np.testing.assert_allclose(found.prompt.sum(1), 1)
    np.testing.assert_allclose(found.direct.sum(1) + found.written.sum(1), 1)


def test_a_token_set_aside_has_no_share_and_one_that_nothing_raises_none() -> None:
    found = through(PARTS, 2, aside=[0])
    assert not found.prompt[:, 0].any() and found.prompt[:, 1] == pytest.approx([1, 1, 1])
    low = through(np.array([[-1.0, -2.0, 0.0], [1.0, 0.0, 3.0]]), 2)
    assert not low.prompt[0].any() and low.prompt[1] == pytest.approx([0.25, 0]) and np.isfinite(low.prompt).all()
