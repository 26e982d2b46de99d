"""What a row of the control table says of the verifier."""

import pytest

from valor_ray.tabletop.finetune.controls.table import words


@pytest.mark.parametrize(
    ("name", "over", "interval", "said"),
    [
        ("self_training", -8, (-10, -6), ""),
        ("self_training", -3, (-5, -1), "by less than the goal of 5"),
        ("replay_only", -8, (-10, -6), "by less than the goal of 10"),
        ("random_verifier", -1, (-2, -0.5), ""),
        ("random_verifier", -1, (-2.5, 0.5), "has not shown its worth"),
        ("self_training", 1, (-1, 3), "has not shown its worth"),
        ("self_training", 3, (1, 5), "does not earn its place"),
        ("true_boxes", 5, (3, 7), ""),
        ("true_boxes", 1, (-1, 3), "Not surely better than verified boxes"),
        ("without_coarse", -4, (-6, -2), ""),
        ("without_crop", -1, (-3, 1), "The crop check shows no sure worth"),
        ("without_duplicates", 2, (1, 3), "The duplicate check does harm"),
        ("without_replay", 0, (-1, 1), "Replay shows no sure worth"),
        ("replay_of_boxes", 2, (1, 3), "Rehearsal by distillation does harm"),
        ("two_rounds", 3, (1, 5), ""),
        ("two_rounds", 1, (-1, 3), "no sure gain over the first"),
    ],
)
def test_words_follow_the_interval(name: str, over: float, interval: tuple[float, float], said: str) -> None:
    line = words(name, over, interval)
    assert said in line if said else line == ""
