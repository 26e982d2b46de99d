"""The score report as one HTML file. Replies, reasons and errors are other people's text: all of it is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.report.kit.scene_tests import PART, rule_based
from valor_ray.report.kit.templates import render
from valor_ray.report.score.plots import curve, heads, histogram
from valor_ray.report.score.summary import SHOWN, Summary, asked, best_first
from valor_ray.runs.record_file import read_records, replace_text

if TYPE_CHECKING:
    from markupsafe import Markup

PAGE, REPORT = "report.html", "report.json"  # in the run folder
_POINTS = 400  # of the throughput curve


def write_page(folder: Path, report: Mapping[str, Any], summary: Summary) -> Path:
    """Write the page of a scoring folder and return its path. Raises StorageError.

    Called at the end of scoring and by `valor report`, with what report.json holds and a summary of all records; it
    reads what else it shows (failed rows, throughput) from the folder, and waits for nothing but the disk.
    """
    scenes, tested = summary.scene_tests.shown()
    parts = {
        "Best": best_first(summary.best),
        "Worst": best_first(summary.worst),
        "Missing": summary.unjudged,
        "Failed": list(islice(read_records(folder / "failed.jsonl"), SHOWN)),
        PART: tested,
    }
    page = render(
        "report/score/page.html",
        folder=folder,
        report=report,
        tiles=_tiles(report),
        plots=dict(_plots(folder, report)),
        scenes=scenes,
        oracle=rule_based(folder),
        parts={name: rows for name, rows in parts.items() if rows},
    )
    replace_text(folder / PAGE, page)
    return folder / PAGE


def _tiles(report: Mapping[str, Any]) -> dict[str, str]:
    mean = report["mean_reward"]
    return {
        "mean reward": "–" if mean is None else f"{mean:.3f}",
        "scored": f"{report['scored']}",
        "missing": f"{report['missing']}",
        "failed": f"{report['failed']}",
        "calls, this run": f"{report['calls']}",
        **_scene_tiles(report),
        "from the cache": f"{report['cache_hits']}",
        "cost, this run": f"${report['cost_usd']:.2f}",
        "seconds, this run": f"{report['seconds']:.1f}",
    }


def _scene_tiles(report: Mapping[str, Any]) -> dict[str, str]:
    """Where scenes were asked for; a report of an earlier version has none of these."""
    if report.get("scenes_missing") is None:
        return {}
    return {
        "scenes: do not apply": f"{report['scenes_left_out']:.1%}",
        "scenes: missing": f"{report['scenes_missing']:.1%}",
        "calls a reply, all runs": f"{report['judge_calls_per_reply']:.2f}",
    }


def _plots(folder: Path, report: Mapping[str, Any]) -> Iterator[tuple[str, Markup]]:
    """Title and SVG of each."""
    yield "Heads", heads(asked(report["heads"]))
    yield "Rewards", histogram(report["histogram"])
    if len(points := throughput(folder / "metrics.jsonl")) > 1:
        yield "Throughput", curve(points, "seconds of scoring, all runs", "replies/s")
    if points := scaling(folder / "scaling.json"):
        ideal = [(x, points[0][1] / points[0][0] * x) for x, _ in points]
        plot = curve(points, "replicas (dashed: in proportion)", "calls/s", ideal)
        yield "Throughput against gateway replicas", plot


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
    """(replicas, calls/s) of `valor bench judges --out`; empty when there is no file of that kind."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["points"]
        return sorted((float(row["replicas"]), float(row["calls_per_s"])) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return []
