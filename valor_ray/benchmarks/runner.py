"""Asks every question of a benchmark, marks the answers, and records each as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.figures import AnswerRow, EvalReport, report_of
from valor_ray.benchmarks.truth import Truth
from valor_ray.errors import ConfigError, ValorError
from valor_ray.records import Query
from valor_ray.runs.at_once import each
from valor_ray.runs.record_file import RecordFile

ANSWERS = "answers.jsonl"  # in the output folder: an AnswerRow a line, appended; of two of one query the last counts

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
    macro: str = "family",
) -> EvalReport:
    """Ask what `out` has no answer for yet, `concurrency` at a time; report on all queries.

    `valor eval` and `held_out` call it; it waits for every answer, and each is on disk before the next is counted.
    A question that fails is a row, not an exception. Raises ConfigError when `out` belongs to other questions,
    StorageError when a row cannot be written.
    """
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    with closing(RecordFile(out / ANSWERS, keep=True)) as file:
        rows = _recorded(out / ANSWERS, queries, truths)
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
    return report_of(benchmark, wanted, time.monotonic() - start, macro)


def unanswered(out: Path, queries: Sequence[Query]) -> list[Query]:
    """What `evaluate` would ask. Raises ConfigError when `out` belongs to other questions."""
    return _without_answer(queries, _recorded(out / ANSWERS, queries))


def recorded(out: Path) -> list[AnswerRow]:
    """The rows of a folder in the order of their first answers, of two of one query the last."""
    return list(_rows(out / ANSWERS).values())


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
    row = AnswerRow(
        query_id=query.query_id,
        question=query.question,
        family=truth.family,
        look=truth.look,
        truth=truth.answer,
        answer=reply.get("answer"),
        right=False,
        error=error,
        unasked=unasked,
        seconds=round(time.monotonic() - start, 3),
        well_formed=bool(reply.get("plan") and reply.get("code")),
        text=truth.text,
        subset=truth.subset,
        metric=truth.metric,
        rule=truth.rule,
        options=truth.options,
        picture=query.image,
        status="unasked" if unasked else str(reply.get("status") or ("error" if error else "")),
    )
    return row.marked()


def _recorded(
    path: Path, queries: Sequence[Query], truths: Mapping[str, Truth] | None = None
) -> dict[str, AnswerRow]:
    """Rows of an earlier run by query_id. Raises ConfigError when they are of other questions, or other truths."""
    rows = _rows(path)
    for query in queries:
        row = rows.get(query.query_id)
        if row is None:
            continue
        other = row.question != query.question
        if other or (truths is not None and row.truth != truths[query.query_id].answer):
            what = "another question" if other else "a question of another truth"
            raise ConfigError(
                f"{path} answers {what} under the id {query.query_id!r}: give this benchmark its own --out."
            )
    return rows


def _rows(path: Path) -> dict[str, AnswerRow]:
    """A line that is none (cut by a kill long ago) is left out."""
    rows: dict[str, AnswerRow] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            row = AnswerRow(**json.loads(line))
        except (ValueError, TypeError):
            continue
        rows[row.query_id] = row
    return rows
