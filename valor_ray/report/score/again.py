"""The page of a scored file once more, from the records and the report of its last run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from valor_ray.errors import ConfigError
from valor_ray.report.kit.rows import rows_of
from valor_ray.report.score.page import REPORT, write_page
from valor_ray.report.score.summary import Summary


def write_score_page(folder: Path) -> dict[str, Any]:
    """Write report.html of a scoring folder; returns its report. Numbers are those of report.json.

    Raises ConfigError when the run has not come to its end, which is when report.json is written.
    """
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        summary = Summary()
        for name in ("rewards.jsonl", "missing.jsonl"):
            for record in rows_of(folder / name):
                summary.add(record)
        write_page(folder, report, summary)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} has no report.json yet: scoring there has not come to its end. "
            f"`valor score --replies FILE --out {folder}` goes on where it stopped, and writes report and page."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, UndefinedError) as error:
        raise ConfigError(
            f"Cannot make the page of {folder} from its records ({type(error).__name__}: {error}). "
            f"`valor score --replies FILE --out {folder}` writes report and page anew, and pays nothing twice."
        ) from error
    return report
