"""A judge beside exact match, for open answers that can be right in other words (GQA). Evaluation only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.figures import EvalReport, with_judge
from valor_ray.benchmarks.results.row import AnswerRow
from valor_ray.judges.sections import write_sections
from valor_ray.measure.marks import Metric
from valor_ray.ports import Judge
from valor_ray.records import JudgeRequest
from valor_ray.runs.record_file import RecordFile

VERSION = "1"  # of the request below, the prompt's text apart, which is part of the cache key as it is
HEAD = "equivalent"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "same": {"type": "boolean"}},
    "required": ["reason", "same"],
    "additionalProperties": False,
}
JUDGED = "judged.jsonl"  # in the output folder: query_id, answer, same (null: missing), reason, by


async def judge_open_answers(
    report: EvalReport, rows: Sequence[AnswerRow], judge: AbstractAsyncContextManager[Judge], out: Path
) -> EvalReport:
    """The report with the judge's marks as the paper's, and out/judged.jsonl.

    Answers that equal the truth are not asked about, those of a question's samples that are equal once, and yes/no rows
    never. A verdict that is missing counts as wrong in the mark, as in the paper, and in `judge.missing`; the judge's
    own cache pays for nothing twice. Raises JudgeError when every call must fail.
    """
    open_answers = {
        (row.query_id, _text(one.answer)): one for row in rows for one in row.answers() if _is_open(one)
    }
    async with judge as asked:
        replies = await asked.ask([request(one) for one in open_answers.values()]) if open_answers else []
    said: dict[tuple[str, str], bool | None] = {}
    with closing(RecordFile(out / JUDGED, keep=False)) as file:
        for (query_id, text), reply in zip(open_answers, replies, strict=True):
            same = None if reply.content is None else bool(reply.content["same"])
            reason = reply.missing if reply.content is None else str(reply.content["reason"])
            said[query_id, text] = same
            file.append(
                {
                    "query_id": query_id,
                    "answer": text,
                    "same": same,
                    "reason": reason,
                    "by": reply.usage.model,
                }
            )
    marks = {row.query_id: _mean_mark(row, said) for row in rows}
    by = sorted({reply.usage.model for reply in replies} - {""})
    missing = sum(same is None for same in said.values())
    return with_judge(report, marks, rows, {"asked": len(open_answers), "missing": missing, "by": by})


def _mean_mark(row: AnswerRow, said: Mapping[tuple[str, str], bool | None]) -> float:
    """Of a row's answers: the judge's mark where he was asked, the strict one elsewhere."""
    marks = [
        float(said[key] is True)
        if (key := (row.query_id, _text(one.answer))) in said and _is_open(one)
        else one.marked().mark
        for one in row.answers()
    ]
    return sum(marks) / len(marks)


def request(row: AnswerRow) -> JudgeRequest:
    """Whether a row's answer means the same as its truth."""
    told = {"question": row.question, "right_answer": str(row.truth), "answer": _text(row.answer)}
    return JudgeRequest(
        head=HEAD,
        version=VERSION,
        messages=(
            {"role": "system", "content": _prompt()},
            {"role": "user", "content": write_sections(told)},
        ),
        schema=SCHEMA,
    )


def _is_open(row: AnswerRow) -> bool:
    """Whether there is an answer that may be right in other words."""
    there = row.error is None and row.answer is not None and bool(_text(row.answer).strip())
    return there and row.metric != Metric.YES_NO and not row.marked().mark


def _text(answer: Any) -> str:
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return text[:500]


@cache
def _prompt() -> str:
    path = files("valor_ray").joinpath("prompts", "evaluation", "equivalent.txt")
    return path.read_text(encoding="utf-8").strip()
