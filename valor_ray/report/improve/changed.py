"""Questions whose answers became right or wrong in a step of the job, with their pictures: what a gain is made of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from valor_ray.errors import ImageError
from valor_ray.images import to_jpeg_uri
from valor_ray.report.kit.rows import rows_of
from valor_ray.report.kit.shown_picture import load_shown

MOST = {"fixed": 4, "broken": 2}  # shown of a step
_SIDE, _QUALITY = 200, 80  # px: longest side of a picture on the page
_MOST_CHARS = 80  # of an answer

Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Question:
    """As the page shows it."""

    kind: str  # a key of MOST
    question: str
    family: str
    truth: str
    # At each point: its place, the answer or why there is none, whether it is right.
    answers: Sequence[tuple[str, str, bool]]
    picture: str  # JPEG data URI; "" where it cannot be shown


def changed(points: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, int], list[Question]]]:
    """Of each step its place, how many questions of each kind there are, and the first ones of each family.

    points: place and folder of the evaluations, in order, all of the same questions. A question with several answers is
    left out. Reads answers.jsonl of each, and the pictures of what is shown.
    """
    answers = [_rows(Path(point["folder"])) for point in points]
    for number, (then, now) in enumerate(pairwise(answers)):
        kinds = {
            "fixed": [each for each in now if each in then and _mark(then[each]) < _mark(now[each])],
            "broken": [each for each in now if each in then and _mark(then[each]) > _mark(now[each])],
        }
        shown = [
            _question(kind, query_id, [str(point["place"]) for point in points], answers)
            for kind, found in kinds.items()
            for query_id in _first_of_families(found, now)[: MOST[kind]]
        ]
        yield str(points[number + 1]["place"]), {kind: len(found) for kind, found in kinds.items()}, shown


def _rows(folder: Path) -> Rows:
    """By query_id, of two answers the last, where the question was asked."""
    latest = {str(row["query_id"]): row for row in rows_of(folder / "answers.jsonl") if "query_id" in row}
    return {name: row for name, row in latest.items() if row.get("select") or not row.get("samples")}


def _mark(row: Mapping[str, Any]) -> float:
    mark = row.get("mark", row.get("right") is True)
    return float(mark) if isinstance(mark, int | float) else 0.0


def _first_of_families(query_ids: Sequence[str], rows: Rows) -> list[str]:
    """One of each family before the second of any; nobody chose them, the order is that of their ids."""
    seen = Counter[str]()
    turns = dict[str, int]()  # the how many-th of its family
    for query_id in sorted(query_ids):
        family = str(rows[query_id].get("family", ""))
        seen[family] += 1
        turns[query_id] = seen[family]
    return sorted(turns, key=lambda query_id: turns[query_id])


def _question(kind: str, query_id: str, places: Sequence[str], answers: Sequence[Rows]) -> Question:
    row = answers[-1][query_id]
    return Question(
        kind,
        str(row.get("question", "")),
        str(row.get("family", "")),
        _short(row.get("truth")),
        [
            (place, _said(rows.get(query_id, {})), _mark(rows.get(query_id, {})) == 1)
            for place, rows in zip(places, answers, strict=True)
        ],
        _picture(str(row.get("picture", ""))),
    )


def _said(row: Mapping[str, Any]) -> str:
    return _short(row["error"]) if row.get("error") else _short(row.get("answer"))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        text = f"{value:.5g}"
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]} …"


@cache
def _picture(image: str) -> str:
    """One that is gone, or at an address, is not shown."""
    try:
        return to_jpeg_uri(load_shown(image, lambda path: path), _QUALITY, _SIDE) if image else ""
    except ImageError:
        return ""
