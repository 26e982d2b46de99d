"""The pictures and questions of the sets that `valor eval` measures with; their answers stay here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.benchmarks.data import omni3d
from valor_ray.benchmarks.registry import benchmark
from valor_ray.benchmarks.truth import Request
from valor_ray.errors import ConfigError
from valor_ray.queries.gathering.measured import Measured, content
from valor_ray.queries.gathering.picture_names import Same, picture_names
from valor_ray.queries.read import is_file, local_picture
from valor_ray.records import Query

if TYPE_CHECKING:
    from valor_ray.benchmarks.reading.pictures import Pictures

SETS = ("omni3d", "robospatial", "blink", "vsr", "realworldqa", "gqa", "tallyqa", "countbenchqa", "own")
_GENOME = ("gqa", "tallyqa")  # name Visual Genome's pictures by plain numbers
_FIRST = {omni3d.SET.name: omni3d.FIRST}  # only so many rows: training is on the others


def measured(folder: Path, pictures: Pictures, same: Same, say: Callable[[str], None]) -> Measured:
    """Of the sets in `folder`, each in a folder of its name, as `valor eval NAME --data folder/NAME` reads it.

    Pictures that are files here, or stand in rows, are known by name and content, those to be fetched by name. Omni3D:
    the rows that the paper's tables are of. Raises ConfigError where there is none of the sets, or one cannot be read.
    """
    found, missing = Measured(), []
    for name in SETS:
        data = folder / name
        if not data.exists():
            missing.append(name)
            continue
        loaded = benchmark(name).load(Request(data, folder, pictures, _FIRST.get(name)))
        for query in loaded.queries:
            found.add(query.query_id, _known(query, same, genome=name in _GENOME))
            found.rows.append((query.query_id, query.question, query.image))
        say(f"apart from {name}: {len(loaded.queries)} questions")
    if len(missing) == len(SETS):
        raise ConfigError(
            f"--evaluation {folder}: it holds none of {', '.join(SETS)}. Give a folder with one folder for each set "
            "that is measured with, as `valor eval NAME --data` takes it."
        )
    if missing := [name for name in missing if name != "own"]:
        say(
            f"NOT apart from {', '.join(missing)}: not in {folder}. What is trained on this must not be measured "
            "there"
        )
    return found


def _known(query: Query, same: Same, *, genome: bool) -> set[str]:
    """Of its picture."""
    known = set(picture_names(query.image, same, genome=genome))
    path = local_picture(query.image)
    if path is not None and is_file(path):
        known.add(content(path.read_bytes()))
    return known
