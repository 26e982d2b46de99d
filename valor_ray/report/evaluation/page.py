"""The page of an evaluation: shares by family and subset under both marks, and every question with its result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from valor_ray.errors import ConfigError
from valor_ray.report.kit.rows import rows_of
from valor_ray.report.kit.templates import render
from valor_ray.runs.record_file import replace_text

PAGE, REPORT = "report.html", "report.json"  # in the run folder
_MOST_ROWS = 2000  # shown: the largest benchmark has 765
_MOST_CHARS = 40  # of a sample's answer
_KINDS = ("wrong", "format", "program", "tool", "service")
_HABITS = {"refuses": "refuse", "no_tool": "call no tool", "overwrites_img": "overwrite img_pth"}
_VERDICTS = {True: "judge: same", False: "judge: other", None: "judge: missing"}


def write_eval_page(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write the page of an evaluation and return its path. Raises StorageError.

    Called at the end of `valor eval` and by `valor report`, with what report.json holds; it reads the answers from the
    folder, and waits for nothing but the disk.
    """
    settings = _settings(folder)
    rows = list(_rows(folder))
    page = render(
        "report/evaluation/page.html",
        folder=folder,
        report=report,
        settings=settings,
        tiles=_tiles(report),
        kinds=_columns(report),
        shares=list(_shares(report)),
        rows=rows[:_MOST_ROWS],
        more=len(rows) - _MOST_ROWS,
    )
    replace_text(folder / PAGE, page)
    return folder / PAGE


def write_eval_page_again(folder: Path) -> dict[str, Any]:
    """The same from the records alone; returns the report. Raises ConfigError when the run has not come to its end."""
    try:
        report: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        write_eval_page(folder, report)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} has no report.json yet: `valor eval NAME --out {folder}` goes on where it stopped, and writes "
            "report and page."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UndefinedError) as error:
        raise ConfigError(
            f"Cannot make the page of {folder} from its records ({type(error).__name__}: {error}). "
            f"`valor eval NAME --out {folder}` writes report and page anew, and asks nothing twice."
        ) from error
    return report


def _settings(folder: Path) -> Mapping[str, Any]:
    """Of benchmark.json; {} for a run of an earlier version."""
    path = folder / "benchmark.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _tiles(report: Mapping[str, Any]) -> dict[str, str]:
    low, high = report["ci"]
    tiles = {
        f"right, strict [{low:.1%}, {high:.1%}]": f"{report['accuracy']:.1%}",
        "by the paper's rule": _percent(report.get("paper_accuracy")),
        "questions": f"{report['n']}",
        "without an answer": f"{report['failures']}",
    }
    if macro := report.get("macro"):
        tiles[f"mean over each {macro['over']}"] = _percent(macro["accuracy"])
    if gain := report.get("selection"):
        low, high = gain["ci"]
        tiles["the same samples, singly"] = _percent(gain["single"])
        tiles[f"gain of choosing [{100 * low:+.1f}, {100 * high:+.1f}]"] = f"{100 * gain['gain']:+.1f}"
        tiles[f"judge calls, ${gain['cost_usd']:.4f}"] = f"{gain['calls']:,}"
    if mended := report.get("repairs"):
        low, high = mended["ci"]
        tiles["the same without repairs"] = _percent(mended["without"])
        tiles[f"gain of repairs [{100 * low:+.1f}, {100 * high:+.1f}]"] = f"{100 * mended['gain']:+.1f}"
        tiles[f"answer after repair, of {mended['retried']}; {mended['right']} right"] = (
            f"{mended['repaired']}"
        )
        tiles[f"repair calls, {sum(mended['tokens']):,} tokens, ${mended['cost_usd']:.4f}"] = (
            f"{mended['calls']:,}"
        )
    for habit, count in (report.get("habits") or {}).items():
        tiles[f"answers that {_HABITS.get(habit, habit)}"] = f"{count}"
    if any(tokens := list((report.get("used") or {}).get("tokens") or [])):
        tiles[f"reply tokens, {tokens[0]:,} of prompts"] = f"{tokens[1]:,}"
        tiles["tool calls"] = f"{report['used']['tool_calls']:,}"
    if report.get("rmse") is not None:
        tiles["RMSE of numbers answered"] = f"{report['rmse']:.2f}"
    if judge := report.get("judge"):
        tiles["verdicts missing"] = f"{judge['missing']}"
    return tiles


def _columns(report: Mapping[str, Any]) -> list[str]:
    """How answers ended in this run, without those that the marks tell."""
    return [kind for kind in _KINDS if (report.get("kinds") or {}).get(kind)]


def _shares(report: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any], str]]:
    """(family, subset or look; its name; the share; its paper mark)"""
    for kind in ("family", "subset", "look", "text"):
        for name, share in (report.get(f"by_{kind}") or {}).items():
            yield kind, name, share, _percent(share.get("paper_accuracy"))


def _rows(folder: Path) -> Iterator[dict[str, str]]:
    """Every question as the page shows it, of two answers the last."""
    said = {row.get("query_id"): row for row in rows_of(folder / "judged.jsonl")}
    latest = {row["query_id"]: row for row in rows_of(folder / "answers.jsonl") if "query_id" in row}
    for query_id, row in latest.items():
        mark, paper = row.get("mark", float(row.get("right") is True)), row.get("paper")
        judged = "" if _has_many(row) or query_id not in said else _VERDICTS[said[query_id].get("same")]
        yield {
            "id": str(query_id),
            "question": str(row.get("question", "")),
            "picture": str(row.get("picture", "")).rpartition("/")[2][:40],
            "family": " ".join(filter(None, (str(row.get("family", "")), str(row.get("subset", ""))))),
            "truth": _json(row.get("truth")),
            "result": _result(row),
            "samples": _samples(row),
            "kind": "none" if row.get("error") else "yes" if mark == 1 else "no",
            "mark": _mark(mark),
            "paper": judged or ("–" if paper is None else _mark(paper)),
        }


def _result(row: Mapping[str, Any]) -> str:
    """The answer or the error, and before it those of attempts."""
    failed = [str(each.get("error")) for each in row.get("attempts") or ()]
    last = str(row["error"]) if row.get("error") else "" if _has_many(row) else _json(row.get("answer"))
    why = [f"not repaired: {row['unrepaired']}"] if row.get("unrepaired") else []
    return " ▸ ".join([*failed, last, *why])


def _has_many(row: Mapping[str, Any]) -> bool:
    """Whether each of its samples is an answer of its own."""
    return bool(row.get("samples")) and not row.get("select")


def _samples(row: Mapping[str, Any]) -> str:
    """Every sample's answer, and its score where it has one."""
    shown = []
    for one in row.get("samples") or ():
        answer = _json(one.get("answer"))[:_MOST_CHARS] if one.get("status") == "ok" else one.get("status")
        shown.append(str(answer) + ("" if one.get("score") is None else f" ({one['score']:.2f})"))
    return " · ".join(shown)


def _mark(mark: float) -> str:
    return f"{mark:.2f}".rstrip("0").rstrip(".") if mark else "0"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
