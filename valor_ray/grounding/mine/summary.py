"""The records of a run, in the order of its queries, and what they add up to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from valor_ray.answer import MALFORMED
from valor_ray.grounding.mine.folder import MineFolder
from valor_ray.grounding.mine.outcome import COSTS
from valor_ray.grounding.mine.step import ProgramRecord
from valor_ray.judges.boxes.requests import PRESENT
from valor_ray.records import BOX_CHECKS, BoxStage, MinedImage, ProgramStatus, Query
from valor_ray.runs.record_file import read_records


class RecordedImages(Iterable[MinedImage]):
    """All pictures of a run, as often as one goes through them: in the order of the queries, whatever the workers'
    order was. Memory: a place a record."""

    def __init__(self, folder: MineFolder, queries: Sequence[Query] = ()) -> None:
        """queries: of the source, in its order, which say where their pictures lie now; pictures of other queries
        come first, as they were recorded."""
        self._now = {query.query_id: query.image for query in queries}
        rank = {query_id: place for place, query_id in enumerate(self._now)}
        self._places: list[tuple[int, int, Path, int]] = []
        for path in (folder.images, folder.missing):
            for offset, record in _placed_records(path):
                first = min((rank.get(each, -1) for each in record["query_ids"]), default=-1)
                self._places.append((first, len(self._places), path, offset))
        self._places.sort(key=lambda place: place[:2])

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[MinedImage]:
        for _first, _number, path, offset in self._places:
            with path.open("rb") as file:
                file.seek(offset)
                image = MinedImage.from_record(json.loads(file.readline()))
            yield replace(image, image=self._now.get(image.query_ids[0], image.image))


def _placed_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        offset = 0
        for line in file:
            if line.endswith(b"\n"):  # not what a kill has torn
                yield offset, json.loads(line)
            offset += len(line)


def add_up(images: Iterable[MinedImage], audit: Path) -> dict[str, Any]:
    """Pictures, boxes by stage, verdicts of each check, what was said of phrases without a box, slips, and what it took
    in all starts, canaries included.

    audit: audit.jsonl. What a start was killed over is in none of them: it has been recorded nowhere.
    """
    keys: set[str] = set()
    left: Counter[str] = Counter()
    checks = {stage.value: Counter({"yes": 0, "no": 0, "unsure": 0, "missing": 0}) for stage in BOX_CHECKS}
    counts: Counter[str] = Counter()
    slips: Counter[str] = Counter()
    presence = Counter(dict.fromkeys(("asked", *PRESENT, "missing"), 0))
    sums: Counter[str] = Counter()
    for image in images:
        new = image.key not in keys
        keys.add(image.key)
        counts["without_candidate"] += new and not image.boxes
        counts["without_kept"] += bool(image.boxes) and not any(box.kept for box in image.boxes)
        counts["with_missing"] += bool(image.missing)
        counts["missing_boxes"] += sum(box.kept is None for box in image.boxes)
        presence["asked"] += len(image.presence)
        presence.update(said or "missing" for said in image.presence.values())
        for box in image.boxes:
            left.update(stage.value for stage in BoxStage if box.passed(stage))
            for decision in box.decisions:
                word = {True: "yes", False: "no", None: "missing"}[decision.kept]
                word = "unsure" if decision.unsure else word
                checks[decision.stage.value][word] += 1
        slips.update(image.slips)
        sums.update({name: getattr(image, name) for name in COSTS})
    for canary in read_records(audit):
        sums.update({name: canary.get(name, 0) for name in COSTS})
    return {
        "images": len(keys),
        "boxes_left": {stage.value: left[stage.value] for stage in BoxStage},
        "checks": {stage: dict(said) for stage, said in checks.items()},
        "presence": dict(presence),
        **{
            name: counts[name]
            for name in ("without_candidate", "without_kept", "with_missing", "missing_boxes")
        },
        "slips": dict(slips),
        "in_all": {name: round(sums[name], 6) for name in COSTS},
    }


def writer_cost(programs: Path) -> float:
    """US dollars for all programs of phrases.jsonl; records of before they were kept count nothing."""
    return round(sum(record.get("cost_usd", 0.0) for record in read_records(programs)), 6)


def program_counts(programs: Iterable[ProgramRecord]) -> dict[str, Any]:
    """How the programs fared: by status, without a phrase, and with calls that only running tells."""
    statuses: Counter[str] = Counter(dict.fromkeys((*(each.value for each in ProgramStatus), MALFORMED), 0))
    counts: Counter[str] = Counter()
    for program in programs:
        statuses[program.status] += 1
        counts["programs"] += 1
        counts["without_phrase"] += not program.phrases
        counts["unresolved"] += bool(program.unresolved)
        counts["phrases"] += len(program.phrases)
    names = ("programs", "without_phrase", "unresolved", "phrases")
    return {**{name: counts[name] for name in names}, "by_status": dict(statuses)}


def result(report: Mapping[str, Any]) -> dict[str, Any]:
    """What `valor mine --json` prints: a part of the report."""
    names = ("images", "candidates", "kept", "precision_by_stage", "recall_lost", "calls", "minutes")
    return {name: report[name] for name in names}
