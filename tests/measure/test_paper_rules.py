"""The paper's rules with their quirks: what its released script gives, worked out by hand from its comparisons."""

import pytest

from valor_ray.measure.paper_rules import PaperRule, paper_mark

R = PaperRule


@pytest.mark.parametrize(
    ("rule", "answer", "truth", "mark"),
    [
        (R.OMNI3D_INT, 2.9, 2, 1), (R.OMNI3D_INT, "2", 2, 1), (R.OMNI3D_INT, "2.0", 2, 0), (R.OMNI3D_INT, None, 2, 0),
        (R.OMNI3D_INT, True, 1, 0),  # it has become "yes"
        (R.OMNI3D_TEXT, "", "sofa", 1), (R.OMNI3D_TEXT, "o", "sofa", 1), (R.OMNI3D_TEXT, "the sofa bed", "sofa", 1),
        (R.OMNI3D_TEXT, "unknown", "no", 1), (R.OMNI3D_TEXT, True, "yes", 1), (R.OMNI3D_TEXT, None, "no", 0),
        (R.OMNI3D_TEXT, 3, "sofa", 0), (R.OMNI3D_TEXT, "South", "S", 1), (R.OMNI3D_TEXT, "south", "S", 0),
        (R.OMNI3D_TEXT, "NE", "NE", 0), (R.OMNI3D_TEXT, "", "S", 0),
        (R.OMNI3D_FLOAT, 0.25, 0.25, 1), (R.OMNI3D_FLOAT, "0.25", 0.25, 1), (R.OMNI3D_FLOAT, 15, 10, 0),
        (R.OMNI3D_FLOAT, 9.5, 10, 0.9), (R.OMNI3D_FLOAT, -50, -1.0, 1), (R.OMNI3D_FLOAT, 1, 0.0, 0),
        (R.OMNI3D_FLOAT, None, 1.0, 0), (R.OMNI3D_FLOAT, True, 1.0, 0),
        (R.YES_ELSE_NO, True, "yes", 1), (R.YES_ELSE_NO, "unknown", "no", 1), (R.YES_ELSE_NO, None, "no", 1),
        (R.YES_ELSE_NO, "true", "yes", 1), (R.YES_ELSE_NO, "yes and no", "yes", 1), (R.YES_ELSE_NO, 1, "yes", 0),
        (R.BLINK, 2.9, "2", 1), (R.BLINK, "3", "3", 1), (R.BLINK, True, "yes", 0), (R.BLINK, "Yes", "yes", 1),
        (R.BLINK, "yes.", "yes", 0), (R.BLINK, None, "no", 0), (R.BLINK, [3], "3", 0),
        (R.VSR, True, "yes", 1), (R.VSR, "cat", "no", 1), (R.VSR, "yes!", "yes", 1), (R.VSR, None, "no", 0),
        (R.VSR, 0, "no", 1), (R.VSR, 1.0, "yes", 1), (R.VSR, False, "no", 1),
        (R.PART_OF_TRUTH, "", "Left", 1), (R.PART_OF_TRUTH, "1", "10", 1), (R.PART_OF_TRUTH, "left lane", "Left", 0),
        (R.PART_OF_TRUTH, "Left.", "left", 1), (R.PART_OF_TRUTH, 3, "3", 1), (R.PART_OF_TRUTH, None, "No", 0),
        (R.INT_OR_ZERO, None, 0, 1), (R.INT_OR_ZERO, "", 0, 1), (R.INT_OR_ZERO, [], 0, 1), (R.INT_OR_ZERO, 2.9, 2, 1),
        (R.INT_OR_ZERO, "two", 2, 0),
        (R.INT, 2.9, 2, 1), (R.INT, "2", 2, 1), (R.INT, None, 2, 0), (R.INT, True, 1, 1), (R.INT, float("inf"), 2, 0),
    ],
)  # fmt: skip
def test_paper_marks(rule: PaperRule, answer: object, truth: object, mark: float) -> None:
    assert paper_mark(rule, answer, truth) == mark


def test_without_a_rule_there_is_no_mark() -> None:
    assert paper_mark(PaperRule.NONE, "red", "red") is None


@pytest.mark.parametrize("rule", [rule for rule in PaperRule if rule])
@pytest.mark.parametrize("answer", [None, "", [], {}, [[]], True, 0, 1e308, "\ud800", "9" * 5000, {"a": [1]}])
def test_no_answer_of_any_type_raises(rule: PaperRule, answer: object) -> None:
    for truth in ("yes", "S", "3", 3, 0.0):
        assert paper_mark(rule, answer, truth) in (0, 1)
