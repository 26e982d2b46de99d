"""What learner processes do, on the shipped detector: replay, learning, selection and examples; nothing twice."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import finetuning as tuning
import pytest
from finetuning import make_general, make_set

from valor_ray.errors import ConfigError
from valor_ray.grounding.finetune.host import FinetuneTask
from valor_ray.grounding.finetune.local import LocalFinetuneHost
from valor_ray.grounding.finetune.mined_set import open_set
from valor_ray.grounding.finetune.process import learner_work

SMALL = ("finetune.replay_limit=4", "finetune.gate_limit=100", "finetune.alphas=[1.0]")


def task(folder: Path, *overrides: str) -> FinetuneTask:
    mined = open_set(make_set(folder / "set"))
    general = make_general(folder / "general", 3)
    run = folder / "run"
    run.mkdir()
    config = tuning.config(*SMALL, *overrides)
    phrases = tuple(mined.phrases)
    return FinetuneTask(config, run, mined.dataset, phrases, folder / "set/pictures", general, None)


def work(
    given: FinetuneTask, first: bool = True, calls: list[str] | None = None
) -> tuple[Any, list[int], list[str]]:
    steps: list[int] = []
    said: list[str] = []
    done = learner_work(
        given,
        first,
        lambda: (calls or []).append("met"),
        said.append,
        lambda record: steps.append(record["step"]),
    )
    return done, steps, said


@pytest.mark.timeout(240)
def test_the_first_process_makes_replay_learns_selects_and_shows_and_the_rest_is_resumed(
    tmp_path: Path,
) -> None:
    given = task(tmp_path)
    end, steps, _said = work(given)
    assert (end.steps, end.resumed_from, end.pictures, end.held_back) == (6, 0, 7, 1) and steps == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert (given.run / "replay/set/train.jsonl").read_text().count("\n") == 4
    selection = json.loads((given.run / "selection.json").read_text())
    assert {"alpha", "held_back", "general", "passed", "words"} <= set(selection)
    rows = [json.loads(line) for line in (given.run / "examples.jsonl").open()]
    assert len(rows) == 1 and rows[0]["verified"] and rows[0]["phrases"] == ["red ball", "blue cube"]
    averaged = (given.run / "averaged/model.safetensors").read_bytes()

    shutil.rmtree(given.run / "checkpoints/step-000006")
    shutil.rmtree(given.run / "averaged")
    again, _steps, _said = work(given)
    assert (again.steps, again.resumed_from) == (6, 4)
    assert (given.run / "averaged/model.safetensors").read_bytes() == averaged


@pytest.mark.timeout(240)
def test_without_replay_nothing_is_rehearsed_and_other_processes_select_nothing(tmp_path: Path) -> None:
    given = replace(task(tmp_path, "finetune.steps=1"), replay_pictures=None)
    work(given, first=False)
    assert not (given.run / "replay").exists() and not (given.run / "selection.json").exists()


def test_a_gpu_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"finetune\.num_gpus is 1, and this machine has no GPU"):
        LocalFinetuneHost().running(tuning.config("finetune.num_gpus=1"), tmp_path, print).__enter__()
