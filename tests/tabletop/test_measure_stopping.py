"""The choice beside the truth, on runs whose answers are worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from valor_ray.errors import ConfigError
from valor_ray.tabletop.measure_stopping import beside_truth, main


def run(folder: Path, taken: int, right: dict[int, float]) -> Path:
    """right: step -> share of 40 questions, two a picture, the first ones."""
    for step, share in right.items():
        rows = [
            {"query_id": f"q{n:02d}", "picture": f"/here/{n // 2}.png", "right": n < share * 40}
            for n in range(40)
        ]
        path = folder / "evaluation" / f"step-{step:06d}" / "answers.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    take = {"step": taken, "signals": [{"step": step} for step in right]}
    (folder / "take.json").write_text(json.dumps(take))
    return folder


def test_the_choice_lies_as_far_below_the_best_as_it_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = run(tmp_path / "a", 40, {0: 0.2, 20: 0.8, 40: 0.5})
    same = run(tmp_path / "b", 20, {0: 0.2, 20: 0.8, 40: 0.5})
    one, other = beside_truth(worse), beside_truth(same)
    assert (one.taken, one.best, one.within, one.n) == (40, (20, 20), False, 40)
    assert one.below_best == pytest.approx(0.3) and one.over_last == 0 and one.accuracies[20] == 0.8
    assert one.below_best_ci[0] > 0
    assert other.within and other.below_best == 0 and other.over_last == pytest.approx(0.3)
    assert main([str(worse), str(same)]) == 0
    assert "of the best checkpoint: 1 of 2 runs" in capsys.readouterr().out


def test_a_run_that_has_chosen_nothing_or_asked_no_truth_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="has chosen no checkpoint"):
        beside_truth(tmp_path)
    chosen = run(tmp_path / "a", 20, {20: 0.5})
    (chosen / "take.json").write_text(json.dumps({"step": 20, "signals": [{"step": 20}, {"step": 40}]}))
    assert main([str(chosen)]) == 2
    assert "not asked of step 40" in capsys.readouterr().err
