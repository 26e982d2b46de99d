"""Asks every question of a benchmark, marks the answers, and records each as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from valor_ray.answer import MALFORMED, status_of
from valor_ray.benchmarks.figures import EvalReport, report_of
from valor_ray.benchmarks.results.row import AnswerRow, Sample
from valor_ray.benchmarks.settings import ONE_ANSWER, Asking
from valor_ray.benchmarks.truth import Truth
from valor_ray.errors import ConfigError, ServiceError, ValorError
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
    asking: Asking = ONE_ANSWER,
) -> EvalReport:
    """Ask what `out` has no answer for yet, `concurrency` at a time; report on all queries.

    `valor eval` and `held_out` call it; it waits for every answer, and each is on disk before the next is counted.
    A question that fails is a row, not an exception. asking: what `answer_fn` asks for. Raises ConfigError when `out`
    belongs to other questions, StorageError when a row cannot be written.
    """
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    with closing(RecordFile(out / ANSWERS, keep=True)) as file:
        rows = _recorded(out / ANSWERS, queries, truths)
        todo = _without_answer(queries, rows)
        done = len(queries) - len(todo)

        async def one(query: Query) -> None:
            nonlocal done
            row = await _ask(query, truths[query.query_id], answer_fn, asking)
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


async def _ask(query: Query, truth: Truth, answer_fn: AnswerFn, asking: Asking) -> AnswerRow:
    start = time.monotonic()
    reply: Mapping[str, Any] = {}
    unasked, error = False, None
    try:
        reply = await answer_fn(query)
        error = reply.get("error")
        if asking.samples > 1 and len(reply.get("candidates") or ()) != asking.samples:
            raise ServiceError(f"The server gave one answer where {asking.samples} samples were asked for.")
    except ValorError as failed:
        unasked, error, reply = True, str(failed), {}
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
        status="unasked" if unasked else status_of(reply),
    )
    return _with_samples(row, reply, asking).marked()


def _with_samples(row: AnswerRow, reply: Mapping[str, Any], asking: Asking) -> AnswerRow:
    """What came of several samples, and what choosing cost."""
    if asking.samples == 1 or row.unasked:
        return row
    samples = tuple(
        Sample(one.get("answer"), status_of(one), one.get("score") if asking.select else None)
        for one in reply["candidates"]
    )
    row = replace(row, samples=samples)
    if asking.select:
        said = reply.get("selection") or {}
        return replace(
            row, select=asking.select, calls=said.get("calls", 0), cost_usd=said.get("cost_usd", 0.0)
        )
    formed = sum(one.status != MALFORMED for one in samples) / len(samples)
    answered = any(one.answered for one in samples)
    return replace(
        row,
        answer=None,
        well_formed=round(formed, 4),
        error=None if answered else row.error,
        status="" if answered else row.status,
    )


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
            row = AnswerRow.from_record(json.loads(line))
        except (ValueError, TypeError, AttributeError):
            continue
        rows[row.query_id] = row
    return rows
