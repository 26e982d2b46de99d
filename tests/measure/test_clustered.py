"""Intervals of shares whose things come in clusters."""

import numpy as np
import pytest

from valor_ray.measure.clustered import clustered
from valor_ray.measure.intervals import wilson


def test_clusters_of_one_are_as_good_as_independent() -> None:
    assert clustered([(1, 1)] * 30 + [(0, 1)] * 10) == pytest.approx(wilson(30, 40), abs=0.006)


def test_clusters_whose_things_are_all_alike_are_worth_one_each() -> None:
    """40 pictures of 10 equal boxes say what 40 boxes say: variance .75·.25·(40/39)/40 by hand."""
    low, high = clustered([(10, 10)] * 30 + [(0, 10)] * 10)
    assert (low, high) == pytest.approx(wilson(29.25, 39), abs=1e-9)


def test_all_right_is_worth_one_a_cluster() -> None:
    assert clustered([(10, 10)] * 20) == wilson(20, 20)
    assert clustered([(0, 10)] * 20) == wilson(0, 20)


def test_one_cluster_tells_little_and_none_nothing() -> None:
    low, high = clustered([(5, 10)])
    assert low < 0.1 and high > 0.9
    assert clustered([]) == clustered([(0, 0)]) == (0.0, 1.0)


def test_things_spread_evenly_are_worth_no_more_than_their_number() -> None:
    assert clustered([(5, 10)] * 20) == wilson(100, 200)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Boxes of a picture are alike: half of the pictures are easy (.95), half hard (.55); the truth is .75."""
    rng = np.random.default_rng(11)
    held = held_independent = 0
    for _ in range(400):
        rates = np.where(rng.random(60) < 0.5, 0.95, 0.55)
        rights = rng.binomial(8, rates)
        low, high = clustered([(int(right), 8) for right in rights])
        held += low <= 0.75 <= high
        low, high = wilson(int(rights.sum()), 480)
        held_independent += low <= 0.75 <= high
    assert held >= 0.92 * 400 > held_independent
