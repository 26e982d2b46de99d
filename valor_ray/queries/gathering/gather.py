"""Takes queries from several sources, so many pictures of each, and none that evaluation measures with.

rows ─► not of a measured picture, by name or content ─► the N pictures of lowest rank ─► nor asked there ─► queries
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from valor_ray.queries.apart import normalised, prompt_examples, twins
from valor_ray.queries.embedded import put
from valor_ray.queries.gathering.candidate import Candidate, Refused
from valor_ray.queries.gathering.measured import Measured, content
from valor_ray.queries.gathering.train_sets import TrainSet
from valor_ray.queries.read import is_file, local_picture
from valor_ray.records import Query


class Why(StrEnum):
    """Why a query is left out."""

    PICTURE = "measured picture"
    WORDS = "measured question"  # of a picture that is not known to differ; or an example in a prompt
    AGAIN = "asked already"


@dataclass(frozen=True)
class LeftOut:
    query_id: str
    why: Why
    of: str  # the row, or query, that it is one with


@dataclass
class Gathered:
    """What was taken of one source."""

    taken: list[Candidate] = field(default_factory=list)  # in the order of its rows
    left_out: list[LeftOut] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)  # rows that are no queries, by reason
    rows: int = 0

    @property
    def pictures(self) -> int:
        return len({candidate.picture for candidate in self.taken})

    def counts(self) -> Counter[Why]:
        return Counter(each.why for each in self.left_out)


def gather(
    rows: Iterable[Candidate | Refused],
    measured: Measured,
    *,
    of: TrainSet | None = None,
    pictures: int | None = None,
    per_picture: int | None = None,
    seed: int = 0,
) -> Gathered:
    """The queries of one source that may be trained on.

    of: the train split that it is; the pictures of its measured rows join `measured`. pictures: at most so many, those
    of lowest `rank`: a higher number takes the same ones and more. per_picture: at most so many queries about each, the
    first. Holds the queries of the pictures taken, with what their rows hold, and no more of the source.
    """
    found, lot = Gathered(), _Lot(pictures, per_picture, seed)
    for number, row in enumerate(rows):
        found.rows += 1
        if isinstance(row, Refused):
            found.refused[row.why] += 1
            continue
        if of is not None and number < of.measured:
            measured.add(row.query_id, row.known)
        about = measured.row_about(row.known)
        if about is None and lot.wants(row.picture):
            about = measured.row_about(_content(row))
        if about:
            found.left_out.append(LeftOut(row.query_id, Why.PICTURE, about))
        else:
            lot.add(number, row)
    _look_closer(lot.candidates(), measured, found)
    return found


def _look_closer(candidates: list[Candidate], measured: Measured, found: Gathered) -> None:
    """What costs more than a look at one row: words of questions, and what was asked before."""
    queries = [Query(each.query_id, each.question, _named(each.image)) for each in candidates]
    by_words = {query.query_id: of for query, of in twins(queries, measured.rows, prompt_examples())}
    asked: dict[tuple[str, str], str] = {}
    for candidate in candidates:
        first = asked.setdefault((candidate.picture, normalised(candidate.question)), candidate.query_id)
        if of := by_words.get(candidate.query_id):
            found.left_out.append(LeftOut(candidate.query_id, Why.WORDS, of))
        elif first != candidate.query_id:
            found.left_out.append(LeftOut(candidate.query_id, Why.AGAIN, first))
        else:
            found.taken.append(candidate)


def _named(image: str | bytes) -> str:
    return put(image, None) if isinstance(image, bytes) else image


def _content(candidate: Candidate) -> list[str]:
    path = local_picture(candidate.image) if isinstance(candidate.image, str) else None
    return [content(path.read_bytes())] if path is not None and is_file(path) else []


def rank(picture: str, seed: int) -> str:
    """Orders pictures as if at random: the same whatever else is in the source."""
    return hashlib.sha256(f"{seed} {picture}".encode()).hexdigest()


class _Lot:
    """The pictures of lowest rank so far, each with its first queries."""

    def __init__(self, pictures: int | None, per_picture: int | None, seed: int) -> None:
        self._most, self._per_picture, self._seed = pictures, per_picture, seed
        self._held: dict[str, list[tuple[int, Candidate]]] = defaultdict(list)
        self._ranks: list[tuple[int, str]] = []  # a heap, the highest rank first

    def wants(self, picture: str) -> bool:
        """Would it be among them as things stand?"""
        return (
            picture in self._held
            or self._most is None
            or len(self._ranks) < self._most
            or self._entry(picture) > self._ranks[0]
        )

    def add(self, number: int, candidate: Candidate) -> None:
        picture = candidate.picture
        if picture not in self._held and not self._room_for(picture):
            return
        held = self._held[picture]
        if self._per_picture is None or len(held) < self._per_picture:
            held.append((number, candidate))

    def _room_for(self, picture: str) -> bool:
        if self._most is None:
            return True
        entry = self._entry(picture)
        if len(self._ranks) < self._most:
            heapq.heappush(self._ranks, entry)
            return True
        dropped = heapq.heappushpop(self._ranks, entry)
        if dropped == entry:
            return False
        del self._held[dropped[1]]
        return True

    def _entry(self, picture: str) -> tuple[int, str]:
        return -int(rank(picture, self._seed), 16), picture

    def candidates(self) -> list[Candidate]:
        """In the order of the rows."""
        rows = sorted((row for held in self._held.values() for row in held), key=lambda row: row[0])
        return [candidate for _, candidate in rows]
