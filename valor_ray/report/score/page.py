"""The score report as one HTML file. Replies, reasons and errors are other people's text: all of it is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from itertools import islice
from pathlib import Path
from string import Template
from typing import Any

from valor_ray.reasoning.scoring.folder import ScoreFolder
from valor_ray.report.kit.html import STYLE, audit_table, panel, text, verdict_list
from valor_ray.report.score import plots as score_plots
from valor_ray.report.score.summary import SHOWN, Summary, best_first
from valor_ray.runs.folder import read_records, replace_text

TEMPLATE = Path(__file__).with_name("page.html")
_POINTS = 400  # of the throughput curve


def write_page(folder: ScoreFolder, report: Mapping[str, Any], summary: Summary) -> None:
    """Write folder.page. Raises StorageError."""
    parts = {
        "Best": best_first(summary.best),
        "Worst": best_first(summary.worst),
        "Missing": summary.unjudged,
        "Failed": list(islice(read_records(folder.failed), SHOWN)),
    }
    filled = {name: rows for name, rows in parts.items() if rows}
    values = {
        "style": STYLE.read_text(encoding="utf-8"),
        "about": _about(folder, report),
        "alarm": _alarm(report["audit"]),
        "tiles": "".join(_tiles(report)),
        "panels": "".join(_panels(folder, report)),
        "buttons": "".join(
            f'<button data-show="{name}" aria-pressed="false">{name} {len(rows)}</button>'
            for name, rows in filled.items()
        ),
        "cards": "\n".join(_card(row, name) for name, rows in filled.items() for row in rows),
    }
    replace_text(folder.page, Template(TEMPLATE.read_text(encoding="utf-8")).substitute(values))


def _about(folder: ScoreFolder, report: Mapping[str, Any]) -> str:
    return (
        f"{report['replies']} replies, records in {escape(str(folder.path))}. Reward = format × weighted sum of the "
        "other five heads; a reply with a missing verdict has no reward and is judged again by the next run. "
        "Bars show the share of yes with its 95 % interval."
    )


def _alarm(audit: Mapping[str, Any]) -> str:
    return f'<div class="alarm">{escape(audit["alarm"])}</div>' if audit.get("alarm") else ""


def _tiles(report: Mapping[str, Any]) -> Iterator[str]:
    mean = report["mean_reward"]
    tiles = {
        "mean reward": "–" if mean is None else f"{mean:.3f}",
        "scored": f"{report['scored']}",
        "missing": f"{report['missing']}",
        "failed": f"{report['failed']}",
        "calls, this run": f"{report['calls']}",
        "from the cache": f"{report['cache_hits']}",
        "cost, this run": f"${report['cost_usd']:.2f}",
        "seconds, this run": f"{report['seconds']:.1f}",
    }
    for name, value in tiles.items():
        yield f'<div class="panel"><div class="big">{value}</div><div class="soft">{name}</div></div>'


def _panels(folder: ScoreFolder, report: Mapping[str, Any]) -> Iterator[str]:
    yield panel("Heads", score_plots.heads(report["heads"]))
    yield panel("Rewards", score_plots.histogram(report["histogram"]))
    if len(points := throughput(folder.metrics)) > 1:
        yield panel("Throughput", score_plots.curve(points, "seconds of scoring, all runs", "replies/s"))
    if folder.scaling.exists() and (points := scaling(folder.scaling)):
        ideal = [(x, points[0][1] / points[0][0] * x) for x, _ in points]
        yield panel(
            "Throughput against gateway replicas",
            score_plots.curve(points, "replicas (dashed: in proportion)", "calls/s", ideal),
        )
    if report["audit"]["kinds"]:
        yield panel("Audit: canaries with known verdicts", audit_table(report["audit"]))


def throughput(metrics: Path) -> list[tuple[float, float]]:
    """(seconds, replies/s) over all runs, one after the other, thinned out to at most _POINTS or a few more."""
    points: list[tuple[float, float]] = []
    before = last = 0.0
    every = 1
    for n, row in enumerate(read_records(metrics)):
        if row["seconds"] < last:  # another run begins
            before += last
        last = row["seconds"]
        if n % every == 0:
            points.append((before + last, row["rows_per_s"]))
        if len(points) > 2 * _POINTS:
            points, every = points[::2], every * 2
    return points


def scaling(path: Path) -> list[tuple[float, float]]:
    """(replicas, calls/s) of `valor bench judges --out`; empty when the file is not of that kind."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["points"]
        return sorted((float(row["replicas"]), float(row["calls_per_s"])) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _card(row: Mapping[str, Any], part: str) -> str:
    value = row["value"]
    reward = "–" if value is None else f"{value:.2f}"
    body = _failure(row["error"]) if row.get("error") else verdict_list(row)
    return (
        f'<article data-part="{part}" hidden><header><b>{reward}</b><span>{text(row["question"])}</span>'
        f'<span class="soft">{text(row["reply_id"])}</span></header><pre>{text(row["reply"])}</pre>{body}</article>'
    )


def _failure(error: str) -> str:
    return f'<dl><dt><span class="no">failed</span></dt><dd>{text(error)}</dd></dl>'
