import pytest
import torch

from valor_ray.grounding.learner.averages import between, follow


def test_between_is_a_share_of_the_end():
    start, end = {"a": torch.zeros(2), "other": torch.ones(1)}, {"a": torch.full((2,), 4.0)}
    assert between(start, end, 0.25)["a"].tolist() == [1, 1]
    assert between(start, end, 1.0).keys() == {"a"}


def test_the_average_forgets_its_start_and_then_moves_slowly():
    average, present = {"a": torch.zeros(1)}, {"a": torch.ones(1)}
    follow(average, present, 0.99, 1)
    assert average["a"].item() == pytest.approx(1 - 2 / 11)
    late = {"a": torch.zeros(1)}
    follow(late, present, 0.99, 10_000)
    assert late["a"].item() == pytest.approx(0.01)


def test_without_averaging_it_is_the_present():
    average = {"a": torch.zeros(1)}
    follow(average, {"a": torch.ones(1)}, 0.0, 500)
    assert average["a"].item() == 1
