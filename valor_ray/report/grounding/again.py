"""The page of a mining run once more, from the records and the report of its last start."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from valor_ray.errors import ConfigError
from valor_ray.records import MinedImage
from valor_ray.report.grounding.page import REPORT, write_page
from valor_ray.report.kit.rows import rows_of


def write_mining_page(folder: Path) -> dict[str, Any]:
    """Write report.html of a mining folder; returns its report. Figures of the report are those of report.json.

    Called by `valor report`. Raises ConfigError when the run has not come to its end, which is when report.json is
    written, or its files are of another form; StorageError.
    """
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        if not isinstance(report, dict):
            raise TypeError(f"{REPORT} holds no object")
        write_page(folder, report, recorded(folder))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} has no report.json yet: mining there has not come to its end. "
            f"`valor mine --run {folder}` goes on where it stopped, and writes report and page."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UndefinedError) as error:
        raise ConfigError(
            f"Cannot make the page of {folder} from its records ({type(error).__name__}: {error}). "
            f"`valor mine --run {folder}` writes report and page anew, and pays nothing twice."
        ) from error
    return report


def recorded(folder: Path) -> Iterator[MinedImage]:
    """The pictures with all verdicts, then those that lack some; a line that a kill has torn is passed over."""
    for name in ("images.jsonl", "missing.jsonl"):
        for row in rows_of(folder / name):
            yield MinedImage.from_record(row)
