"""Asks every question of a benchmark, marks the answers, and records each as it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from valor_ray.answer import MALFORMED, REFUSED, status_of
from valor_ray.asking.kept import Kept, Replied
from valor_ray.benchmarks.figures import EvalReport, report_of
from valor_ray.benchmarks.results.row import AnswerRow, Sample
from valor_ray.benchmarks.settings import ONE_ANSWER, Asking
from valor_ray.benchmarks.truth import Truth
from valor_ray.errors import ConfigError, ServiceError, ValorError
from valor_ray.records import Query
from valor_ray.runs.at_once import each
from valor_ray.runs.record_file import RecordFile

ANSWERS = "answers.jsonl"  # in the output folder: an AnswerRow a line, appended; of two of one query the last counts

Progress = Callable[[int, AnswerRow], None]  # called with how many are answered, and the newest
AnswerFn = Callable[[Query], Awaitable[Kept]]  # raises ValorError without a reply


async def evaluate(
    benchmark: str,
    queries: Sequence[Query],
    truths: Mapping[str, Truth],
    answer_fn: AnswerFn,
    out: Path,
    *,
    concurrency: int = 4,
    progress: Progress = lambda done, row: None,
    macro: str = "family",
    asking: Asking = ONE_ANSWER,
) -> EvalReport:
    """Ask what `out` has no answer for yet, `concurrency` at a time; report on all queries.

    `valor eval --url` and `held_out` call it; it waits for every answer, and each is on disk before the next is
    counted. A question that fails is a row, not an exception. asking: what `answer_fn` asks for. Raises ConfigError
    when `out` belongs to other questions, StorageError when a row cannot be written.
    """
    with _Run(benchmark, queries, truths, out, progress, asking) as run:

        async def one(query: Query) -> None:
            run.add(await _replied(query, answer_fn))

        await each(run.todo, one, concurrency)
        return run.report(macro)


def evaluate_streamed(
    benchmark: str,
    queries: Sequence[Query],
    truths: Mapping[str, Truth],
    replies: Callable[[Sequence[Query]], Iterable[Replied]],
    out: Path,
    *,
    progress: Progress = lambda done, row: None,
    macro: str = "family",
    asking: Asking = ONE_ANSWER,
) -> EvalReport:
    """`evaluate` over a stream: `replies` is called with the questions that have no answer yet, unless there are none.

    `valor eval` calls it with Ray's. Of two replies to a question (a worker has died after the first) the first counts.
    """
    with _Run(benchmark, queries, truths, out, progress, asking) as run:
        if run.todo:
            for reply in replies(run.todo):
                run.add(reply)
        return run.report(macro)


class _Run:
    """The rows of an output folder, those of earlier starts and what is added."""

    def __init__(
        self,
        benchmark: str,
        queries: Sequence[Query],
        truths: Mapping[str, Truth],
        out: Path,
        progress: Progress,
        asking: Asking,
    ) -> None:
        self._start = time.monotonic()
        self._benchmark, self._queries, self._truths = benchmark, queries, truths
        self._progress, self._asking = progress, asking
        out.mkdir(parents=True, exist_ok=True)
        self._file = RecordFile(out / ANSWERS, keep=True)
        try:
            self._rows = _recorded(out / ANSWERS, queries, truths)
        except ConfigError:
            self._file.close()
            raise
        self.todo = _without_answer(queries, self._rows)
        self._left = {query.query_id: query for query in self.todo}

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, reply: Replied) -> None:
        query = self._left.pop(reply.query_id, None)
        if query is None:  # it was there before
            return
        row = _row(query, self._truths[query.query_id], reply, self._asking)
        self._file.append(row.record())
        self._rows[query.query_id] = row
        self._progress(len(self._queries) - len(self._left), row)

    def report(self, macro: str) -> EvalReport:
        """Raises ServiceError where questions have no row."""
        rows = [self._rows[each.query_id] for each in self._queries if each.query_id in self._rows]
        if len(rows) < len(self._queries):
            raise ServiceError(
                f"{len(self._queries) - len(rows)} of {len(self._queries)} questions came back from no worker. "
                "The same command asks these."
            )
        return report_of(self._benchmark, rows, time.monotonic() - self._start, macro)


def unanswered(out: Path, queries: Sequence[Query]) -> list[Query]:
    """What `evaluate` would ask. Raises ConfigError when `out` belongs to other questions."""
    return _without_answer(queries, _recorded(out / ANSWERS, queries))


def recorded(out: Path) -> list[AnswerRow]:
    """The rows of a folder in the order of their first answers, of two of one query the last."""
    return list(_rows(out / ANSWERS).values())


def _without_answer(queries: Sequence[Query], rows: Mapping[str, AnswerRow]) -> list[Query]:
    return [query for query in queries if query.query_id not in rows or rows[query.query_id].unasked]


async def _replied(query: Query, answer_fn: AnswerFn) -> Replied:
    start = time.monotonic()
    try:
        return Replied(query.query_id, await answer_fn(query), time.monotonic() - start)
    except ValorError as failed:
        return Replied(query.query_id, None, time.monotonic() - start, str(failed))


def _row(query: Query, truth: Truth, replied: Replied, asking: Asking) -> AnswerRow:
    reply, why = replied.kept or {}, replied.why
    unasked = replied.kept is None
    if not unasked and asking.samples > 1 and len(reply.get("candidates") or ()) != asking.samples:
        unasked, reply = True, {}
        why = f"The server gave one answer where {asking.samples} samples were asked for."
    elif not unasked and asking.select and (unjudged := _unjudged(reply)):
        unasked, reply, why = True, {}, f"Not chosen by {asking.select}: {unjudged}"
    row = AnswerRow.of(
        query,
        truth,
        answer=reply.get("answer"),
        error=why if unasked else reply.get("error"),
        unasked=unasked,
        seconds=round(replied.seconds, 3),
        well_formed=bool(reply.get("well_formed")),
        status="unasked" if unasked else status_of(reply),
        failure=reply.get("failure") or "",
        habits=tuple(reply.get("habits", ())),
        tokens=tuple(reply.get("tokens", (0, 0))),
        tools=reply.get("tools", 0),
        writer_cost_usd=reply.get("writer_cost_usd", 0.0),
        **_repairs_of(reply, asking),
    )
    return _with_samples(row, reply, asking).marked()


def _unjudged(reply: Mapping[str, Any]) -> str:
    """Why judges did not choose: votes did in their place, which is not what is measured."""
    return str((reply.get("selection") or {}).get("unjudged") or "")


def _repairs_of(reply: Mapping[str, Any], asking: Asking) -> dict[str, Any]:
    """The row's fields about repairs."""
    took = reply.get("repairs") or {}
    return {
        "repairs": asking.repairs,
        "attempts": tuple(reply.get("attempts", ())),
        "unrepaired": reply.get("unrepaired", ""),
        "repair_calls": took.get("calls", 0),
        "repair_tokens": tuple(took.get("tokens", (0, 0))),
        "repair_cost_usd": took.get("cost_usd", 0.0),
    }


def _with_samples(row: AnswerRow, reply: Mapping[str, Any], asking: Asking) -> AnswerRow:
    """What came of several samples, and what choosing cost."""
    if asking.samples == 1 or row.unasked:
        return row
    samples = tuple(
        Sample(
            answer=one.get("answer"),
            status=status_of(one),
            score=one.get("score") if asking.select else None,
            failure=one.get("failure") or "",
            habits=tuple(one.get("habits", ())),
            attempts=tuple(one.get("attempts", ())),
        )
        for one in reply["candidates"]
    )
    row = replace(row, samples=samples)
    if asking.select:
        said = reply.get("selection") or {}
        return replace(
            row, select=asking.select, calls=said.get("calls", 0), cost_usd=said.get("cost_usd", 0.0)
        )
    formed = sum(one.status not in (MALFORMED, REFUSED) for one in samples) / len(samples)
    answered = any(one.answered for one in samples)
    return replace(
        row,
        answer=None,
        well_formed=round(formed, 4),
        error=None if answered else row.error,
        status="" if answered else row.status,
        failure="" if answered else row.failure,
        habits=(),
        attempts=(),
        unrepaired="",
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
