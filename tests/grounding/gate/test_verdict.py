"""The verdict: a loss up to the limit passes, what cannot be compared is refused."""

import pytest

from valor_ray.errors import ConfigError
from valor_ray.grounding.gate.coco_map import GeneralScore
from valor_ray.grounding.gate.verdict import judge_general


def score(points: float, pictures: int = 9, *names: str) -> GeneralScore:
    return GeneralScore(points, points, dict.fromkeys(names or ("cup",), points), pictures)


@pytest.mark.parametrize(
    ("after", "passed", "words"),
    [
        (48.5, True, "mAP 48.25 → 48.50 on 9 pictures: a gain of 0.25 points, within the limit of 0.25"),
        (48.25, True, "a loss of 0.00 points, within"),
        (48.0, True, "a loss of 0.25 points, within"),
        (47.75, False, "a loss of 0.50 points, beyond the limit of 0.25"),
        (float("nan"), False, "beyond"),
    ],
)
def test_a_loss_up_to_the_limit_passes(after: float, passed: bool, words: str) -> None:
    verdict = judge_general(score(48.25), score(after), 0.25)
    assert verdict.passed is passed and words in verdict.words and verdict.limit == 0.25
    assert verdict.loss == pytest.approx(48.25 - after, nan_ok=True)


@pytest.mark.parametrize("other", [score(1, 8), score(1, 9, "mug"), score(1, 9, "cup", "mug")])
def test_scores_of_other_sets_are_refused(other: GeneralScore) -> None:
    with pytest.raises(ConfigError, match=r"finetune\.general"):
        judge_general(score(1), other, 1.0)
