"""The page of a scored file once more, from the records and the report of its last run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError
from valor_ray.reasoning.scoring.folder import ScoreFolder
from valor_ray.report.kit.rows import rows_of
from valor_ray.report.score.page import write_page
from valor_ray.report.score.summary import Summary


def write_score_page(path: Path) -> dict[str, Any]:
    """Write report.html of a scoring folder; returns its report. Numbers are those of report.json.

    Raises ConfigError when the run has not come to its end, which is when report.json is written.
    """
    folder = ScoreFolder(path)
    try:
        report = json.loads(folder.report.read_text(encoding="utf-8"))
        summary = Summary()
        for records in (folder.rewards, folder.missing):
            for record in rows_of(records):
                summary.add(record)
        write_page(folder, report, summary)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} has no report.json yet: scoring there has not come to its end. "
            f"`valor score --replies FILE --out {path}` goes on where it stopped, and writes report and page."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"Cannot make the page of {path} from its records ({type(error).__name__}: {error}). "
            f"`valor score --replies FILE --out {path}` writes report and page anew, and pays nothing twice."
        ) from error
    return report
