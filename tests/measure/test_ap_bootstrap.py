"""Bootstrap of AP: each resample is what detection_ap gives of the drawn pictures."""

import time

import numpy as np
import pytest

from valor_ray.measure.ap_bootstrap import change, draws, marks, means, table
from valor_ray.measure.detection_ap import IOUS, Boxes, average_precision, mean_ap

CLASSES = 4


def scenes(pictures: int, seed: int, boxes: int = 6, noise: float = 4.0, tied: bool = False):
    """Detections and truth, [class][picture]: true boxes moved a little, some lost, some invented."""
    rng = np.random.default_rng(seed)
    detected = [[] for _ in range(CLASSES)]
    true = [[] for _ in range(CLASSES)]
    for kind in range(CLASSES - 1):  # the last class never occurs
        for _ in range(pictures):
            at = rng.uniform(0, 200, (int(rng.integers(0, 4)), 2))
            real = np.concatenate([at, at + rng.uniform(15, 50, at.shape)], 1)
            near = real[rng.random(len(real)) < 0.8] + rng.normal(0, noise, (1, 4)) if len(real) else real[:0]
            at = rng.uniform(0, 200, (int(rng.integers(0, boxes)), 2))
            far = np.concatenate([at, at + 30], 1)
            seen = np.concatenate([near, near[:1] + 1, far]).reshape(-1, 4)
            detected[kind].append(Boxes(seen, rng.random(len(seen)).round(1 if tied else 9)))
            true[kind].append(Boxes(real.reshape(-1, 4), np.ones(len(real))))
    empty = Boxes(np.zeros((0, 4)), np.zeros(0))
    detected[-1], true[-1] = [empty] * pictures, [empty] * pictures
    return detected, true


def test_undrawn_it_is_detection_ap():
    detected, true = scenes(30, 1, tied=True)
    made = table(marks(detected, true))
    expected = np.array(
        [[average_precision(d, t, iou) for iou in IOUS] for d, t in zip(detected, true, strict=True)]
    )
    np.testing.assert_allclose(made[0], expected, atol=1e-12)
    assert np.isnan(made[0, -1]).all()
    ap50, full = means(made)
    assert (ap50[0], full[0]) == pytest.approx(mean_ap(detected, true))


def test_a_resample_is_detection_ap_of_the_drawn_pictures():
    detected, true = scenes(12, 2)
    drawn = draws(12, 5, seed=3)
    made = table(marks(detected, true), drawn)
    assert (drawn.sum(1) == 12).all() and (drawn == 0).any() and (drawn > 1).any()
    for row, counts in enumerate(drawn):
        places = np.repeat(np.arange(12), counts)
        for kind in range(CLASSES):
            repeated = [[each[kind][place] for place in places] for each in (detected, true)]
            expected = [average_precision(*repeated, iou) for iou in IOUS]
            np.testing.assert_allclose(made[row, kind], expected, atol=1e-12)


def test_pictures_of_a_cluster_are_drawn_together():
    detected, true = scenes(8, 4)
    clusters = [0, 1, 2, 3] * 2
    marked = marks(detected, true, clusters)
    assert marked.clusters == 4
    counts = np.array([[2, 0, 1, 1]])
    places = [place for place, cluster in enumerate(clusters) for _ in range(counts[0, cluster])]
    expected = mean_ap(
        *([[each[kind][place] for place in places] for kind in range(CLASSES)] for each in (detected, true))
    )
    ap50, full = means(table(marked, counts))
    assert (ap50[0], full[0]) == pytest.approx(expected)


def test_a_class_missing_from_a_draw_is_left_out_of_its_mean():
    made = np.full((2, 2, len(IOUS)), 0.5)
    made[0, 1] = np.nan
    made[1] = np.nan
    ap50, full = means(made)
    assert ap50[0] == full[0] == 0.5 and np.isnan(ap50[1]) and np.isnan(full[1])


def test_a_better_detector_surely_gains_and_an_equal_one_gains_nothing():
    good, true = scenes(60, 5, noise=1.0)
    bad, _ = scenes(60, 5, noise=12.0)
    drawn = draws(60, 300)
    before, after = (marks(each, true) for each in (bad, good))
    gains = means(table(after, drawn))[1] - means(table(before, drawn))[1]
    sure = change(means(table(before))[1][0], means(table(after))[1][0], gains)
    assert sure.gain > 0.1 and sure.ci[0] > 0 and sure.ci[0] < sure.gain < sure.ci[1]
    same = change(0.5, 0.5, np.zeros(300))
    assert same.gain == 0 and same.ci == (0, 0)


def test_the_interval_holds_the_true_gain_about_as_often_as_it_says():
    """On halves of a large set: 40 intervals of 95 % should miss the whole set's gain seldom."""
    good, true = scenes(1600, 6, noise=3.0)
    bad, _ = scenes(1600, 6, noise=7.0)

    def part(sets, start, stop):
        return [each[start:stop] for each in sets]

    whole = means(table(marks(good, true)))[0][0] - means(table(marks(bad, true)))[0][0]
    missed = 0
    for start in range(0, 1600, 40):
        drawn = draws(40, 200, seed=start)
        truth = part(true, start, start + 40)
        before, after = (marks(part(each, start, start + 40), truth) for each in (bad, good))
        gains = means(table(after, drawn))[0] - means(table(before, drawn))[0]
        low, high = change(0, 0, gains).ci
        missed += not low <= whole <= high
    assert missed <= 8


def test_five_hundred_resamples_of_a_real_size_take_seconds():
    detected, true = scenes(600, 7, boxes=30)
    marked = marks(detected, true)
    start = time.process_time()
    made = table(marked, draws(600, 500))
    assert made.shape == (500, CLASSES, len(IOUS))
    assert time.process_time() - start < 8
