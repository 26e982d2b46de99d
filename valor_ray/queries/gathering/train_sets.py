"""The train splits that the paper's detector is mined on: which of their columns are a question and a picture.

No column with an answer is looked at (law 8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from valor_ray.errors import ConfigError
from valor_ray.queries.gathering.picture_names import COCO_HOST, GENOME_FOLDERS, GENOME_HOST
from valor_ray.rows.read import read_rows
from valor_ray.rows.row import Column, FileRow


@dataclass(frozen=True)
class Seen:
    """A row as it stands."""

    row_id: str  # the set's own; "": rows are numbered
    question: Any
    image: Any  # the picture itself as the row has it, or the name of its file
    name: str = ""  # of a picture that the row holds, within its set
    link: str = ""  # where the file can be fetched when it is not here


@dataclass(frozen=True)
class TrainSet:
    name: str  # also what query ids begin with
    title: str
    pattern: str  # regular expression, found in the path of its files within their folder
    get: str  # how to get it
    question: str  # the column that it cannot be read without
    see: Callable[[Mapping[str, Any]], Seen]
    columns: tuple[str, ...]  # all that `see` looks at
    genome: bool = False  # pictures named by a number are Visual Genome's
    measured: int = 0  # first rows of the same files, which evaluation measures with
    image_folders: tuple[str, ...] = ("images",)  # beside the rows

    def rows(self, path: Path) -> Iterator[tuple[Path, FileRow]]:
        """File and row, in the order of names and rows. Raises ConfigError."""
        for file in self._files(path):
            for row in read_rows(file, str(file), self._chosen(file)):
                yield file, row

    def _files(self, path: Path) -> list[Path]:
        if path.is_file():
            return [path]
        pattern = re.compile(self.pattern)
        found = sorted(file for file in path.rglob("*") if pattern.search(file.relative_to(path).as_posix()))
        if not found:
            raise ConfigError(f"{path}: there is no file of {self.title} in it ({self.pattern}). {self.get}")
        return found

    def _chosen(self, file: Path) -> Callable[[Sequence[Column]], list[str]]:
        def choose(columns: Sequence[Column]) -> list[str]:
            names = [column.name for column in columns]
            if self.question not in names:
                there = ", ".join(names[:12])
                raise ConfigError(
                    f"{file}: there is no column {self.question!r} (there are: {there}), so it is not {self.title}. "
                    f"{self.get}"
                )
            return [name for name in names if name in self.columns]

        return choose


def statement_question(caption: str) -> str:
    """VSR's captions, asked."""
    statement = caption.rstrip(". ")
    return f'Is this statement true of the picture: "{statement}"? Answer yes or no.'


def _gqa(fields: Mapping[str, Any]) -> Seen:
    number = fields.get("imageId")
    return Seen(str(fields.get("id") or ""), fields.get("question"), number and f"{number}.jpg")


def _tallyqa(fields: Mapping[str, Any]) -> Seen:
    """Pictures are of both photograph sets, and their names have the folder that each host keeps them in."""
    image, link = fields.get("image"), ""
    if isinstance(image, str):
        host = GENOME_HOST if PurePosixPath(image).parent.name in GENOME_FOLDERS else COCO_HOST
        link = f"{host}/{image}"
    return Seen(str(fields.get("question_id") or ""), fields.get("question"), image, link=link)


def _vsr(fields: Mapping[str, Any]) -> Seen:
    caption, link = fields.get("caption"), fields.get("image_link")
    question = statement_question(caption) if isinstance(caption, str) and caption.strip() else caption
    return Seen("", question, fields.get("image"), link=link if isinstance(link, str) else "")


def _omni3d(fields: Mapping[str, Any]) -> Seen:
    """Some rows stand twice, with one id, so that rows are numbered: from 0, as `valor eval omni3d` does."""
    name = str(fields.get("image_index") or fields.get("image_filename") or "")
    return Seen("", fields.get("question"), fields.get("image") or name, name)


_GENOME_PICTURES = ("images", *GENOME_FOLDERS, "visual_genome")
TRAIN_SETS = {
    each.name: each
    for each in (
        TrainSet(
            "gqa",
            "GQA (lmms-lab/GQA, train_balanced_instructions)",
            r"train_balanced[^/]*/[^/]*\.parquet$|train_balanced[^/]*\.(parquet|jsonl)$",
            "hf download lmms-lab/GQA --repo-type dataset --include 'train_balanced_instructions/*' --local-dir DIR, "
            "and GQA's or Visual Genome's pictures in DIR/images.",
            "question",
            _gqa,
            ("id", "imageId", "question"),
            genome=True,
            image_folders=_GENOME_PICTURES,
        ),
        TrainSet(
            "tallyqa",
            "TallyQA (train.json)",
            r"(^|/)train[^/]*\.(json|jsonl|parquet)$",
            "It is in tallyqa.zip of github.com/manoja328/TallyQA_dataset.",
            "question",
            _tallyqa,
            ("image", "question", "question_id"),
            genome=True,
            image_folders=(*_GENOME_PICTURES, "train2014", "val2014", "coco"),
        ),
        TrainSet(
            "vsr",
            "VSR, zero-shot split (cambridgeltl/vsr_zeroshot, train.jsonl)",
            r"(^|/)train[^/]*\.jsonl$",
            "hf download cambridgeltl/vsr_zeroshot train.jsonl --repo-type dataset --local-dir DIR.",
            "caption",
            _vsr,
            ("caption", "image", "image_link"),
            image_folders=("images", "train2017", "val2017"),
        ),
        TrainSet(
            "omni3d",
            "Omni3D-Bench (dmarsili/Omni3D-Bench)",
            r"(^|/)(train|annotations)[^/]*\.(parquet|json|jsonl)$",
            "hf download dmarsili/Omni3D-Bench --repo-type dataset --local-dir DIR.",
            "question",
            _omni3d,
            ("image", "image_index", "image_filename", "question"),
            measured=100,
        ),
    )
}
