"""Our marks of made-up answers against what the released scripts say of them (official/write_verdicts.py)."""

import json
from pathlib import Path
from typing import Any

import pytest

from valor_ray.measure.marks import Metric, strict_mark
from valor_ray.measure.paper_rules import PaperRule, paper_mark

TABLE = json.loads((Path(__file__).parent / "official/verdicts.json").read_text(encoding="utf-8"))
RULES = {
    "omni3d_int": PaperRule.OMNI3D_INT,
    "omni3d_float": PaperRule.OMNI3D_FLOAT,
    "omni3d_text": PaperRule.OMNI3D_TEXT,
    "robospatial": PaperRule.YES_ELSE_NO,
    "blink": PaperRule.BLINK,
    "vsr": PaperRule.VSR,
    "realworldqa": PaperRule.PART_OF_TRUTH,
    "tallyqa": PaperRule.INT_OR_ZERO,
    "countbenchqa": PaperRule.INT,
}


def pairs(table: dict[str, Any]) -> list[tuple[Any, Any, float]]:
    """Answer, truth, verdict."""
    rows = zip(table["truths"], table["verdicts"], strict=True)
    return [
        (answer, truth, verdict)
        for truth, row in rows
        for answer, verdict in zip(table["answers"], row, strict=True)
    ]


def held(name: str, truth: Any) -> Any:
    """The script's truth as our sets hold it."""
    return ("no", "yes")[truth] if name == "vsr" else truth


@pytest.mark.parametrize("name", RULES)
def test_the_papers_rule_says_what_the_papers_script_says(name: str) -> None:
    of_script = pairs(TABLE["paper"][name])
    other = [
        (answer, truth, verdict)
        for answer, truth, verdict in of_script
        if paper_mark(RULES[name], answer, held(name, truth)) != pytest.approx(verdict)
    ]
    assert len(of_script) >= 200 and not other


def test_strict_differs_from_robospatials_script_only_where_that_takes_a_beginning_for_the_answer() -> None:
    of_script = pairs(TABLE["robospatial_official"])
    assert len(of_script) >= 200
    for answer, truth, verdict in of_script:
        ours = strict_mark(Metric.YES_NO, answer, truth)
        if ours != verdict:
            word = answer.strip().rstrip(".!?").lower()
            more = verdict and word != truth and word.startswith(truth)  # "not sure" is no "no"
            spelt = not verdict and word in ("true", "false")  # a program's own words
            assert more or spelt, (answer, truth, verdict)
