"""The report of a training run as one HTML file that loads nothing; also of a run that goes on, or was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from valor_ray.report.finetuning.controls import control_table
from valor_ray.report.kit.curves import NOTHING
from valor_ray.report.kit.plots import short
from valor_ray.report.kit.rows import number
from valor_ray.report.kit.scene_tests import rule_based
from valor_ray.report.kit.templates import render
from valor_ray.report.reasoning.before_after import families, headline
from valor_ray.report.reasoning.cards import card
from valor_ray.report.reasoning.panels import panels
from valor_ray.report.reasoning.records import TrainRecords, read_train
from valor_ray.report.reasoning.rollouts import browse
from valor_ray.report.reasoning.summary import summarise
from valor_ray.report.reasoning.take import TITLES, versions
from valor_ray.runs.record_file import replace_text

PAGE, REPORT = "report.html", "report.json"  # in the run folder
_SETTINGS = (
    "queries",
    "curriculum",
    "prompts",
    "samples",
    "temperature",
    "learning_rate",
    "kl",
    "clip",
    "max_lag",
    "max_tokens",
)
_TILES = {  # title -> figure of the summary
    "minutes": "minutes",
    "rollouts, all": "",
    "judge calls": "judge_calls",
    "judge cost, $": "judge_cost_usd",
    "groups without variance": "equal_groups",
    "groups replaced": "refilled",
    "dropped: no verdict": "dropped_missing",
    "dropped: too old": "dropped_stale",
    "largest lag, steps": "max_lag",
    "largest log-prob. gap": "max_logprob_gap",
    "largest mean gap": "max_logprob_gap_mean",
}


def write_train_page(folder: Path, stopped: str | None = None) -> Path:
    """Write report.html and report.json (summary.summarise) of a run folder; returns the page. Raises StorageError.

    Works at any time: what is not recorded yet is said to be so. Called when a run ends; it reads every record once,
    waits for nothing but the disk, and takes no lock.
    stopped: why the run has ended before its last step; None when it has not.
    """
    return _write(folder, read_train(folder), stopped)


def write_train_page_again(folder: Path) -> Path:
    """The same from the records alone: why the run has stopped is known from the report that it wrote then."""
    run = read_train(folder)
    return _write(folder, run, _known_stop(folder, run))


def _known_stop(folder: Path, run: TrainRecords) -> str | None:
    """What report.json says, unless the run has got further since: then it has been started again."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    stopped = report.get("stopped") if isinstance(report, Mapping) else None
    further = len(run.metrics) > (number(report, "steps") or 0)
    return stopped if isinstance(stopped, str) and not further else None


def _write(folder: Path, run: TrainRecords, stopped: str | None) -> Path:
    browsed = browse(folder)
    summary = summarise(run, browsed) | {"stopped": stopped}
    page = render(
        "report/reasoning/page.html",
        folder=folder,
        summary=summary,
        last_step_at=_last_step_at(run),
        settings=_settings(run),
        alarms=list(_alarms(run, summary)),
        headline=headline(run, summary),
        tiles=dict(_tiles(summary)),
        families=families(summary),
        controls=control_table(run.controls),
        panels=list(panels(run, summary)),
        versions=list(versions(summary["take"])),
        scenes=browsed.scenes,
        oracle=rule_based(folder),
        parts={name: [card(row) for row in rows] for name, rows in browsed.parts.items() if rows},
        version_titles=TITLES,
        nothing=NOTHING,
    )
    replace_text(folder / REPORT, json.dumps(summary, indent=1) + "\n")
    replace_text(folder / PAGE, page)
    return folder / PAGE


def _last_step_at(run: TrainRecords) -> str:
    when = number(run.metrics[-1], "time") if run.metrics else None
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M} UTC" if when and 0 < when < 1e11 else ""


def _settings(run: TrainRecords) -> str:
    grpo = run.config.get("grpo")
    known = grpo if isinstance(grpo, Mapping) else {}
    return ", ".join(f"{name} {known[name]}" for name in _SETTINGS if known.get(name) is not None)


def _alarms(run: TrainRecords, summary: Mapping[str, Any]) -> Iterator[str]:
    if summary["stopped"]:
        yield f"Stopped before the last step: {summary['stopped']}."
    worse = [name for name, family in summary["by_family"].items() if family["significantly_worse"]]
    if worse:
        yield f"Significantly worse than before: {', '.join(worse)}."
    views = summary["judge_truth"]
    if views["parted"]:
        yield (
            f"Since step {views['best_step']}, the best one, the reward has risen and the held-out accuracy has surely "
            "fallen: the policy has learned to please the judges. Read the best rollouts, try another judge.model, and "
            f"use checkpoints/step-{views['best_step']:06d}."
        )
    gap, limit = summary["max_logprob_gap_mean"], number(run.config, "grpo", "gap_alarm")
    if gap is not None and limit is not None and gap > limit:
        yield (
            f"Engine and learner differed by {short(gap)} in a token's log-probability, on average in a step "
            f"(grpo.gap_alarm is {limit:g}): "
            "samples were not of the weights that they are taken to be of."
        )
    if summary["audit"]["alarm"]:
        yield summary["audit"]["alarm"]


def _tiles(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for title, name in _TILES.items():
        value = summary[name] if name else summary["rollouts"]["all"]
        yield title, "–" if value is None else f"{value:,}" if isinstance(value, int) else short(value)
