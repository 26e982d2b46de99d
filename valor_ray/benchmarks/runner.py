"""Asks every question of a benchmark, marks the answers, and records each as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from valor_ray.errors import ConfigError, ValorError
from valor_ray.measure.answers import is_right
from valor_ray.measure.intervals import wilson
from valor_ray.records import Query
from valor_ray.runs.at_once import each
from valor_ray.runs.record_file import RecordFile

ANSWERS = "answers.jsonl"  # in the output folder: an AnswerRow a line, appended; of two of one query the last counts


@dataclass(frozen=True)
class Truth:
    answer: Any  # JSON value; its type chooses the metric
    family: str
    look: str = ""
    text: str = ""  # "seen" or "unseen" in training; "" where the data does not say


@dataclass(frozen=True)
class AnswerRow:
    """One question as it went: a line of answers.jsonl."""

    query_id: str
    question: str
    family: str
    look: str
    truth: Any
    answer: Any
    right: bool
    error: str | None  # why there is no answer: malformed reply, failed program, no service
    unasked: bool  # the service gave no reply at all: asked again when the run is resumed
    seconds: float
    well_formed: bool = False  # the reply had one plan block and one answer block
    text: str = ""  # of the truth


@dataclass(frozen=True)
class Share:
    n: int
    accuracy: float
    ci: tuple[float, float]  # 95 %, Wilson


@dataclass(frozen=True)
class EvalReport:
    benchmark: str
    n: int
    accuracy: float  # over all n: a question without an answer is wrong
    ci: tuple[float, float]  # 95 %, Wilson
    by_family: dict[str, Share]
    by_look: dict[str, Share]  # of questions whose data says it; so by_text
    by_text: dict[str, Share]  # "seen", "unseen"
    failures: int  # questions without an answer, whatever the reason
    unasked: int  # of these, the ones that the service did not reply to
    well_formed: float  # share of replies with one plan block and one answer block
    seconds: float  # of this run


AnswerFn = Callable[
    [Query], Awaitable[Mapping[str, Any]]
]  # the keys of /v1/answer; raises ValorError without a reply


async def evaluate(
    benchmark: str,
    queries: Sequence[Query],
    truths: Mapping[str, Truth],
    answer_fn: AnswerFn,
    out: Path,
    *,
    concurrency: int = 4,
    progress: Callable[[int, AnswerRow], None] = lambda done, row: None,
) -> EvalReport:
    """Ask what `out` has no answer for yet, `concurrency` at a time; report on all queries.

    `valor eval` and `held_out` call it; it waits for every answer, and each is on disk before the next is counted.
    A question that fails is a row, not an exception. Raises ConfigError when `out` belongs to other questions,
    StorageError when a row cannot be written.
    """
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    with closing(RecordFile(out / ANSWERS, keep=True)) as file:
        rows = _recorded(out / ANSWERS, queries)
        todo = _without_answer(queries, rows)
        done = len(queries) - len(todo)

        async def one(query: Query) -> None:
            nonlocal done
            row = await _ask(query, truths[query.query_id], answer_fn)
            file.append(asdict(row))
            rows[query.query_id] = row
            done += 1
            progress(done, row)

        await each(todo, one, concurrency)
    wanted = [rows[query.query_id] for query in queries]
    return _report(benchmark, wanted, time.monotonic() - start)


def unanswered(out: Path, queries: Sequence[Query]) -> list[Query]:
    """What `evaluate` would ask. Raises ConfigError when `out` belongs to other questions."""
    return _without_answer(queries, _recorded(out / ANSWERS, queries))


def _without_answer(queries: Sequence[Query], rows: Mapping[str, AnswerRow]) -> list[Query]:
    return [query for query in queries if query.query_id not in rows or rows[query.query_id].unasked]


async def _ask(query: Query, truth: Truth, answer_fn: AnswerFn) -> AnswerRow:
    start = time.monotonic()
    reply: Mapping[str, Any] = {}
    unasked, error = False, None
    try:
        reply = await answer_fn(query)
        error = reply.get("error")
    except ValorError as failed:
        unasked, error = True, str(failed)
    answer = reply.get("answer")
    return AnswerRow(
        query_id=query.query_id,
        question=query.question,
        family=truth.family,
        look=truth.look,
        truth=truth.answer,
        answer=answer,
        right=error is None and is_right(answer, truth.answer),
        error=error,
        unasked=unasked,
        seconds=round(time.monotonic() - start, 3),
        well_formed=bool(reply.get("plan") and reply.get("code")),
        text=truth.text,
    )


def _recorded(path: Path, queries: Sequence[Query]) -> dict[str, AnswerRow]:
    """Rows of an earlier run by query_id; a line that is none (cut by a kill long ago) is left out."""
    rows: dict[str, AnswerRow] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = AnswerRow(**json.loads(line))
        except (ValueError, TypeError):
            continue
        rows[row.query_id] = row
    for query in queries:
        row_of = rows.get(query.query_id)
        if row_of is not None and row_of.question != query.question:
            raise ConfigError(
                f"{path} answers another question under the id {query.query_id!r}: give this benchmark its own --out."
            )
    return rows


def _report(benchmark: str, rows: Sequence[AnswerRow], seconds: float) -> EvalReport:
    total = _share(rows)
    return EvalReport(
        benchmark=benchmark,
        n=total.n,
        accuracy=total.accuracy,
        ci=total.ci,
        by_family=_by(rows, lambda row: row.family),
        by_look=_by(rows, lambda row: row.look),
        by_text=_by(rows, lambda row: row.text),
        failures=sum(row.error is not None for row in rows),
        unasked=sum(row.unasked for row in rows),
        well_formed=round(sum(row.well_formed for row in rows) / max(len(rows), 1), 4),
        seconds=round(seconds, 1),
    )


def _by(rows: Sequence[AnswerRow], key: Callable[[AnswerRow], str]) -> dict[str, Share]:
    """Shares by a property of the question; rows without it are left out."""
    values = sorted({key(row) for row in rows} - {""})
    return {value: _share([row for row in rows if key(row) == value]) for value in values}


def _share(rows: Iterable[AnswerRow]) -> Share:
    marks = [row.right for row in rows]
    low, high = wilson(sum(marks), len(marks))
    return Share(len(marks), round(sum(marks) / max(len(marks), 1), 4), (round(low, 4), round(high, 4)))
