"""What the recipe of examples/paper/ has downloaded, in small: the sets' own schemas, pictures drawn by us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmark_sets import PUBLIC, drawn, lines, table, write_set
from tiny_set import general

SECRET = "label-0427"  # every answer of a train split
NEW = 300  # pictures from this number on are in no evaluation set


def paper_data(data: Path) -> Path:
    """The folder data/ of the recipe."""
    for name in PUBLIC:
        write_set(name, data / "evaluation" / name)
    _omni3d(data / "evaluation/omni3d")
    _vsr(data / "evaluation/vsr")
    _gqa(data / "gqa")
    _tallyqa(data / "tallyqa")
    _photos(data / "photos")
    _coco(data / "coco")
    genome = [{"image_id": 3000, "coco_id": 2, "width": 64}, {"image_id": 2000, "coco_id": None, "width": 64}]
    (data / "visual_genome").mkdir()
    (data / "visual_genome/image_data.json").write_text(json.dumps(genome))
    return data


def put(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(drawn(number))


def _omni3d(folder: Path) -> None:
    """106 rows: 0-99 on 50 pictures; of the others 102 is about the picture of row 7, and 104 is 103 again."""
    rows = [
        _omni3d_row(n, n // 2 if n < 100 else 3 if n == 102 else 103 if n == 104 else n) for n in range(106)
    ]
    rows[104] = dict(rows[103])
    table(folder / "data/train-00000-of-00001.parquet", rows)


def _omni3d_row(number: int, picture: int) -> dict[str, Any]:
    return {
        "image_index": f"ARKit/{picture}.jpg",
        "image": {"bytes": drawn(NEW + 200 + picture), "path": None},
        "q_index": number % 7,
        "question": f"How many mugs are on desk {number}?",
        "answer": "2",
        "answer_type": "int",
    }


def _vsr(folder: Path) -> None:
    """dev has the pictures 1 and 2; train has picture 1, too."""
    rows = [
        {"image": f"{n:012}.jpg", "image_link": f"http://x/train2017/{n:012}.jpg", "caption": f"The cat is on mat {n}.",
         "label": 1, "relation": "on", "subj": SECRET, "obj": "mat", "annotator_id": 1}
        for n in (1, 50, 51)
    ]  # fmt: skip
    lines(folder / "train.jsonl", rows)
    put(folder / "images" / f"{50:012}.jpg", NEW + 50)


def _gqa(folder: Path) -> None:
    """101 is measured (gqa); 3000 is COCO's 2 (vsr); 4000 has the bytes of a measured picture; n5 is not here."""
    shown = ["101", "2000", "2000", "2001", "2002", "3000", "4000", "n5"]
    rows = [
        {
            "id": f"0{n}",
            "imageId": image,
            "question": f"What is on shelf {n}?",
            "answer": SECRET,
            "fullAnswer": SECRET,
        }
        for n, image in enumerate(shown)
    ]
    table(folder / "train_balanced_instructions/train-00000-of-00001.parquet", rows)
    for number, image in enumerate(dict.fromkeys(shown[:-1])):
        put(folder / "images" / f"{image}.jpg", 0 if image == "4000" else NEW + number)


def _tallyqa(folder: Path) -> None:
    """104 is measured (tallyqa), COCO's 2 too (vsr); the others are to be fetched."""
    images = ["VG_100K/104.jpg", "train2014/COCO_train2014_000000000002.jpg",
              "train2014/COCO_train2014_000000000077.jpg", "VG_100K_2/2000.jpg"]  # fmt: skip
    rows = [
        {"image": image, "question": f"How many birds are on roof {n}?", "answer": 4, "question_id": 30 + n,
         "image_id": 9, "issimple": True, "data_source": "amt"}
        for n, image in enumerate(images)
    ]  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "train.json").write_text(json.dumps(rows))


def _photos(folder: Path) -> None:
    """As jobs.write_queries leaves them; b.jpg has the bytes of a picture of realworldqa."""
    rows = []
    for number, name in enumerate(("a.jpg", "b.jpg", "c.jpg")):
        put(folder / name, 1 if name == "b.jpg" else NEW + 100 + number)
        rows.append(
            {"query_id": name, "image": name, "question": f"Is the roof {number} taller than the tree?"}
        )
    lines(folder / "queries.jsonl", rows)


def _coco(folder: Path) -> None:
    made = general(folder / "val2017")
    (folder / "annotations").mkdir()
    made.rename(folder / "annotations/instances_val2017.json")
    put(folder / "unlabeled2017/1.jpg", NEW + 150)
