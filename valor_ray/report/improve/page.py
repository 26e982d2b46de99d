"""The page of a job of `valor improve`: its two figures, the tables behind them, and a link into every part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from valor_ray.report.improve.changed import MOST, changed
from valor_ray.report.improve.plots import accuracy_plot, gain_plot
from valor_ray.report.kit.templates import render
from valor_ray.runs.record_file import replace_text

PAGE = "report.html"  # in the job's folder, and in each stage's
_NAMES = {"reasoning": "+reasoning", "grounding": "+grounding", "total": "both"}
_CONTROLS = {  # by the first part of a control's name
    "greedy": "the base at temperature 0",
    "detector": "the base with the new detector",
    "best": "the best of eight replies of the base, by the judge",
}


def write_improve_page(folder: Path, report: Mapping[str, Any]) -> None:
    """Write report.html. report: what report.json holds, of a job that goes on, too. Raises StorageError."""
    page = render(
        "report/improve/page.html",
        report=report,
        tiles=_tiles(report),
        benchmarks=[_benchmark(name, found) for name, found in report["benchmarks"].items()],
        stages=[{**stage, "link": _link(folder, stage)} for stage in report["stages"]],
        percent=_percent,
        points=_points,
        chance=_chance,
        most=MOST,
    )
    replace_text(folder / PAGE, page)


def _tiles(report: Mapping[str, Any]) -> dict[str, str]:
    """The two figures first."""
    tiles = {}
    for name, gain in (report["gains"] or {}).items():
        if gain is not None and name in ("reasoning", "grounding"):
            sure = "" if gain["significant"] else ", not significant"
            tiles[f"{_NAMES[name]}, points [{_between(gain['ci'])}]{sure}"] = f"{100 * gain['gain']:+.1f}"
    for name, share in (report["accuracy"] or {}).items():
        if share is not None:
            title = "base" if name == "base" else f"right after {_NAMES[name]}"
            tiles[f"{title}, n = {share['n']}"] = _percent(share["accuracy"])
    tiles["US dollars"] = f"{report['cost_usd']:.2f}"
    tiles["minutes, of starts that ended"] = f"{report['minutes']:.1f}"
    return tiles


def _benchmark(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Plots and tables of one benchmark, as far as it is measured."""
    points = [point for point in found["points"] if point["n"] is not None]
    gains = {_NAMES[each]: gain for each, gain in found["gains"].items() if gain is not None}
    return {
        "name": name,
        "points": points,
        "accuracies": accuracy_plot(points) if points else None,
        "gains": gains,
        "gain_plot": gain_plot(gains) if gains else None,
        "families": list(_families(points)),
        "changed": list(changed(points)),
        "controls": [
            {**each, "what": _CONTROLS[Path(each["control"]).name.partition("-")[0]]}
            for each in found["controls"]
            if each["over"] is not None
        ],
    }


def _families(points: list[dict[str, Any]]) -> Iterator[tuple[str, int, list[str]]]:
    """Family, n, and its share at each point."""
    for family, share in points[0]["by_family"].items() if points else ():
        at = [point["by_family"].get(family) for point in points]
        yield family, share["n"], ["–" if each is None else _percent(each["accuracy"]) for each in at]


def _link(folder: Path, stage: Mapping[str, Any]) -> str | None:
    """To the stage's own page, relative, where there is one."""
    page = folder / stage["stage"] / PAGE
    return page.relative_to(folder).as_posix() if page.exists() else None


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _points(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:+.1f}"


def _chance(p: float | None) -> str:
    return "–" if p is None else f"{p:.2g}" if p >= 0.001 else f"{p:.1e}"


def _between(ends: tuple[float, float]) -> str:
    return f"{100 * ends[0]:+.1f}, {100 * ends[1]:+.1f}"
