"""Which photograph a name means: data sets name those of COCO and of Visual Genome each in their own way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from valor_ray.errors import ConfigError
from valor_ray.rows.read import read_rows

GENOME_HOST = "https://cs.stanford.edu/people/rak248"
GENOME_FOLDERS = ("VG_100K", "VG_100K_2")
COCO_HOST = "http://images.cocodataset.org"
_COCO = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{12})")  # of 2017, and of 2014
_GENOME = re.compile(r"n?\d{1,7}")  # n: GQA's own pictures

Same = Mapping[str, str]  # name -> another name of the same picture


def picture_names(image: str, same: Same, *, genome: bool = False) -> frozenset[str]:
    """What a picture's path or URL says of which one it is: "coco:ID", "genome:ID", or nothing.

    same: as `genome_names` reads it. genome: whether plain numbers are Visual Genome's, as in GQA and TallyQA.
    """
    path = PurePosixPath(urlsplit(image).path if "://" in image else image)
    if found := _COCO.fullmatch(path.stem):
        name = f"coco:{int(found[1])}"
    elif (genome or path.parent.name in GENOME_FOLDERS) and _GENOME.fullmatch(path.stem):
        name = f"genome:{path.stem}"
    else:
        return frozenset()
    return frozenset({name, same.get(name, name)})


def genome_names(path: Path) -> dict[str, str]:
    """Of Visual Genome's image_data.json: which of its pictures are COCO's, both ways. Raises ConfigError."""
    same: dict[str, str] = {}
    for row in read_rows(path, str(path), needs="It comes with Visual Genome (image_data.json)."):
        genome, coco = row.fields.get("image_id"), row.fields.get("coco_id")
        if row.error or not isinstance(genome, int):
            wrong = row.error or "field 'image_id' must be a number"
            raise ConfigError(f"{path}, {row.place}: {wrong}. Give image_data.json of Visual Genome.")
        if isinstance(coco, int):
            same |= {f"genome:{genome}": f"coco:{coco}", f"coco:{coco}": f"genome:{genome}"}
    return same
