"""Stages of `valor improve` that are scripted: each leaves the folder that its command would, in no time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.figures import report_of
from valor_ray.benchmarks.results.row import AnswerRow
from valor_ray.config.tree import Config
from valor_ray.improve.child import Ended
from valor_ray.improve.run import improve
from valor_ray.improve.stages import WRITTEN, Evaluated, Job, Kind, Models, Stage

START = Models("tabletop:policy", "tabletop:detector")
N = 40  # questions, two a picture


def job_at(folder: Path, **changed: Any) -> Job:
    usual: dict[str, Any] = {
        "start": START, "rounds": 1, "evaluated": (Evaluated("tabletop"),), "images": None, "questions": None,
        "eval_scenes": None, "profile": "local", "overrides": (),
    }  # fmt: skip
    return Job(folder=folder, **{**usual, **changed})


def rows(right: int) -> list[AnswerRow]:
    """Of which so many are right, the first ones."""
    return [
        AnswerRow(
            query_id=str(number), question=f"How many? {number}", family=("count", "size")[number % 2], look="wood",
            truth=1, answer=int(number < right), right=number < right, error=None, unasked=False, seconds=0.1,
            picture=str(number // 2), status="ok",
        )
        for number in range(N)
    ]  # fmt: skip


@dataclass
class Script:
    """A launcher. What each stage gives may be changed by its name, or by its kind."""

    gives: dict[str, dict[str, Any]] = field(default_factory=dict)  # parts of the result
    ends: dict[str, Ended] = field(default_factory=dict)  # in place of all that, once
    before: Callable[[Stage], None] = lambda stage: None
    after: Callable[[Stage], None] = lambda stage: None
    told: dict[str, list[str]] = field(default_factory=dict)  # the last command line of each
    count: Counter[str] = field(default_factory=Counter)  # launches

    def __call__(self, stage: Stage, words: Sequence[str]) -> Ended:
        self.count[stage.name] += 1
        self.told[stage.name] = list(words)
        self.before(stage)
        if (end := self.ends.pop(stage.name, None)) is not None:
            return end
        stage.folder.mkdir(parents=True, exist_ok=True)
        result = self._make(stage) | self.gives.get(stage.kind, {}) | self.gives.get(stage.name, {})
        self.after(stage)
        return Ended(0, result, "", 1.0)

    def _make(self, stage: Stage) -> dict[str, Any]:
        if stage.kind is Kind.EVALUATE:
            trained = [
                model != start
                for model, start in zip(vars(stage.models).values(), vars(START).values(), strict=True)
            ]
            return evaluated(stage.folder, 12 + 10 * sum(trained))
        if stage.kind is Kind.REASONING:
            (stage.folder / "chosen").mkdir(exist_ok=True)
            take = {
                "step": 60,
                "why": "score",
                "weights": "chosen",
                "signals": [{"step": 60, "agreement": 0.7}],
            }
            return {"steps": 80, "reward_start": 0.3, "reward_end": 0.5, "stopped": None, "take": take}
        if stage.kind is Kind.GROUNDING:
            weights = stage.folder / "weights" / "step-000550"
            weights.mkdir(parents=True, exist_ok=True)
            return {"published": "step-000550", "weights": str(weights), "verdict": "passed"}
        if stage.kind is Kind.QUESTIONS:
            return written(stage.folder)
        return {"images": 5, "candidates": 50, "kept": 20, "calls": 70}


def evaluated(folder: Path, right: int) -> dict[str, Any]:
    """A folder of `valor eval`; returns its report."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text('{"kind": "eval"}')
    (folder / "answers.jsonl").write_text("".join(json.dumps(row.record()) + "\n" for row in rows(right)))
    (folder / "report.json").write_text(_report(right))
    return json.loads(_report(right))


@cache
def _report(right: int) -> str:
    return json.dumps(asdict(report_of("tabletop", rows(right), 1.0)))


def written(folder: Path, count: int = 24) -> dict[str, Any]:
    """queries.jsonl as `jobs.write_queries` leaves it, with pictures that are a few bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(bytes([number]))
        lines.append(
            {"query_id": f"{number}.jpg", "image": f"{number}.jpg", "question": f"What is at {number}?"}
        )
    (folder / WRITTEN).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"written": count, "before": 0, "cost_usd": 0.0}


def run_job(
    job: Job,
    script: Script,
    *overrides: str,
    most_usd: float | None = None,
    said: list[str] | None = None,
    report: Callable[[Path], dict[str, Any]] = lambda folder: {"finished": True},
) -> dict[str, Any]:
    """To its end, without figures, which take a second: `write_report` makes them."""
    config = Config.load(job.profile, [*job.overrides, *overrides])
    lines = [] if said is None else said
    return improve(job, config, script, report, most_usd=most_usd, say=lines.append)
