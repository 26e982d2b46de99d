"""A row of a source as a query that may be taken, with all that is known of its picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valor_ray.answer import check_question
from valor_ray.errors import QuestionError
from valor_ray.queries.embedded import picture_in
from valor_ray.queries.gathering.measured import content
from valor_ray.queries.gathering.picture_names import Same, picture_names
from valor_ray.queries.gathering.train_sets import Seen, TrainSet
from valor_ray.queries.read import LONGEST_QUESTION, is_file, read_queries

OWN = "own"  # a source that is no train split: any list of queries


@dataclass(frozen=True)
class Candidate:
    query_id: str
    question: str
    image: str | bytes  # file of this machine, URL, or the content of a picture's file; "": there is none
    known: frozenset[str] = frozenset()  # of its picture: names, and the hash of what the row holds

    @property
    def picture(self) -> str:
        """The same for all rows about one picture."""
        return min(self.known) if self.known else str(self.image) or self.query_id


@dataclass(frozen=True)
class Refused:
    """A row that is no query, and why: counted."""

    why: str


def own_candidates(
    source: str, pictures: Path, same: Same, say: Callable[[str], None]
) -> Iterator[Candidate | Refused]:
    """pictures: a folder for those that rows hold. Raises ConfigError, StorageError."""
    for query in read_queries(source, say=say, pictures=pictures):
        yield Candidate(query.query_id, query.question, query.image, picture_names(query.image, same))


def set_candidates(of: TrainSet, path: Path, same: Same) -> Iterator[Candidate | Refused]:
    """Every row of a train split's files, in order. Raises ConfigError."""
    prefix = of.name if of.measured else f"{of.name}-train"
    for number, (file, row) in enumerate(of.rows(path)):
        folders = [file.parent, *(file.parent / each for each in of.image_folders)]
        folders += [path / each for each in ("", *of.image_folders)] if path.is_dir() else []
        try:
            if row.error:
                raise ValueError(row.error)
            yield _candidate(of, of.see(row.fields), f"{prefix}-{number:04d}", folders, same)
        except (ValueError, QuestionError) as error:
            yield Refused(str(error))


def _candidate(of: TrainSet, seen: Seen, numbered: str, folders: Sequence[Path], same: Same) -> Candidate:
    """Raises ValueError, QuestionError."""
    question = check_question(seen.question, LONGEST_QUESTION)
    query_id = f"{of.name}-train-{seen.row_id}" if seen.row_id else numbered
    image, known = _picture(seen.image, seen.link, folders), set[str]()
    if seen.name:
        known.add(f"{of.name}:{seen.name}")
    if isinstance(image, bytes):
        known.add(content(image))
    else:
        known |= picture_names(image, same, genome=of.genome)
    return Candidate(query_id, question, image, frozenset(known))


def _picture(value: Any, link: str, folders: Sequence[Path]) -> str | bytes:
    """Raises ValueError when there is none."""
    image = picture_in(value)
    if isinstance(image, bytes) or "://" in image:
        return image
    for name in dict.fromkeys((image, Path(image).name)) if image else ():
        for folder in folders:
            if is_file(path := folder / name):
                return str(path.absolute())
    if not link:
        raise ValueError("no picture: no such file beside the rows, and no URL of it")
    return link
