"""The report of a fine-tuned detector as one HTML file that loads nothing; also of a run that goes on, or was killed.

records.py says what is read of the run folder. A part that is not there is said to be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valor_ray.report.finetuning.answers import answer_rows, answers_tile
from valor_ray.report.finetuning.controls import control_table
from valor_ray.report.finetuning.examples import examples
from valor_ray.report.finetuning.headline import alarms, chosen_settings, minutes_tile, tiles, verdict
from valor_ray.report.finetuning.mined_set import mined_set
from valor_ray.report.finetuning.panels import panels
from valor_ray.report.finetuning.records import read_finetuning
from valor_ray.report.finetuning.sweep import candidates, general_plot, held_back_plot, least_of, limit_of
from valor_ray.report.finetuning.tables import part_tables
from valor_ray.report.kit.templates import render
from valor_ray.runs.record_file import replace_text

PAGE, REPORT = "report.html", "report.json"  # in the run folder


def write_page(folder: Path, report: Mapping[str, Any]) -> None:
    """Write report.html of a run of `valor train grounding`. Raises StorageError.

    Called at the end of training and by `valor report`. report: what report.json holds or will hold; figures that it
    lacks are taken from the other files or not shown. It reads the small files of the folder, metrics.jsonl, and at
    most a dozen pictures, and waits for nothing but the disk.
    """
    run = read_finetuning(folder, report)
    swept = candidates(run)
    page = render(
        "report/finetuning/templates/page.html",
        folder=str(folder),
        settings=chosen_settings(run.settings),
        alarms=list(alarms(run)),
        verdict=verdict(run),
        tiles=[*tiles(run), *answers_tile(run), minutes_tile(report)],
        panels=list(panels(run)),
        swept=swept,
        held_back_plot=held_back_plot(swept),
        general_plot=general_plot(swept, least_of(run)),
        limit=limit_of(run),
        tables=list(part_tables(run.evaluation)),
        truth=bool(run.evaluation),
        answers=answer_rows(run),
        controls=control_table(run.controls),
        mined=mined_set(run),
        examples=list(examples(run)),
    )
    replace_text(folder / PAGE, page)
