"""Runs on the same questions set against each other: differences, how sure they are, and what could be seen at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.methods.registry import NAMES
from valor_ray.benchmarks.published.read import by_method, published
from valor_ray.benchmarks.results.row import AnswerRow
from valor_ray.benchmarks.runner import recorded
from valor_ray.benchmarks.settings import Asking, saved_settings
from valor_ray.errors import ConfigError
from valor_ray.measure.holm import holm
from valor_ray.measure.paired import paired_marks
from valor_ray.runs.folder import EVAL, changes, kind_of

_PLACES = 4  # decimals


@dataclass(frozen=True)
class Asked:
    """The answers of one folder of `valor eval`."""

    folder: Path
    benchmark: str
    rows: Mapping[str, AnswerRow]  # by query_id, marked
    settings: Mapping[str, Any]  # how they were answered, by dotted key; what is not known is not there


def compare(folders: Sequence[Path]) -> dict[str, Any]:
    """Every later run against the first, benchmark by benchmark: {base, comparisons, not_compared, methods}.

    A run is a folder of `valor eval`, or one that holds such folders, a benchmark each. p_holm is p corrected for all
    comparisons together. methods: of each benchmark what each method has measured here, and, apart from it, what others
    have published. Raises ConfigError when a folder is no run, nothing is in two of them, or the same benchmark
    was asked with other rows or in other words.
    """
    runs = [_benchmarks(folder) for folder in folders]
    base, found, alone = runs[0], [], []
    for folder, run in zip(folders[1:], runs[1:], strict=True):
        found += [_compared(base[name], run[name]) for name in run if name in base]
        alone += [f"{name}, in {folder} only" for name in run if name not in base]
        alone += [f"{name}, in {folders[0]} only" for name in base if name not in run]
    if not found:
        held = "; ".join(f"{folder}: {', '.join(run)}" for folder, run in zip(folders, runs, strict=True))
        raise ConfigError(f"No benchmark is in two of these runs ({held}).")
    for one, p in zip(found, holm([one["p"] for one in found]), strict=True):
        one["p_holm"] = float(f"{p:.3g}")
    told = {one["benchmark"]: _by_method(one["benchmark"], runs) for one in found}
    return {"base": str(folders[0]), "comparisons": found, "not_compared": alone, "methods": told}


def _by_method(benchmark: str, runs: Sequence[Mapping[str, Asked]]) -> dict[str, Any]:
    """Accuracies of the runs by method, "not measured" as null, and the published figures."""
    measured = []
    for asked in (run[benchmark] for run in runs if benchmark in run):
        marks = [row.mark for row in asked.rows.values()]
        measured.append((str(asked.settings["method"]), round(sum(marks) / len(marks), _PLACES), len(marks)))
    return {
        "measured": by_method(measured, NAMES),
        "published": [asdict(figure) for figure in published(benchmark)],
    }


def _benchmarks(folder: Path) -> dict[str, Asked]:
    """Of a run by name. Raises ConfigError when it holds none, or one twice."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder. Give folders of `{EVAL.command}`.")
    kind = kind_of(folder)
    if kind is not None and kind is not EVAL:
        raise ConfigError(f"{folder} is a folder of `{kind.command}`. Give folders of `{EVAL.command}`.")
    inner = [folder] if kind is EVAL else sorted(each for each in folder.iterdir() if each.is_dir())
    found: dict[str, Asked] = {}
    for each in inner:
        if kind_of(each) is EVAL:
            asked = _read(each)
            if (twin := found.setdefault(asked.benchmark, asked)) is not asked:
                raise ConfigError(f"{folder} holds {asked.benchmark} twice: {twin.folder.name}, {each.name}.")
    if not found:
        raise ConfigError(f"{folder} holds no run of `{EVAL.command}`. Give its --out folder.")
    return found


def _read(folder: Path) -> Asked:
    """Old folders have no benchmark.json: they are tabletop's."""
    rows = {row.query_id: row.marked() for row in recorded(folder)}
    if not rows:
        raise ConfigError(f"{folder} holds no answers. `{EVAL.command}` with that --out goes on.")
    saved = saved_settings(folder)
    known = {key: saved[key] for key in Asking().record() if key in saved}
    early = {"samples": 1, "select": None, "method": "valor", "repairs": 0}  # were not saved once
    settings = {**early, **known, **(saved.get("settings") or {})}
    return Asked(folder, str(saved.get("benchmark") or "tabletop"), rows, settings)


def _compared(base: Asked, other: Asked) -> dict[str, Any]:
    _check_same(base, other)
    ids = list(base.rows)
    before, after = ([run.rows[each] for each in ids] for run in (base, other))
    clusters = [row.cluster for row in before]
    paired = paired_marks([row.mark for row in before], [row.mark for row in after], clusters)
    figures = {
        name: [round(end, _PLACES) for end in value]
        if isinstance(value, tuple)
        else float(f"{value:.3g}")
        if name == "p"
        else round(value, _PLACES)
        if isinstance(value, float)
        else value
        for name, value in asdict(paired).items()
    }
    return {
        "run": str(other.folder),
        "benchmark": base.benchmark,
        "n": len(ids),
        "pictures": len(set(clusters)),
        **figures,
        "paper": [_mean_paper(before), _mean_paper(after)],
        "unasked": [sum(row.unasked for row in rows) for rows in (before, after)],
        "methods": [str(run.settings["method"]) for run in (base, other)],
        "differs": _differences(base, other),
    }


def _differences(base: Asked, other: Asked) -> str:
    """In how the runs answered, as far as both have said it; "" for none."""
    known = base.settings.keys() & other.settings.keys()
    return changes(base.settings, {key: other.settings[key] for key in other.settings if key in known})


def _check_same(base: Asked, other: Asked) -> None:
    """Raises ConfigError when the runs did not ask the same."""
    both = f"{base.folder} and {other.folder} cannot be compared on {base.benchmark}"
    if lacking := base.rows.keys() ^ other.rows.keys():
        where = base.folder if next(iter(sorted(lacking))) in base.rows else other.folder
        raise ConfigError(
            f"{both}: {len(lacking)} questions are in one of them alone (the first: {min(lacking)!r}, in {where}; "
            f"{len(base.rows)} and {len(other.rows)} in all). Ask both the same: the same --data, revision and --limit."
        )
    for query_id, row in base.rows.items():
        twin = other.rows[query_id]
        for name in ("question", "truth", "metric"):
            if getattr(row, name) != getattr(twin, name):
                raise ConfigError(
                    f"{both}: of {query_id!r} the {name} is {str(getattr(row, name))[:80]!r} in one and "
                    f"{str(getattr(twin, name))[:80]!r} in the other. Ask both the same rows in one --wording."
                )


def _mean_paper(rows: Sequence[AnswerRow]) -> float | None:
    marks = [row.paper for row in rows if row.paper is not None]
    return round(sum(marks) / len(marks), _PLACES) if len(marks) == len(rows) else None
