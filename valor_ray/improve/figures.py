"""What a job has come to: accuracies and paired gains by benchmark, the rounds, costs. From records alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.comparison import compare
from valor_ray.errors import ConfigError
from valor_ray.improve.journal import Journal, job_of
from valor_ray.improve.run import cost_by_stage
from valor_ray.improve.stages import BASE, Job, Kind, Measured, controls, measured, models_of
from valor_ray.measure.holm import SURE, holm
from valor_ray.report.improve.page import write_improve_page
from valor_ray.runs.record_file import replace_text

REPORT, PAGE = "report.json", "report.html"  # in the job's folder
NOT_MEASURED = "no truth: not measured"
_GAIN = ("before", "after", "gain", "ci", "p", "fixed", "broken", "visible", "pictures")


def write_report(folder: Path) -> dict[str, Any]:
    """report.json and the page; returns the report. Raises ConfigError when the folder holds no job, StorageError."""
    report = figures(folder)
    replace_text(folder / REPORT, json.dumps(report, indent=1) + "\n")
    write_improve_page(folder, report)
    return report


def figures(folder: Path) -> dict[str, Any]:
    """Also of a job that goes on: what is not there yet is null."""
    journal = Journal(folder)
    if not (begun := journal.begun()):
        raise ConfigError(
            f"{folder} holds no improve.json: `valor improve --run {folder}` begins, or goes on."
        )
    job, ended, rows = job_of(folder, begun), journal.ended(), journal.rows()
    benchmarks = {one.benchmark: _benchmark(job, ended, one.benchmark) for one in job.evaluated}
    first: Mapping[str, Any] = next(iter(benchmarks.values()), {})
    cost = cost_by_stage(rows)
    seconds = _seconds(rows)
    return {
        "run": str(folder),
        "rounds": [_round(job, ended, number, benchmarks) for number in range(1, job.rounds + 1)],
        "benchmark": next(iter(benchmarks), None),
        "accuracy": first.get("accuracy"),
        "gains": first.get("gains"),
        "measured": None if benchmarks else NOT_MEASURED,
        "controls": job.controls,
        "benchmarks": benchmarks,
        "start": vars(job.start),
        "rule_based": begun["rule_based"],
        "stages": [_stage(stage, ended, seconds, cost) for stage in begun["stages"]],
        "finished": all(stage["stage"] in ended for stage in begun["stages"]),
        "cost_usd": round(sum(cost.values()), 6),
        "minutes": round(sum(seconds.values()) / 60, 2),
        "report": str(folder / PAGE),
    }


def _benchmark(job: Job, ended: Mapping[str, Any], name: str) -> dict[str, Any]:
    """points: every place in order; accuracy and gains: base, and reasoning and grounding of the last round."""
    places = measured(job, ended)
    points = [{"place": each.name, **(_accuracy(job, ended, each, name) or {"n": None})} for each in places]
    by_place = {point["place"]: point if point["n"] is not None else None for point in points}
    reasoned, grounded = places[-2:]
    steps = {point.name: _gain(job, ended, then, point, name) for then, point in pairwise(places)}
    _correct([steps[reasoned.name], steps[grounded.name]])
    gains = {
        "reasoning": steps[reasoned.name],
        "grounding": steps[grounded.name],
        "total": _gain(job, ended, places[0], grounded, name),
    }
    accuracy = {
        BASE: by_place[BASE],
        "reasoning": by_place[reasoned.name],
        "grounding": by_place[grounded.name],
    }
    beside = controls(job, ended) if name == job.evaluated[0].benchmark else []
    return {
        "accuracy": accuracy,
        "gains": gains,
        "points": points,
        "steps": steps,
        "controls": [_control(job, ended, each, grounded, name) for each in beside],
    }


def _control(
    job: Job, ended: Mapping[str, Any], control: Measured, last: Measured, name: str
) -> dict[str, Any]:
    """A control's own figures (n null: not measured yet), and what the trained models have over it."""
    return {
        "control": control.name,
        **(_accuracy(job, ended, control, name) or {"n": None}),
        "over": _gain(job, ended, control, last, name),
    }


def _accuracy(job: Job, ended: Mapping[str, Any], place: Measured, name: str) -> dict[str, Any] | None:
    """n, accuracy, ci and by_family; None where it is not measured yet."""
    folder = place.folder / name
    if folder.relative_to(job.folder).as_posix() not in ended:
        return None
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {
        **{key: report[key] for key in ("n", "accuracy", "ci", "unasked")},
        "by_family": {
            family: {key: share[key] for key in ("n", "accuracy", "ci")}
            for family, share in report["by_family"].items()
        },
        "folder": str(folder),
    }


def _gain(
    job: Job, ended: Mapping[str, Any], then: Measured, now: Measured, name: str
) -> dict[str, Any] | None:
    """Paired over the same questions, bootstrapped by picture; None where one of the two is not measured yet."""
    if any(_accuracy(job, ended, place, name) is None for place in (then, now)):
        return None
    (compared,) = compare([then.folder / name, now.folder / name])["comparisons"]
    return {**{key: compared[key] for key in _GAIN}, "same_models": then.models == now.models}


def _correct(gains: Sequence[dict[str, Any] | None]) -> None:
    """Holm's correction for the two figures together. Significant is a gain by p and by its interval, which knows that
    questions share pictures."""
    there = [gain for gain in gains if gain is not None]
    for gain, p in zip(there, holm([gain["p"] for gain in there]), strict=True):
        gain["p_holm"] = float(f"{p:.3g}")
        gain["significant"] = p < SURE and not gain["ci"][0] <= 0 <= gain["ci"][1]


def _round(job: Job, ended: Mapping[str, Any], number: int, benchmarks: Mapping[str, Any]) -> dict[str, Any]:
    """Models before and after, gains of each step, and what its runs say of themselves, which need no truth."""
    own = f"round-{number}"
    before, between, after = models_of(job, number, ended)
    runs = {kind: ended.get(f"{own}/{kind}", {}) for kind in (Kind.REASONING, Kind.MINE, Kind.GROUNDING)}
    return {
        "round": number,
        "start": vars(before),
        "policy": between.policy if runs[Kind.REASONING] else None,
        "policy_is": runs[Kind.REASONING].get("policy_is"),
        "detector": after.detector if runs[Kind.GROUNDING] else None,
        "detector_is": runs[Kind.GROUNDING].get("detector_is"),
        "gains": {
            name: {kind.value: found["steps"][f"{own}/{kind}"] for kind in (Kind.REASONING, Kind.GROUNDING)}
            for name, found in benchmarks.items()
        },
        **{kind.value: _signals(run.get("result"), *_SIGNALS[kind]) for kind, run in runs.items()},
    }


# Of each run's report what needs no truth; of grounding's, general_map is the gate's set, the one place with labels.
_SIGNALS = {
    Kind.REASONING: ("steps", "reward_start", "reward_end", "all_heads_start", "all_heads_end", "judge_calls", "take"),
    Kind.MINE: ("images", "candidates", "kept", "calls"),
    Kind.GROUNDING: (
        "steps", "held_back_ap50", "general_map_start", "general_map_end", "published", "verdict", "alpha",
    ),
}  # fmt: skip


def _signals(result: Mapping[str, Any] | None, *names: str) -> dict[str, Any] | None:
    return None if result is None else {name: result.get(name) for name in names}


def _seconds(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """By stage, of the starts that ended."""
    seconds: dict[str, float] = {}
    for row in rows:
        if row["event"] == "ended":
            seconds[row["stage"]] = seconds.get(row["stage"], 0.0) + row["seconds"]
    return seconds


def _stage(
    stage: Mapping[str, Any],
    ended: Mapping[str, Any],
    seconds: Mapping[str, float],
    cost: Mapping[str, float],
) -> dict[str, Any]:
    name = stage["stage"]
    return {
        **{key: stage[key] for key in ("stage", "kind", "folder", "models")},
        "done": name in ended,
        "minutes": round(seconds[name] / 60, 2) if name in seconds else None,
        "cost_usd": cost.get(name),
    }
