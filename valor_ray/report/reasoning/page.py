"""The report of a training run as one HTML file that loads nothing; also of a run that goes on, or was killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from valor_ray.measure.answers import wilson
from valor_ray.report.kit.html import STYLE, text
from valor_ray.report.kit.plots import short
from valor_ray.report.kit.rows import number
from valor_ray.report.reasoning.cards import card
from valor_ray.report.reasoning.panels import panels
from valor_ray.report.reasoning.records import TrainRecords, read_train
from valor_ray.report.reasoning.rollouts import browse
from valor_ray.report.reasoning.summary import both_ends, summarise
from valor_ray.runs.folder import replace_text

TEMPLATE = Path(__file__).with_name("page.html")
PAGE, REPORT = "report.html", "report.json"  # in the run folder
_SETTINGS = (
    "queries",
    "prompts",
    "samples",
    "temperature",
    "learning_rate",
    "kl",
    "clip",
    "max_lag",
    "max_tokens",
)


def write_train_page(folder: Path, stopped: str | None = None) -> Path:
    """Write report.html and report.json (train_summary.summarise) of a run folder; returns the page.

    stopped: why the run has ended before its last step; None when it has not. Works at any time: what is not recorded
    yet is said to be so. Raises StorageError.
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
    parts = {name: rows for name, rows in browsed.parts.items() if rows}
    values = {
        "style": STYLE.read_text(encoding="utf-8"),
        "about": _about(folder, run, summary),
        "alarms": "".join(f'<div class="alarm">{text(alarm)}</div>' for alarm in _alarms(run, summary)),
        "headline": _headline(run, summary),
        "tiles": "".join(_tiles(summary)),
        "families": _families(summary),
        "panels": "".join(panels(run, summary)),
        "buttons": "".join(
            f'<button data-show="{escape(name)}" aria-pressed="false">{escape(name)} {len(rows)}</button>'
            for name, rows in parts.items()
        ),
        "empty": "" if parts else "no rollout recorded yet",
        "cards": "\n".join(card(row, name) for name, rows in parts.items() for row in rows),
    }
    replace_text(folder / REPORT, json.dumps(summary, indent=1) + "\n")
    replace_text(folder / PAGE, Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values))
    return folder / PAGE


def _about(folder: Path, run: TrainRecords, summary: Mapping[str, Any]) -> str:
    planned = f" of {summary['planned_steps']}" if summary["planned_steps"] else ""
    when = number(run.metrics[-1], "time") if run.metrics else None
    last = (
        f", the last one at {datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M} UTC"
        if when and 0 < when < 1e11
        else ""
    )
    grpo = run.config.get("grpo")
    known = grpo if isinstance(grpo, Mapping) else {}
    settings = ", ".join(f"{name} {known[name]}" for name in _SETTINGS if known.get(name) is not None)
    return (
        f"{summary['steps']}{planned} steps{last}; records in {text(str(folder))}. "
        "Reward = format × weighted sum of the other five heads, as judged; accuracy is measured on held-out questions "
        f"whose answers training never sees. {text(settings)}"
    )


def _alarms(run: TrainRecords, summary: Mapping[str, Any]) -> Iterator[str]:
    if summary.get("stopped"):
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
    gap, limit = summary["max_logprob_gap"], number(run.config, "grpo", "gap_alarm")
    if gap is not None and limit is not None and gap > limit:
        yield (
            f"Engine and learner differed by up to {short(gap)} in log-probability (grpo.gap_alarm is {limit:g}): "
            "samples were not of the weights that they are taken to be of."
        )
    if summary["audit"]["alarm"]:
        yield summary["audit"]["alarm"]


def _headline(run: TrainRecords, summary: Mapping[str, Any]) -> str:
    if not run.metrics and not run.evaluations:
        return '<p class="soft">nothing recorded yet</p>'
    first = run.evaluations[0] if run.evaluations else {}
    last = run.evaluations[-1] if len(run.evaluations) > 1 else {}
    over = f"{len(both_ends(run.metrics)[0])} steps"
    rows = [
        (
            "held-out accuracy",
            _share(first, "accuracy"),
            _share(last, "accuracy"),
            _change(summary["gain"], summary["gain_ci"]),
        ),
        ("held-out replies, well formed", _share(first, "well_formed"), _share(last, "well_formed"), ""),
        *(
            (
                title,
                _figure(summary[f"{name}_start"], f"mean of the first {over}"),
                _figure(summary[f"{name}_end"], f"mean of the last {over}"),
                _change(_difference(summary[f"{name}_start"], summary[f"{name}_end"]), None),
            )
            for title, name in (("reward of training samples", "reward"), ("all six heads yes", "all_heads"))
        ),
    ]
    return _table(("", "before", "after", "change (95 % interval, same questions)"), rows)


def _share(evaluation: Mapping[str, Any], name: str) -> str:
    """A share of an evaluation's n with its interval (Wilson)."""
    share, n = number(evaluation, name), number(evaluation, "n")
    if share is None:
        return "–"
    low, high = wilson(share * (n or 0), int(n or 0))
    step = f"step {evaluation['step']}, n = {n or 0:.0f}"
    return f'<b>{share:.1%}</b> <span class="soft">{low:.1%} – {high:.1%} · {step}</span>'


def _figure(value: float | None, said: str) -> str:
    return "–" if value is None else f'<b>{value:.3f}</b> <span class="soft">{said}</span>'


def _difference(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _change(gain: float | None, interval: Sequence[float] | None) -> str:
    if gain is None:
        return "–"
    if interval is None:
        return f"{gain:+.3f}"
    kind = "yes" if interval[0] > 0 else "no" if interval[1] < 0 else "none"
    return (
        f'<span class="badge {kind}">{gain:+.1%}</span> '
        f'<span class="soft">{interval[0]:+.1%} … {interval[1]:+.1%}</span>'
    )


def _families(summary: Mapping[str, Any]) -> str:
    rows = [
        (
            text(name),
            "–" if family["n"] is None else f"{family['n']}",
            *("–" if family[end] is None else f"{family[end]:.1%}" for end in ("start", "end")),
            _change(family["gain"], family["gain_ci"])
            + (' <span class="badge no">significantly worse</span>' if family["significantly_worse"] else ""),
        )
        for name, family in summary["by_family"].items()
    ]
    if not rows:
        return '<p class="soft">no evaluation recorded yet</p>'
    return _table(("family", "n", "before", "after", "change (95 % interval, same questions)"), rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML."""
    head = "".join(f"<th>{title}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _tiles(summary: Mapping[str, Any]) -> Iterator[str]:
    names = {
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
    }
    for title, name in names.items():
        value = summary[name] if name else summary["rollouts"]["all"]
        shown = "–" if value is None else f"{value:,}" if isinstance(value, int) else short(value)
        yield f'<div class="panel"><div class="big">{shown}</div><div class="soft">{title}</div></div>'
