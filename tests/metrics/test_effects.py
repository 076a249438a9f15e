"""Numbers of changed runs, by hand."""

import numpy as np
import pytest

from infoflow.metrics.effects import Outcomes, filled, mean_of, measured


def runs(logit: list[float], against: list[float]) -> Outcomes:
    many = len(logit)
    return Outcomes(
        logit=np.array(logit), against=np.array(against), log_probability=np.log(np.full(many, 0.25)), rank=np.arange(many) + 1.0,
        kl=np.arange(many) * 0.5,
    )  # fmt: skip


def test_each_metric_by_hand() -> None:
    clean, corrupted = runs([5.0], [1.0]).at(0), runs([2.0], [4.0]).at(0)
    found = runs([5.0, 2.0, 3.5], [1.0, 4.0, 2.5])
    assert measured(found, "logit_diff", clean, corrupted).tolist() == [4.0, -2.0, 1.0]
    assert measured(found, "recovery", clean, corrupted).tolist() == [1.0, 0.0, 0.5]  # (1 + 2) / (4 + 2)
    assert measured(found, "logit", clean, corrupted).tolist() == [5.0, 2.0, 3.5]
    np.testing.assert_allclose(measured(found, "probability", clean, corrupted), 0.25)
    assert measured(found, "rank", clean, corrupted).tolist() == [1, 2, 3]
    assert measured(found, "kl", clean, corrupted).tolist() == [0, 0.5, 1]
    with pytest.raises(KeyError):
        measured(found, "mood", clean, corrupted)


def test_without_a_rival_the_logit_stands_for_the_lead_and_no_way_is_no_share() -> None:
    alone = runs([3.0], [float("nan")])
    assert alone.lead.tolist() == [3.0]
    assert np.isnan(measured(alone, "recovery", alone.at(0), alone.at(0))).all()


def test_draws_are_averaged_and_what_did_not_run_is_the_unpatched_run() -> None:
    one, other = runs([1.0, 2.0], [0.0, 0.0]), runs([3.0, 6.0], [2.0, 0.0])
    assert mean_of([one, other]).lead.tolist() == [1.0, 4.0]
    whole = filled(one, np.array([True, False, True]), other.at(1))
    assert whole.logit.tolist() == [1.0, 6.0, 2.0] and whole.shaped(1, 3, 1).rank.shape == (1, 3, 1)
