"""What GQA and TallyQA have in common: rows of GRIT's subsets, pictures of Visual Genome's, one by one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from valor_ray.benchmarks.reading.fields import Row
from valor_ray.queries.gathering.picture_names import GENOME_FOLDERS, GENOME_HOST

HUB = "yfan1997/GRIT_data"
NEEDS = ("question", "answer", "image")
ALSO = ("width", "height")
IMAGE_FOLDERS = ("images", "VG_100K", "VG_100K_2", "gqa", "gqa/images", "visual_genome")


def picture(row: Row) -> dict[str, Any]:
    """The fields of Asked that say which picture it is. Rows name it with a folder, or without. Raises ValueError."""
    name = PurePosixPath(row.text("image"))
    first = [folder for folder in GENOME_FOLDERS if folder in name.parts]
    links = tuple(
        f"{GENOME_HOST}/{folder}/{name.name}" for folder in dict.fromkeys((*first, *GENOME_FOLDERS))
    )
    size = None
    if row.fields.get("width") and row.fields.get("height"):
        size = row.whole("width"), row.whole("height")
    return {"image": str(name), "links": links, "size": size}
