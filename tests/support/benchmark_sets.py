"""Small sets with the schema of the public benchmarks, drawn here: no row or picture of theirs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

LETTERS = "Please answer directly with only the letter of the correct option and nothing else."
WORDS = "Please answer directly with a single word or number."


def drawn(number: int, mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> bytes:
    """A picture of its own for each number: as many discs as it says, at most 12."""
    image = Image.new("RGB", size, (230, 225, 215))
    pen = ImageDraw.Draw(image)
    for place in range(number % 13):
        x, y = 6 + place % 6 * 9, 8 + place // 6 * 20
        pen.ellipse((x, y, x + 7, y + 7), fill=(40 + number, 90, 160))
    pen.point((0, 0), fill=(number % 256, number // 256, 0))
    file = io.BytesIO()
    image.convert(mode).save(file, "PNG")
    return file.getvalue()


def held(number: int, mode: str = "RGB") -> dict[str, Any]:
    """As the hub's tables hold a picture."""
    return {"bytes": drawn(number, mode), "path": None}


def _rows(names: str, *rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(zip(names.split(), row, strict=True)) for row in rows]


OMNI3D = _rows(
    "image_index q_index question answer answer_type",
    ("a.jpg", 0, "How many mugs are on the desk?", "2", "int"),
    ("a.jpg", 1, "If the desk is 1 m wide, how wide is the lamp in m?", "0.25", "float"),
    ("b.jpg", 0, "Which is nearer? Options: {sofa, tv stand}", "sofa", "str"),
    ("b.jpg", 1, "Is the sofa red?", "no", "str"),
    ("b.jpg", 1, "Is the sofa red?", "no", "str"),
    ("c.jpg", 0, "Towards which compass point does the bed face?", "S", "str"),
    ("c.jpg", 1, "Which is taller? {the tall lamp, shelf}", "tall lamp", "str"),
)
_ROBOSPATIAL = _rows(
    "category question answer",
    ("compatibility", "Can the mug fit left of the lamp? Answer yes or no.", "Yes"),
    ("compatibility", "Can the bed fit on the desk? Answer yes or no.", "No"),
    ("configuration", "Is the box behind the chair? Answer yes or no.", "No"),
    ("context", "Point to free space left of the cup as tuples.", "[(0.1,0.2),(0.3,0.2),(0.3,0.4)]"),
)
ROBOSPATIAL = {
    part: [row for row in _ROBOSPATIAL if row["category"] == part]
    for part in ("compatibility", "configuration", "context")
}
_BLINK = _rows(
    "idx question choices answer",
    ("val_Counting_1", "How many cups are there?", ["1", "3", "2", "0"], "(B)"),
    ("val_Spatial_Relation_1", "Is the cat under the table?", ["yes", "no"], "(B)"),
    ("val_Spatial_Relation_2", "Is the bag on the bed?", ["no", "yes"], "(A)"),
)
BLINK = {"Counting": _BLINK[:1], "Spatial_Relation": _BLINK[1:]}
_VOTES = {
    "annotator_id": 3, "vote_true_validator_id": "[1, 2]", "vote_false_validator_id": "[]",
    "subj": "cat", "obj": "chair",
}  # fmt: skip
VSR = [
    row | _VOTES | {"image_link": f"http://x/{row['image']}"}
    for row in _rows(
        "image caption label relation",
        ("000000000001.jpg", "The cat is under the chair.", 1, "under"),
        ("000000000002.jpg", "The bowl contains the apple.", 0, "contains"),
        ("000000000001.jpg", "The dog is facing away from the cat.", 0, "facing away from"),
    )
]
REALWORLDQA = [
    {"question": f"Which way may we turn?\n\nA. Left\nB. Right\nC. Both\n{LETTERS}", "answer": "C"},
    {"question": f"How many lanes?\n{WORDS}", "answer": "3"},
    {"question": f"What is nearest?\n\nA. Car\nB Bus\nC. Tree\n{LETTERS}", "answer": "B"},
]
_GRIT = {"width": 64, "height": 48, "bboxs": [[1, 2, 6, 9]], "split": "val"}
GQA = [
    row | _GRIT | {"dataset": "gqa"}
    for row in _rows(
        "question answer image",
        ("What colour is the cup?", "red", "images/101.jpg"),
        ("Is the man left of the bus?", "no", "102.jpg"),
        ("Which side is the lamp on?", "left", "images/102.jpg"),
    )
]
TALLYQA = [
    row | _GRIT | {"dataset": "tallyqa"}
    for row in _rows(
        "question answer image",
        ("How many birds fly?", 0, "VG_100K_2/103.jpg"),
        ("How many cars are red?", 3, "VG_100K/104.jpg"),
        ("How many chairs?", 12, "105.jpg"),
    )
]
COUNTBENCHQA = [
    {"text": "Three red mugs", "question": "How many mugs are there?", "number": 3},
    {"text": "Ten eggs", "question": "How many eggs are there?", "number": 10},
    {"text": "Two cats", "question": "How many cats are there?", "number": 2},
]


def write_set(name: str, folder: Path) -> Path:
    """A set as its files are on the hub, with its pictures beside the rows where they are not in them."""
    _WRITERS[name](folder)
    return folder


def table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _omni3d(folder: Path) -> None:
    rows = [row | {"image": held(ord(row["image_index"][0]))} for row in OMNI3D]
    table(folder / "data/train-00000-of-00001.parquet", rows)


def _robospatial(folder: Path) -> None:
    for part, rows in ROBOSPATIAL.items():
        pictures = {"depth_image": held(9), "mask": None}
        table(
            folder / f"data/{part}-00000-of-00001.parquet",
            [row | {"img": held(number)} | pictures for number, row in enumerate(rows)],
        )


def _blink(folder: Path) -> None:
    for task, rows in BLINK.items():
        extra = {
            "sub_task": task,
            "prompt": "…",
            "explanation": "…",
            "image_2": None,
            "image_3": None,
            "image_4": None,
        }
        table(
            folder / f"{task}/val-00000-of-00001.parquet",
            [row | {"image_1": held(number)} | extra for number, row in enumerate(rows)],
        )
        table(
            folder / f"{task}/test-00000-of-00001.parquet",
            [rows[0] | {"answer": "hidden", "image_1": held(1)}],
        )


def _vsr(folder: Path) -> None:
    lines(folder / "dev.jsonl", VSR)
    lines(folder / "train.jsonl", VSR)
    beside(folder / "images", VSR)


def _realworldqa(folder: Path) -> None:
    rows = [row | {"image": held(number)} for number, row in enumerate(REALWORLDQA)]
    table(folder / "data/test-00000-of-00001.parquet", rows)


def _gqa(folder: Path) -> None:
    lines(folder / "gqa_val.jsonl", GQA)
    lines(folder / "tallyqa_val.jsonl", TALLYQA)
    beside(folder / "images", GQA)


def _tallyqa(folder: Path) -> None:
    lines(folder / "tallyqa_val.jsonl", TALLYQA)
    beside(folder, TALLYQA)


def _countbenchqa(folder: Path) -> None:
    modes = ("RGB", "L", "RGBA")
    rows = [row | {"image": held(row["number"], mode)} for row, mode in zip(COUNTBENCHQA, modes, strict=True)]
    table(folder / "data/test-00000-of-00001.parquet", rows)


def beside(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The pictures that rows name, without the folders of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        (folder / Path(row["image"]).name).write_bytes(drawn(number))


_WRITERS = {
    "omni3d": _omni3d, "robospatial": _robospatial, "blink": _blink, "vsr": _vsr, "realworldqa": _realworldqa,
    "gqa": _gqa, "tallyqa": _tallyqa, "countbenchqa": _countbenchqa,
}  # fmt: skip
PUBLIC = tuple(_WRITERS)
