"""Your own questions: a folder with queries.jsonl, truth.jsonl and pictures, as `valor tabletop render` writes it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.truth import Benchmark, Loaded, Request, Truth
from valor_ray.errors import ConfigError
from valor_ray.queries.read import is_file
from valor_ray.records import Query
from valor_ray.rows.read import read_rows

QUERIES, TRUTH = "queries.jsonl", "truth.jsonl"
NEEDS = (
    f"{QUERIES} needs query_id, image (a file beside it) and question; {TRUTH} needs query_id, answer (text, a number, "
    "true or false) and family. `valor tabletop render` writes such a folder."
)


def read(request: Request) -> Loaded:
    """Raises ConfigError as `load` does, and without --data."""
    if request.data is None:
        raise ConfigError(f"`own` needs --data DIR, a folder. {NEEDS}")
    return Loaded(*load(request.data, request.limit))


def load(folder: Path, limit: int | None = None) -> tuple[list[Query], dict[str, Truth]]:
    """The first `limit` questions of a folder (queries.jsonl, truth.jsonl, pictures) and their truths by query_id.

    Raises ConfigError that begins with the folder or file, and names the row and what is wrong with it.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder. {NEEDS}")
    queries = [_query(row, place, folder) for place, row in rows_at(folder / QUERIES)][:limit]
    known = [_truth(row, place) for place, row in rows_at(folder / TRUTH)]
    truths = dict(known)
    for name, ids in ((QUERIES, [query.query_id for query in queries]), (TRUTH, [each for each, _ in known])):
        if len(set(ids)) < len(ids):
            twice = Counter(ids).most_common(1)[0][0]
            raise ConfigError(
                f"{folder / name}: query_id {twice!r} stands there twice. Give each row its own."
            )
    if not queries:
        raise ConfigError(f"{folder}: there are no questions in {QUERIES}. {NEEDS}")
    if lacking := [query.query_id for query in queries if query.query_id not in truths]:
        raise ConfigError(
            f"{folder / TRUTH}: no truth for {lacking[0]!r}"
            f"{f' and {len(lacking) - 1} more' if len(lacking) > 1 else ''}. {NEEDS}"
        )
    return queries, truths


def _query(row: Mapping[str, Any], place: str, folder: Path) -> Query:
    query_id, question = _text(row, "query_id", place), _text(row, "question", place)
    picture = folder / _text(row, "image", place)
    if not is_file(picture):
        raise ConfigError(
            f"{place}: there is no picture {str(picture)[:300]}. Correct the field 'image' of that row."
        )
    return Query(query_id, question, str(picture))


def _truth(row: Mapping[str, Any], place: str) -> tuple[str, Truth]:
    answer = row.get("answer")
    if not isinstance(answer, str | bool | int | float) or (
        isinstance(answer, float) and not math.isfinite(answer)
    ):
        raise ConfigError(
            f"{place}: field 'answer' must be text, a number, true or false, not {answer!r}. {NEEDS}"
        )
    look, text = (value if isinstance(value := row.get(name), str) else "" for name in ("look", "text"))
    truth = Truth(answer, _text(row, "family", place), look, text)
    return _text(row, "query_id", place), truth


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    """A field that is text, or an id that is a whole number."""
    value = row.get(name)
    if name == "query_id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        wrong = f"must be text that is not empty, not {value!r}" if name in row else "is missing"
        raise ConfigError(f"{place}: field {name!r} {wrong}. {NEEDS}")
    return value


def rows_at(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with its place, "FILE line N"; empty lines do not count."""
    for row in read_rows(path, str(path), needs=NEEDS):
        place = f"{path} {row.place}"
        if row.error:
            raise ConfigError(f"{place}: {row.error}. {NEEDS}")
        yield place, row.fields


BENCHMARK = Benchmark("own", "Own questions", read)
