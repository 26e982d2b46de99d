"""Wrong verdicts on purpose: the same ones each time, and as many as are asked for."""

import numpy as np
import pytest

from valor_ray.tabletop.judge.boxes.noise import Noise, wrong_parts

PIXELS = [np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8) for seed in range(600)]


def test_share_of_verdicts_turns_and_the_same_ones_again() -> None:
    first = [Noise(0.1).turns("box_crop", "red box", pixels) for pixels in PIXELS]
    assert 30 <= sum(first) <= 95
    assert first == [Noise(0.1).turns("box_crop", "red box", pixels.copy()) for pixels in PIXELS]


@pytest.mark.parametrize(
    ("noise", "stage", "label"),
    [
        (Noise(0.1, seed=1), "box_crop", "red box"),
        (Noise(0.1), "box_coarse", "red box"),
        (Noise(0.1), "box_crop", "box"),
    ],
)
def test_seed_stage_and_label_each_choose_other_verdicts(noise: Noise, stage: str, label: str) -> None:
    def turned(noise: Noise, stage: str, label: str) -> list[bool]:
        return [noise.turns(stage, label, pixels) for pixels in PIXELS]

    assert turned(noise, stage, label) != turned(Noise(0.1), "box_crop", "red box")


def test_without_noise_nothing_turns() -> None:
    assert not any(Noise().turns("box_crop", "red box", pixels) for pixels in PIXELS)


def test_disturbed_parts_are_split_swapped_or_merged_and_stay_a_partition() -> None:
    parts = [([0, 1], 1), ([2], 2), ([3, 4, 5], 3)]
    assert wrong_parts(parts, [False] * 3, [False] * 3) == parts
    assert wrong_parts(parts, [True, False, False], [False] * 3)[0] == ([0, 1], 0)
    assert wrong_parts(parts, [True, False, False], [True] * 3)[:2] == [([0], 0), ([1], 1)]
    assert wrong_parts(parts, [False, True, False], [False] * 3) == [([0, 1, 2], 1), ([3, 4, 5], 3)]
    assert wrong_parts([([0], 0), ([1], 1)], [True, True], [False, False]) == [([0, 1], 0)]
    assert wrong_parts([([0], 0)], [True], [False]) == [([0], 0)]
