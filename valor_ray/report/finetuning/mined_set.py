"""What the weights were learnt from: the mined set, the replayed one, and where the page of mining is.

dataset.json of a set (grounding/dataset): {"counts": {"images", "positives", "absent", "hard_negatives", "ignored",
"unsure", "all_rejected", "left_out", "labels"}}; of RUN/replay/set "images" and "positives" alone. plan.json says where
the mined set lies, else it is RUN/mined/dataset.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from valor_ray.report.finetuning.records import FinetuneRecords, Record, json_object, part
from valor_ray.report.kit.rows import number
from valor_ray.report.kit.templates import as_text

ABOUT, PAGE = "dataset.json", "report.html"
REPLAY = Path("replay", "set")  # in the run folder
_COUNTS = {
    "images": "pictures with a confirmed box",
    "positives": "confirmed boxes",
    "labels": "different phrases",
    "hard_negatives": "hard negatives: boxes refused",
    "absent": "absent phrases (picture, phrase)",
    "ignored": "ignored boxes: neither",
    "left_out": "pictures left out",
}


_PLANNED = {"positives": "boxes", "labels": "phrases"}  # what plan.json calls them


@dataclass(frozen=True)
class MinedSet:
    rows: tuple[tuple[str, str], ...]  # what, how many
    replay: tuple[tuple[str, str], ...]
    minutes: tuple[tuple[str, str], ...]  # by stage, all starts
    unused: str  # what of it the settings left out; ""
    folder: str  # of the mining run or the set
    link: str  # relative URL of the page of mining; "" where there is none


def mined_set(run: FinetuneRecords) -> MinedSet:
    """Reads dataset.json of both sets and the report of mining; what is not there has no rows."""
    dataset, mine = _folders(run)
    return MinedSet(
        tuple(_mined(run, dataset, mine)),
        tuple(_replay(run.folder)),
        tuple(_minutes(run.report)),
        _unused(run.settings),
        str(mine),
        _link(run.folder, mine),
    )


def _folders(run: FinetuneRecords) -> tuple[Path, Path]:
    """The set's, and the mining run's; of a run that has moved those inside it."""
    inside = run.folder / "mined"
    if (inside / "dataset" / ABOUT).is_file():
        return inside / "dataset", inside
    dataset, mine = as_text(run.plan.get("dataset")), as_text(run.plan.get("mine"))
    return Path(dataset) if dataset else inside / "dataset", Path(
        mine or dataset
    ) if mine or dataset else inside


def _mined(run: FinetuneRecords, dataset: Path, mine: Path) -> Iterator[tuple[str, str]]:
    counts = _counts(dataset)
    for name, said in _COUNTS.items():
        known = number(counts, name)
        if (known := number(run.plan, _PLANNED.get(name, name)) if known is None else known) is not None:
            yield said, f"{known:,.0f}"
    for name, said in (
        ("pictures", "pictures learnt from"),
        ("held_back", "pictures held back, to choose α"),
    ):
        if (known := number(run.report, name)) is not None:
            yield said, f"{known:,.0f}"
    precision = number(json_object(mine / "report.json"), "precision_by_stage", "duplicates")
    if precision is not None:
        yield "confirmed boxes that are right (truth)", f"{precision:.1%}"


def _replay(folder: Path) -> Iterator[tuple[str, str]]:
    counts = _counts(folder / REPLAY)
    for name, said in (
        ("images", "pictures replayed from"),
        ("positives", "the start detector's own boxes there"),
    ):
        if (known := number(counts, name)) is not None:
            yield said, f"{known:,.0f}"


def _minutes(report: Record) -> Iterator[tuple[str, str]]:
    for stage, seconds in part(report, "stages_s").items():
        if (known := number({"seconds": seconds}, "seconds")) is not None:
            yield as_text(stage), f"{known / 60:.1f}"


def _counts(folder: Path) -> Record:
    return part(json_object(folder / ABOUT), "counts")


def _unused(settings: Record) -> str:
    off = [
        said
        for name, said in (("absent", "absent phrases"), ("hard_negatives", "hard negatives"))
        if settings.get(name) is False
    ]
    return f"Not learnt from, by the settings: {' and '.join(off)}." if off else ""


def _link(run: Path, mined: Path) -> str:
    """Relative, so that both folders can move together; quoted, so that no name becomes another kind of address."""
    page = mined / PAGE
    try:
        if not page.is_file():
            return ""
    except OSError:  # a name that no file can have
        return ""
    return "./" + quote(Path(os.path.relpath(page, run)).as_posix())
