"""A method asked for a whole run: opened, its programs recorded, and what the report says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.asking.kept import Kept, kept
from valor_ray.benchmarks.methods.method import FELL_BACK_FROM, LOOKED, Method, Setup
from valor_ray.benchmarks.results.row import AnswerRow
from valor_ray.errors import ServiceError
from valor_ray.runs.record_file import RecordFile, read_records

if TYPE_CHECKING:
    from valor_ray.benchmarks.runner import AnswerFn
    from valor_ray.records import Query

PROGRAMS = "programs.jsonl"  # in the run folder: replies as they came; of two of one query the last counts


@asynccontextmanager
async def opened(method: Method, setup: Setup) -> AsyncIterator[AnswerFn]:
    """What answers a question by the method, and records how it came to the answer. Raises as Method.open does."""
    async with method.open(setup) as answer:
        with closing(RecordFile(setup.out / PROGRAMS, keep=True)) as file:

            async def recorded(query: Query) -> Kept:
                LOOKED.set([])
                reply = await answer(query)
                if failures := [eyes.failure for eyes in LOOKED.get() if eyes.failure is not None]:
                    raise ServiceError(failures[0])
                file.append({"query_id": query.query_id, **reply})
                return kept(reply)

            yield recorded


def said_of(method: Method, out: Path, rows: Sequence[AnswerRow]) -> dict[str, Any]:
    """What a report says of its method; of one that falls back, also the accuracy with these answers counted wrong."""
    said = method.record()
    path = out / PROGRAMS
    latest = {record["query_id"]: record for record in read_records(path)} if path.exists() else {}
    said["writer_calls"] = sum(record.get("writer_calls", 0) for record in latest.values())
    if method.falls_back and rows:
        by_itself = [row for row in rows if FELL_BACK_FROM not in latest.get(row.query_id, {})]
        said["fell_back"] = len(rows) - len(by_itself)
        said["without_fallback"] = round(sum(row.marked().mark for row in by_itself) / len(rows), 4)
    return said
