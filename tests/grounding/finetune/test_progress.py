"""Records of steps: each once, and a line every few seconds with what is left."""

from pathlib import Path

import finetuning as tuning
import pytest

from valor_ray.grounding.finetune import progress
from valor_ray.grounding.finetune.folder import FinetuneFolder
from valor_ray.grounding.finetune.progress import StepRecords


def test_steps_given_again_are_recorded_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_EVERY_S", 0.0)
    said: list[str] = []
    with StepRecords(FinetuneFolder(tmp_path), 2, 5, said.append) as records:
        for step in (1, 2, 3, 4, 3, 4, 5):
            records.take(tuning.step_record(step))
    assert tuning.steps(tmp_path) == [3, 4, 5]
    assert [line.split(":")[0] for line in said] == ["step 3/5", "step 4/5", "step 5/5"]
    assert said[1].startswith("step 4/5: loss 2.500, 4 boxes, 8.0 pictures/s, ") and said[1].endswith(" left")


def test_lines_come_every_few_seconds_and_the_last_step_has_one(tmp_path: Path) -> None:
    said: list[str] = []
    with StepRecords(FinetuneFolder(tmp_path), 0, 40, said.append) as records:
        for step in range(1, 41):
            records.take(tuning.step_record(step))
    assert len(said) == 1 and said[0].startswith("step 40/40")
