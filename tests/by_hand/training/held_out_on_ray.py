"""By hand: held-out questions of a training run get the same answers on a real Ray as in one process.

    python -m pytest -m slow tests/by_hand/training/held_out_on_ray.py

About four minutes: two starts of an engine, four evaluations. (test_seeing.py has the same for pictures alone.)
"""

from __future__ import annotations

from pathlib import Path

import pytest
import train_runs as runs


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_held_out_questions_get_the_same_answers_on_ray_as_in_one_process(tmp_path: Path) -> None:
    asked = {}
    for name, options in (("ray", ()), ("near", ("--in-process",))):
        folder = tmp_path / name
        # of the offline judge, which can do VQA
        settings = ["grpo.steps=1", "grpo.eval_questions=24", "stopping.questions=0"]
        run = runs.Run(folder, settings, *options)
        run.finish()
        assert [record["step"] for record in runs.records(folder / "evaluation.jsonl")] == [0, 1]
        assert all(record["unasked"] == 0 for record in runs.records(folder / "evaluation.jsonl"))
        assert run.said().count("detector ready after") == (2 if name == "ray" else 0)
        answers = runs.records(folder / "evaluation" / "step-000000" / "answers.jsonl")
        asked[name] = {row["query_id"]: (row["answer"], row["error"]) for row in answers}
    # figures of a batch differ from those of one picture in their last bits
    assert len(asked["ray"]) == 24 and asked["ray"].keys() == asked["near"].keys()
    for query, (answer, error) in asked["near"].items():
        same = pytest.approx(answer, rel=1e-4) if isinstance(answer, float) else answer
        assert asked["ray"][query] == (same, error), query
