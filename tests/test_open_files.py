"""Law 8 while a run runs: of all its processes only the evaluation opens a file that holds answers."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import train_runs as runs

AUDIT = Path(__file__).parent / "support" / "open_audit"


def _opened(log: Path, name: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.read_text().splitlines()) if Path(line["path"]).name == name]


@pytest.mark.slow  # a whole training run with both evaluations
@pytest.mark.timeout(600)
def test_no_process_of_a_run_opens_a_truth_but_the_evaluation(tmp_path: Path) -> None:
    log = tmp_path / "opened.jsonl"
    path = os.pathsep.join(filter(None, (str(AUDIT), os.environ.get("PYTHONPATH"))))
    settings = ["grpo.steps=2", "grpo.eval_questions=24"]
    run = runs.Run(tmp_path / "run", settings, PYTHONPATH=path, VALOR_OPEN_AUDIT=str(log))
    report = run.finish()
    assert report["steps"] == 2 and len(runs.records(tmp_path / "run" / "evaluation.jsonl")) == 2

    seen = {line["process"] for line in _opened(log, "config.json")}
    for part in ("RayTrainWorker", "policy", "detector"):
        assert any(part in process for process in seen), (part, seen)
    truths = _opened(log, "truth.jsonl")
    assert truths  # the evaluation has read its own
    strangers = [
        line
        for line in truths
        if line["pid"] != run.process.pid
        or not any("/valor_ray/benchmarks/" in file for file in line["stack"])
    ]
    assert strangers == []
