"""decisions.parquet: every box and what each stage said of it, a row a box and stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from valor_ray.records import BoxDecision, BoxStage, MinedImage

SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),  # path or URL, as the queries name it
        pa.field("key", pa.string(), nullable=False),  # sha256 of the upright pixels
        pa.field("box", pa.int32(), nullable=False),  # 0-based, best score first; of this export
        pa.field("phrase", pa.string(), nullable=False),  # as it was asked
        pa.field("bbox", pa.list_(pa.float64(), 4), nullable=False),  # x1, y1, x2, y2, upright px
        pa.field("score", pa.float64(), nullable=False),  # the detector's, 0..1
        pa.field("stage", pa.string(), nullable=False),  # of records.BoxStage; "candidates": one a box
        pa.field("kept", pa.bool_()),  # null: no verdict
        pa.field("unsure", pa.bool_(), nullable=False),  # dropped as it could not tell: no negative
        pa.field("reason", pa.string(), nullable=False),  # the verifier's words; why there is no verdict
        # version of the detector's weights; the verifier's model; "geometry"
        pa.field("by", pa.string(), nullable=False),
    ]
)
_GROUP = 8192  # rows of a row group


class DecisionsFile:
    """Writes row groups as they fill: memory is one of them. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._writer = ParquetWriter(path, SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, image: MinedImage) -> None:
        """The rows of a picture, its boxes in order."""
        self._rows.extend(_rows(image))
        while len(self._rows) >= _GROUP:
            self._write(self._rows[:_GROUP])
            del self._rows[:_GROUP]

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self._writer.write_table(pa.Table.from_pylist(rows, SCHEMA))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writer:
            if kind is None and self._rows:
                self._write(self._rows)


def _rows(image: MinedImage) -> Iterator[dict[str, Any]]:
    for place, box in enumerate(image.boxes):
        about = {
            "image": _text(image.image),
            "key": image.key,
            "box": place,
            "phrase": _text(box.label),
            "bbox": box.bbox,
            "score": box.score,
        }
        yield about | _said(BoxDecision(BoxStage.CANDIDATES, True, by=image.detector))
        for each in box.decisions:
            yield about | _said(each)


def _said(decision: BoxDecision) -> dict[str, Any]:
    return {
        "stage": decision.stage.value,
        "kept": decision.kept,
        "unsure": decision.unsure,
        "reason": _text(decision.reason),
        "by": _text(decision.by),
    }


def _text(text: str) -> str:
    """Arrow refuses half a surrogate pair, which a model's JSON may hold."""
    return text.encode("utf-8", "replace").decode()
