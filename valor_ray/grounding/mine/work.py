"""What is still to do: queries without a program, and pictures with phrases that were not looked for in them."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError
from valor_ray.grounding.mine.outcome import COSTS, failure
from valor_ray.grounding.mine.phrases import merged
from valor_ray.grounding.mine.step import MineTask, ProgramRecord
from valor_ray.models.grounding_dino.phrases import normal_form
from valor_ray.queries.read import local_picture
from valor_ray.records import Query
from valor_ray.runs.record_file import read_records

_NO_PICTURE = "The query names no picture, so nothing can be looked for. Add the field image to its row."


def placed(queries: Iterable[Query]) -> list[Query]:
    """The queries with local pictures named from the root: workers may have another working folder."""
    return [
        replace(query, image=str(path.absolute())) if (path := local_picture(query.image)) else query
        for query in queries
    ]


@dataclass
class Programs:
    """Phase 1."""

    todo: list[Query] = field(default_factory=list)
    recorded: dict[str, ProgramRecord] = field(default_factory=dict)  # of the source's queries, by query_id
    failed: list[dict[str, Any]] = field(default_factory=list)  # rows of failed.jsonl


def programs_left(queries: Sequence[Query], records: Path) -> Programs:
    """Raises ConfigError when a recorded query_id has another question or picture now.

    Memory: the replies of all queries.
    """
    known = {record["query_id"]: record for record in read_records(records)}
    left = Programs()
    for query in queries:
        if not query.image:
            left.failed.append(failure(_NO_PICTURE, [query.query_id]))
        elif query.query_id in known:
            record = known[query.query_id]
            if (record["question"], Path(record["image"]).name) != (query.question, Path(query.image).name):
                raise ConfigError(
                    f"Query {query.query_id!r} has another question or picture than the one that {records} has a "
                    "program for. Give the changed queries their own --run, or other query_ids."
                )
            left.recorded[query.query_id] = program_of(record | {"image": query.image})
        else:
            left.todo.append(query)
    return left


def program_of(record: dict[str, Any]) -> ProgramRecord:
    """Of a line of phrases.jsonl."""
    names = ProgramRecord.__dataclass_fields__
    values = {name: value for name, value in record.items() if name in names}
    return ProgramRecord(**{**values, **{name: tuple(values[name]) for name in ("phrases", "unresolved")}})


@dataclass
class Pictures:
    """Phase 2."""

    pictures: int = 0  # that the queries are about, copies under other names counted once
    without_phrase: int = 0
    resumed: int = 0  # with nothing left to look for
    todo: list[MineTask] = field(default_factory=list)  # in the order of the queries
    failed: list[dict[str, Any]] = field(default_factory=list)
    # query_ids of a task -> COSTS of the starts before, whose record takes the place of the missing one
    spent: dict[tuple[str, ...], Counter[str]] = field(default_factory=dict)
    files: dict[tuple[str, ...], str] = field(default_factory=dict)  # query_ids of a task -> sha256, or URL


@dataclass
class _Picture:
    image: str
    file: str  # sha256 of a local one, else its URL
    query_ids: list[str] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)
    mined: set[str] = field(default_factory=set)  # normal forms
    starts: int = 0
    spent: Counter[str] = field(default_factory=Counter)


def pictures_left(programs: Sequence[ProgramRecord], images: Path, missing: Path) -> Pictures:
    """Pictures with their phrases, without those that `images` (images.jsonl) has of them.

    Queries about one picture are put together: local files by their bytes, so that a copy under another name is the
    same picture; URLs by name. Reads every local picture once. missing: of the last run (missing.jsonl).
    Raises ConfigError when the file of a recorded picture has other bytes now.
    """
    left = Pictures()
    together: dict[str, _Picture] = {}
    by_query: dict[str, _Picture] = {}
    keys: dict[str, str | OSError] = {}  # by name
    for program in programs:
        key = keys[program.image] if program.image in keys else _identity(program.image)
        keys[program.image] = key
        if isinstance(key, OSError):
            problem = f"Cannot read the picture {program.image}: {key.strerror or key}. Check the path."
            left.failed.append(failure(problem, [program.query_id], program.image))
            continue
        picture = together.setdefault(key, _Picture(program.image, key))
        picture.query_ids.append(program.query_id)
        picture.phrases += program.phrases
        by_query[program.query_id] = picture
    for record in read_records(images):
        for picture in _of(record, by_query):
            _check_same(picture, record, images)
            picture.mined |= {normal_form(phrase) for phrase in record["phrases"]}
    for record in read_records(missing):
        for picture in _of(record, by_query):
            picture.starts = max(picture.starts, 1 + record.get("starts", 0))
            picture.spent.update({name: record.get(name, 0) for name in COSTS})
    left.pictures = len(together)
    for picture in together.values():
        phrases = merged(picture.phrases)
        new = tuple(phrase for phrase in phrases if normal_form(phrase) not in picture.mined)
        left.without_phrase += not phrases
        left.resumed += bool(phrases) and not new
        if new:
            task = MineTask(picture.image, tuple(picture.query_ids), new, picture.starts)
            left.todo.append(task)
            left.spent[task.query_ids] = picture.spent
            left.files[task.query_ids] = picture.file
    return left


def still_missing(missing: Path, now: Iterable[Path], mined: Set[str]) -> list[dict[str, Any]]:
    """Records of missing.jsonl with a phrase that no record `now` has of their pictures: those were not among this
    start's, or have failed. mined: query_ids of the pictures that it has recorded, with what was spent on them before.
    """
    before = list(read_records(missing))
    asked = {query_id for record in before for query_id in record["query_ids"]}
    known: defaultdict[str, set[str]] = defaultdict(set)  # query_id -> normal forms
    for path in now if before else ():
        for record in read_records(path):
            for query_id in asked.intersection(record["query_ids"]):
                known[query_id].update(map(normal_form, record["phrases"]))
    left = []
    for record in before:
        there = set().union(*(known[query_id] for query_id in record["query_ids"]))
        if not {normal_form(phrase) for phrase in record["phrases"]} <= there:
            spent = {} if mined.isdisjoint(record["query_ids"]) else dict.fromkeys(COSTS, 0)
            left.append({**record, **spent})
    return left


def _check_same(picture: _Picture, record: Mapping[str, Any], records: Path) -> None:
    """The recorded boxes belong to the pixels that lie there. Raises ConfigError."""
    if local_picture(picture.image) and record.get("file", picture.file) != picture.file:
        raise ConfigError(
            f"The picture {picture.image} is not the one that {records} has boxes of: its file has changed since. Put "
            "the old file back, or give the new one another name and query_ids, or its own --run."
        )


def _of(record: Mapping[str, Any], by_query: Mapping[str, _Picture]) -> list[_Picture]:
    """The pictures that a record is of: one, unless a file has changed."""
    named = (by_query[query_id] for query_id in record["query_ids"] if query_id in by_query)
    return list({id(picture): picture for picture in named}.values())


def _identity(image: str) -> str | OSError:
    """What makes two names one picture; or why it cannot be read."""
    path = local_picture(image)
    if path is None:
        return image
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return error
