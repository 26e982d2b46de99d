"""A judge beside exact match, for open answers that can be right in other words (GQA). Evaluation only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.figures import AnswerRow, EvalReport, with_judge
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
JUDGED = "judged.jsonl"  # in the output folder: query_id, same (null: missing), reason, by


async def judge_open_answers(
    report: EvalReport, rows: Sequence[AnswerRow], judge: AbstractAsyncContextManager[Judge], out: Path
) -> EvalReport:
    """The report with the judge's marks as the paper's, and out/judged.jsonl.

    Equal answers are not asked about, and yes/no rows never. A verdict that is missing counts as wrong in the mark, as
    in the paper, and in `judge.missing`; the judge's own cache pays for nothing twice. Raises JudgeError when every
    call must fail.
    """
    marks = {row.query_id: row.marked().mark for row in rows}
    open_rows = [
        row for row in rows if row.metric != Metric.YES_NO and _has_answer(row) and not marks[row.query_id]
    ]
    async with judge as asked:
        replies = await asked.ask([request(row) for row in open_rows]) if open_rows else []
    missing = 0
    with closing(RecordFile(out / JUDGED, keep=False)) as file:
        for row, reply in zip(open_rows, replies, strict=True):
            same = None if reply.content is None else bool(reply.content["same"])
            reason = reply.missing if reply.content is None else str(reply.content["reason"])
            missing += same is None
            marks[row.query_id] = float(same is True)
            file.append({"query_id": row.query_id, "same": same, "reason": reason, "by": reply.usage.model})
    by = sorted({reply.usage.model for reply in replies} - {""})
    return with_judge(report, marks, rows, {"asked": len(open_rows), "missing": missing, "by": by})


def verdicts(out: Path) -> Mapping[str, bool]:
    """query_id -> what the judge has said in a folder, without the missing ones."""
    path = out / JUDGED
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines()) if path.exists() else ()
    return {record["query_id"]: record["same"] for record in records if record["same"] is not None}


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


def _has_answer(row: AnswerRow) -> bool:
    return row.error is None and row.answer is not None and bool(_text(row.answer).strip())


def _text(answer: Any) -> str:
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return text[:500]


@cache
def _prompt() -> str:
    path = files("valor_ray").joinpath("prompts", "evaluation", "equivalent.txt")
    return path.read_text(encoding="utf-8").strip()
