"""What is read off runs side by side: the same in one piece and in many, by hand."""

from math import log
from types import SimpleNamespace

import pytest
import torch

from infoflow.traced import reruns


@pytest.mark.parametrize("ids", [(2, 0), (2,)])
def test_outcomes_are_the_same_in_pieces(ids: tuple[int, ...]) -> None:
    logits = torch.randn(5, 11, generator=torch.Generator().manual_seed(0))
    whole, pieces = (reruns.outcomes_of(logits, ids, SimpleNamespace(product_bytes=n * 16 * 11)) for n in (5, 2))
    assert whole.shape == (5, 5)
    torch.testing.assert_close(pieces, whole, equal_nan=True)


def test_outcomes_by_hand() -> None:
    """Run 1 is the one that all are held against: probabilities 1/2, 1/4, 1/4 there, 1/4, 1/4, 1/2 in run 0."""
    logits = torch.tensor([[1.0, 1.0, 2.0], [2.0, 1.0, 1.0]]) * log(2)
    target, other, log_p, rank, kl = reruns.outcomes_of(logits, (0, 2), SimpleNamespace(product_bytes=10**6))
    assert target.tolist() == pytest.approx([log(2), 2 * log(2)]) and other.tolist() == pytest.approx([2 * log(2), log(2)])
    assert log_p.tolist() == pytest.approx([log(1 / 4), log(1 / 2)]) and rank.tolist() == [2, 1]
    assert kl.tolist() == pytest.approx([log(2) / 4, 0], abs=1e-6)
