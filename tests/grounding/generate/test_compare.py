"""Precision, recall, F1 and mean IoU of two methods, counted by hand."""

import pytest

from valor_ray.grounding.generate.compare import Named, Tally, compare, tally

A, B = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 30.0, 40.0)
NEAR_A = (0.0, 0.0, 10.0, 8.0)  # IoU 0.8
HALF_A, UNDER_A = (0.0, 0.0, 10.0, 5.0), (0.0, 0.0, 10.0, 4.9)  # IoU 0.5, which is enough, and 0.49


def test_each_true_box_is_claimed_once_in_the_order_given() -> None:
    counted = tally([("ball", NEAR_A), ("ball", A), ("Ball", B)], {"ball": Named((A, B))})
    assert counted == Tally(boxes=3, right=2, true=2, iou_sum=pytest.approx(1.8))


def test_a_box_claims_from_half_on() -> None:
    assert tally([("ball", HALF_A)], {"ball": Named((A,))}).right == 1
    assert tally([("ball", UNDER_A)], {"ball": Named((A,))}).right == 0


def test_a_box_under_another_phrase_is_wrong_and_one_of_an_undecided_phrase_is_in_no_figure() -> None:
    counted = tally([("box", A), ("thing", A)], {"ball": Named((A,)), "box": Named(())})
    assert counted == Tally(boxes=1, right=0, true=1, undecided=1)


def test_a_box_on_what_is_hardly_to_be_seen_is_neither_right_nor_wrong() -> None:
    counted = tally([("ball", B), ("ball", A), ("ball", A)], {"ball": Named((A,), (B,))})
    assert counted == Tally(boxes=2, right=1, true=1, iou_sum=1.0)


def test_one_object_under_two_phrases_is_asked_for_twice() -> None:
    assert tally([("ball", A), ("red ball", A)], {"ball": Named((A,)), "red ball": Named((A,))}).right == 2


def test_figures_are_of_all_pictures_together() -> None:
    generated = [Tally(4, 2, 3, 1.5), Tally(4, 0, 1, 0.0)]
    verified = [Tally(2, 2, 3, 1.8), Tally(1, 1, 1, 0.9)]
    report = compare(generated, verified)
    mine, theirs = report["generator"], report["verified"]
    assert (mine["boxes"], mine["right"], mine["true"]) == (8, 2, 4)
    assert (mine["precision"], mine["recall"]) == (0.25, 0.5)
    assert mine["f1"] == pytest.approx(2 * 0.25 * 0.5 / 0.75) and mine["mean_iou"] == 0.75
    assert theirs["precision"] == 1 and theirs["recall"] == 0.75 and theirs["mean_iou"] == pytest.approx(0.9)
    assert report["f1_difference"] == pytest.approx(6 / 7 - 1 / 3)
    for figures in (mine, theirs):
        for name in ("precision", "recall", "f1", "mean_iou"):
            low, high = figures[f"{name}_ci"]
            assert low <= figures[name] + 1e-9 and figures[name] <= high + 1e-9


def test_the_bootstrap_is_paired_by_picture_and_repeatable() -> None:
    """Pictures differ a lot, the methods always by the same: the difference is sure although each figure is not."""
    hard_or_easy = [Tally(10, 1 + 8 * (n % 2), 10) for n in range(40)]
    better = [Tally(10, 2 + 8 * (n % 2), 10) for n in range(40)]
    report = compare(hard_or_easy, better)
    assert report["f1_difference"] == pytest.approx(0.1)
    assert report["f1_difference_ci"] == pytest.approx([0.1, 0.1])
    low, high = report["generator"]["f1_ci"]
    assert high - low > 0.2 and compare(hard_or_easy, better) == report


def test_what_nothing_stands_behind_is_none() -> None:
    report = compare([Tally()], [Tally(true=2)])
    assert report["generator"]["precision"] is None and report["generator"]["precision_ci"] is None
    assert report["generator"]["f1"] is None and report["f1_difference"] is None
    assert report["verified"]["recall"] == 0 and report["verified"]["mean_iou"] is None
    assert compare([], [])["generator"]["f1_ci"] is None
