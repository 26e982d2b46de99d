"""The queries that training and mining ask: read from any source, checked row by row."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from valor_ray.answer import check_question
from valor_ray.errors import ConfigError, QuestionError, StorageError
from valor_ray.queries.embedded import put
from valor_ray.queries.fields import WITHIN, is_label
from valor_ray.queries.sources import OpenedSource, QueryRow, open_source
from valor_ray.records import Query
from valor_ray.rows.row import json_kind

LONGEST_QUESTION = 2000  # characters; that of server.max_question_chars
NEEDS = (
    "A row needs query_id (or q_index, index, id) and question (or problem); image, a path, a URL or the picture "
    "itself, is optional, except in questions.csv and questions.jsonl, where it names the rows without query_id. "
    "Correct these rows or take them out."
)
_MOST_PROBLEMS = 10  # listed in one message
_LONGEST_SHOWN = 200  # characters of what stands in a row


def read_queries(
    source: str,
    limit: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    *,
    setting: str = "",
    pictures: Path | None = None,
) -> list[Query]:
    """The first `limit` queries of a source (sources.open_source), in its order.

    Relative pictures are relative to the folder of the file. say: told how many columns were ignored, and when there
    are more queries. setting: or option that the limit is from, for that message. pictures: a folder for those that
    rows hold in themselves; None: they are named by their content and cannot be looked at, as where only questions are
    asked. Raises ConfigError when the source cannot be read, has no rows, or has wrong ones: file, row, field and what
    to do; StorageError when a picture cannot be written.
    """
    opened = open_source(source)
    check = _Check(opened, pictures)
    for row in islice(opened.rows, limit):
        check.add(row)
    if check.problems:
        raise ConfigError(f"{opened.name}: {check.told()}\n{NEEDS}")
    if not check.queries:
        raise ConfigError(f"{opened.name}: there are no queries in it. {NEEDS}")
    if check.ignored:
        labels = sorted(name for name in check.ignored if is_label(name))
        named = f"; labels by their names: {', '.join(labels)}" if labels else ""
        say(f"{opened.name}: {counted(len(check.ignored), 'column')} ignored{named}")
    if limit is not None and next(opened.rows, None) is not None:
        by = f" ({setting})" if setting else ""
        say(f"{opened.name}: the first {limit:,} queries are used, and there are more{by}")
    return check.queries


@dataclass
class _Check:
    """What has been read of a source so far."""

    source: OpenedSource
    pictures: Path | None
    queries: list[Query] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    problems: int = 0
    shown: dict[str, str] = field(default_factory=dict)  # problem -> where it was first seen
    times: Counter[str] = field(default_factory=Counter)  # of those shown
    places: dict[str, str] = field(default_factory=dict)  # query_id -> where it was seen
    named_after: Counter[str] = field(default_factory=Counter)  # rows named after each picture
    held: dict[str, str] = field(
        default_factory=dict
    )  # query_id of a row that holds its picture -> that picture

    def add(self, row: QueryRow) -> None:
        self.ignored |= row.ignored
        try:
            self.queries.append(self._query(row))
        except (ValueError, QuestionError) as error:
            self.problems += 1
            field_name = row.names.get("question", "question")
            problem = f"field {field_name!r}: {error}" if isinstance(error, QuestionError) else str(error)
            if problem in self.shown or len(self.shown) < _MOST_PROBLEMS:
                self.shown.setdefault(problem, row.place)
                self.times[problem] += 1

    def told(self) -> str:
        lines = [
            f"\n  {place}{f' and {more:,} more' if (more := self.times[problem] - 1) else ''}: {problem}"
            for problem, place in self.shown.items()
        ]
        first = f" The first {_MOST_PROBLEMS}:" if self.problems > self.times.total() else ""
        return f"{counted(self.problems, 'problem')}.{first}{''.join(lines)}"

    def _query(self, row: QueryRow) -> Query:
        """Raises ValueError that names the field."""
        if row.error:
            raise ValueError(row.error)
        image = row.fields.get("image", "")
        query_id = self._identity(row, image)
        if "question" not in row.fields:
            raise ValueError(f"field 'question' is missing{_others(row)}")
        question = check_question(row.fields["question"], LONGEST_QUESTION)
        if self.places.setdefault(query_id, row.place) != row.place:
            name = row.names.get("query_id", "query_id")
            raise ValueError(f"{name} {query_id!r} is that of {self.places[query_id]} already")
        return Query(query_id, question, self._place(image, query_id, row.names.get("image", "image")))

    def _place(self, image: str | bytes, query_id: str, name: str) -> str:
        """The picture as a path or URL that does not depend on where one is."""
        if isinstance(image, bytes):
            try:
                self.held[query_id] = put(image, self.pictures)
            except OSError as error:
                raise StorageError(
                    f"Cannot write a picture of {self.source.name} to {self.pictures}: {error.strerror}. Give the run "
                    "another folder, or make room."
                ) from error
            return self.held[query_id]
        if image in self.held:  # as evaluation kits write it: the picture of the row with that index
            return self.held[image]
        place = located(image, self.source.folder)
        path = local_picture(place)
        if path is None or self.source.folder is None or is_file(path):
            return place
        if is_file(other := Path(str(path).replace("\\", "/"))):  # written on Windows
            return str(other)
        if re.match(r"[A-Za-z]:[\\/]", image):
            raise ValueError(
                f"field {name!r}: {_cut(image)} is a path of another machine (Windows). Copy the pictures here, and "
                "name them relative to this file"
            )
        raise ValueError(f"field {name!r}: there is no file {_cut(str(path))}")

    def _identity(self, row: QueryRow, image: str | bytes) -> str:
        fields, name = row.fields, row.names.get("query_id")
        if name is not None and (fields["query_id"] not in (None, "") or self.source.own_ids):
            # in some sets an index counts within one picture
            within = f"{fields[WITHIN]}-" if name in ("q_index", "index") and WITHIN in fields else ""
            return within + _identifier(fields["query_id"], name)
        if self.source.own_ids:
            raise ValueError(f"field 'query_id' is missing{_others(row)}")
        if not image:
            raise ValueError("field 'image' is missing")
        picture = image if isinstance(image, str) else hashlib.sha256(image).hexdigest()[:32]
        self.named_after[picture] += 1
        return f"{picture}#{self.named_after[picture]}"


def _others(row: QueryRow) -> str:
    """What a row has, where it lacks what is needed."""
    names = sorted({*row.names.values(), *row.ignored})
    return f" (there are: {_cut(', '.join(names))})" if names else ""


def _identifier(value: Any, name: str) -> str:
    """Text, or a whole number that is taken as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip() or any("\ud800" <= char <= "\udfff" for char in value):
        shown = repr(value)[:40] if isinstance(value, str | bool | float) else json_kind(value)
        raise ValueError(f"field {name!r} must be text that is not empty, not {shown}")
    return value


def is_file(path: Path) -> bool:
    """Whether it is there. No file has a name that is too long, or holds what no name may hold."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _cut(text: str) -> str:
    """For a message: not all of a long text, and nothing that a terminal would obey."""
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text):,} characters)"


def located(image: str, folder: str | None) -> str:
    """The `image` of a row as a path or URL that does not depend on where one is."""
    if not image or "://" in image or image.startswith(("/", "data:")) or folder is None:
        return image
    return f"{folder}/{image}"


def local_picture(image: str) -> Path | None:
    """The file that an `image` names on this machine; None for "" and for other URLs."""
    if image.startswith("file://"):
        return Path(unquote(urlsplit(image).path))
    return Path(image) if image and "://" not in image and not image.startswith("data:") else None


def counted(number: int, one: str, many: str = "") -> str:
    """3 queries, 1 query."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
