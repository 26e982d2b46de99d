"""The page of a fine-tuning run once more, from its records and the report of its last start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from valor_ray.errors import ConfigError
from valor_ray.report.finetuning.page import REPORT, write_page
from valor_ray.report.finetuning.records import json_object


def write_finetuning_page(folder: Path) -> dict[str, Any]:
    """Write report.html of a run folder; returns its report, {} while there is none: a run that goes on has a page.

    Called by `valor report`. Raises ConfigError when a file is of another form or cannot be read; StorageError.
    """
    report = json_object(folder / REPORT)
    try:
        write_page(folder, report)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, UndefinedError) as error:
        raise ConfigError(
            f"Cannot make the page of {folder} from its records ({type(error).__name__}: {error}). "
            f"`valor train grounding --run {folder}` writes report and page anew, and trains no step twice."
        ) from error
    return report
