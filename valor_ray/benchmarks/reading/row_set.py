"""A set whose rows each hold question, answer and picture: from its files to what is asked, every row accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from valor_ray.benchmarks.reading.fields import Asked, LeftOut, Row
from valor_ray.benchmarks.reading.source import Opened, Part, open_set
from valor_ray.benchmarks.truth import Loaded, Request, Truth, Wording
from valor_ray.errors import ConfigError
from valor_ray.records import Query
from valor_ray.rows.read import read_rows
from valor_ray.rows.row import Column, FileRow

_MOST_PROBLEMS, _MOST_NAMED = 10, 5  # listed in one message


@dataclass(frozen=True)
class RowSet:
    """What is particular to a set; `load` does the rest."""

    name: str
    title: str
    hub: str  # owner/name
    parts: tuple[Part, ...]
    needs: tuple[str, ...]  # columns that every table of it has
    ask: Callable[[Row, Wording], Asked]  # raises ValueError naming the field, LeftOut
    also: tuple[str, ...] = ()  # columns that are used where they are there
    image_folders: tuple[str, ...] = ("images",)  # beside the rows, where pictures that are named may be

    def load(self, request: Request) -> Loaded:
        """Raises ConfigError: file, row and field of each of the first wrong rows."""
        opened = open_set(self.title, self.name, self.hub, self.parts, request.data, request.revision)
        reading = _Reading(
            self, request, [opened.folder, *(opened.folder / each for each in self.image_folders)]
        )
        for number, (part, path, row) in enumerate(self._rows(opened, reading.ignored)):
            if len(reading.queries) == request.limit:
                break
            reading.add(Row(number, part, row.fields), f"{path} {row.place}", row.error)
        reading.check(opened.folder)
        return Loaded(reading.queries, reading.truths, opened.revision, reading.notes())

    def _rows(self, opened: Opened, ignored: set[str]) -> Iterator[tuple[str, Path, FileRow]]:
        wanted = {*self.needs, *self.also}

        def choose(columns: Sequence[Column]) -> list[str]:
            names = [column.name for column in columns]
            if lacking := [name for name in self.needs if name not in names]:
                raise ConfigError(
                    f"{path}: there is no column {lacking[0]!r} (there are: {', '.join(names[:12])}), so it is not "
                    f"{self.title} ({self.hub}). Give its own files, or rename the column."
                )
            return [name for name in names if name in wanted]

        for part, path in opened.files:
            for row in read_rows(path, str(path), choose):
                ignored |= row.unread | (row.fields.keys() - wanted)
                yield part, path, row


@dataclass
class _Reading:
    """What has been read of a set so far."""

    of: RowSet
    request: Request
    beside: list[Path]
    queries: list[Query] = field(default_factory=list)
    truths: dict[str, Truth] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)  # query_id -> where it was seen
    problems: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)

    def add(self, row: Row, place: str, error: str) -> None:
        try:
            if error:
                raise ValueError(error)
            asked = self.of.ask(row, self.request.wording)
            query_id = asked.row_id or f"{self.of.name}-{row.number:04d}"
            if self.places.setdefault(query_id, place) != place:
                raise ValueError(f"its id {query_id!r} is that of {self.places[query_id]} already")
            image = self.request.pictures.keep(asked.image, self.beside, asked.links, asked.size)
        except LeftOut as reason:
            self.left_out[str(reason)] += 1
        except ValueError as wrong:
            self.problems.append(f"{place}: {wrong}")
        else:
            self.queries.append(Query(query_id, asked.question, image))
            self.truths[query_id] = asked.truth
            if asked.note:
                self.odd.append(f"{query_id}: {asked.note}")

    def check(self, folder: Path) -> None:
        """Raises ConfigError when a row was wrong, or none was right."""
        if self.problems:
            shown = "".join(f"\n  {problem}" for problem in self.problems[:_MOST_PROBLEMS])
            more = f" The first {_MOST_PROBLEMS}:" if len(self.problems) > _MOST_PROBLEMS else ""
            raise ConfigError(
                f"{folder}: {len(self.problems)} wrong rows of {self.of.title}.{more}{shown}\nCorrect these rows "
                "or take them out; other rows make another n."
            )
        if not self.queries:
            raise ConfigError(f"{folder}: there are no questions of {self.of.title} in it.")

    def notes(self) -> list[str]:
        left = [f"{count} rows are not asked: {reason}" for reason, count in self.left_out.items()]
        columns = [f"columns ignored: {', '.join(sorted(self.ignored))}"] if self.ignored else []
        more = [f"{len(self.odd) - _MOST_NAMED} more such rows"] if len(self.odd) > _MOST_NAMED else []
        return list(chain(left, self.odd[:_MOST_NAMED], more, columns))
