"""What the answers to a benchmark come to: both marks of each row, shares by family and subset, intervals.

Everything is computed from what rows hold (raw result, truth, metric), so that marks can be made again at any time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from valor_ray.benchmarks.results.gain import Gain, gain_of
from valor_ray.benchmarks.results.repairs import Mended, mended_of
from valor_ray.benchmarks.results.row import AnswerRow
from valor_ray.measure.answers import number
from valor_ray.measure.bootstrap import Marked, interval, macro_interval
from valor_ray.measure.marks import Metric


@dataclass(frozen=True)
class Share:
    n: int
    accuracy: float  # mean strict mark
    ci: tuple[float, float]  # 95 %, clustered by picture
    paper_accuracy: float | None = None
    kinds: dict[str, int] = field(default_factory=dict)  # how its answers ended (AnswerRow.kind)


@dataclass(frozen=True)
class Used:
    """What a run took, all its questions together."""

    tokens: tuple[int, int]  # of the policy's prompts and of its replies; 0 where a server has not told them
    tool_calls: int
    judge_calls: int  # to choose among samples
    cost_usd: float  # of these
    seconds: float  # of all questions, those asked at a time added up
    replies: int = 0  # of the policy: samples and repairs
    writer_cost_usd: float = 0.0  # of these, of an endpoint; 0 where one was kept before, or not told


@dataclass(frozen=True)
class Macro:
    over: str  # "family" or "subset"
    accuracy: float  # mean of their accuracies
    ci: tuple[float, float]  # 95 %: pictures drawn within each


@dataclass(frozen=True)
class EvalReport:
    benchmark: str
    n: int
    accuracy: float  # strict and micro, over all n: a question without an answer is wrong; the mean over its samples
    ci: tuple[float, float]  # 95 %, clustered by picture
    by_family: dict[str, Share]
    by_look: dict[str, Share]  # of questions whose data says it; so by_text, by_subset
    by_text: dict[str, Share]  # "seen", "unseen"
    failures: int  # questions without an answer, whatever the reason
    unasked: int  # of these, the ones that nobody replied to, or whose picture could not be had
    well_formed: float  # share of replies with one plan block and one answer block
    seconds: float  # of this run
    paper_accuracy: float | None = (
        None  # micro, by the paper's rule; of GQA by a judge; None: no rule or no judge
    )
    by_subset: dict[str, Share] = field(default_factory=dict)
    macro: Macro | None = None  # where there are two families or subsets
    failed: dict[str, int] = field(default_factory=dict)  # by status; of several answers each is counted
    samples: int = 1  # of a question
    selection: Gain | None = None  # where one answer was chosen of them
    repairs: Mended | None = None  # where replies whose programs failed were written anew
    kinds: dict[str, int] = field(default_factory=dict)  # how the answers ended (AnswerRow.kind)
    habits: dict[str, int] = field(
        default_factory=dict
    )  # answers with one (asking.conduct.Habit); rule-based
    used: Used | None = None
    rmse: float | None = None  # of counts, over the questions that were answered with a number
    judge: dict[str, Any] | None = None  # of GQA: asked, missing, by
    notes: Sequence[str] = ()  # of the set: rows left out, odd ones


def report_of(benchmark: str, rows: Sequence[AnswerRow], seconds: float, macro: str = "family") -> EvalReport:
    """The figures of a benchmark's rows, in order; their marks are made anew. macro: "family" or "subset"."""
    rows = [row.marked() for row in rows]
    answers = [answer for row in rows for answer in row.answers()]
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
        paper_accuracy=total.paper_accuracy,
        by_subset=_by(rows, lambda row: row.subset),
        macro=_macro(rows, macro),
        failed=dict(Counter(row.status or "error" for row in answers if row.error is not None)),
        samples=max((len(row.samples) or 1 for row in rows), default=1),
        selection=gain_of(rows),
        repairs=mended_of(rows),
        kinds=total.kinds,
        habits=dict(Counter(habit for row in answers for habit in row.habits)),
        used=_used(rows),
        rmse=_rmse(answers),
    )


def _groups(rows: Sequence[AnswerRow], key: Callable[[AnswerRow], str]) -> dict[str, list[AnswerRow]]:
    """Rows by a property of the question; those without it are left out."""
    groups: dict[str, list[AnswerRow]] = {name: [] for name in sorted({key(row) for row in rows} - {""})}
    for row in rows:
        if name := key(row):
            groups[name].append(row)
    return groups


def _by(rows: Sequence[AnswerRow], key: Callable[[AnswerRow], str]) -> dict[str, Share]:
    return {name: _share(group) for name, group in _groups(rows, key).items()}


def _share(rows: Sequence[AnswerRow]) -> Share:
    marked = _marked(rows)
    papers = [row.paper for row in rows if row.paper is not None]
    paper = round(sum(papers) / len(papers), 4) if papers and len(papers) == len(rows) else None
    kinds = Counter(answer.marked().kind for row in rows for answer in row.answers())
    return Share(
        len(rows), round(marked.mean, 4), _rounded(interval(marked)), paper, dict(sorted(kinds.items()))
    )


def _used(rows: Sequence[AnswerRow]) -> Used:
    return Used(
        tokens=(sum(row.tokens[0] for row in rows), sum(row.tokens[1] for row in rows)),
        tool_calls=sum(row.tools for row in rows),
        judge_calls=sum(row.calls for row in rows),
        cost_usd=round(sum(row.cost_usd for row in rows), 6),
        seconds=round(sum(row.seconds for row in rows), 1),
        replies=sum((len(row.samples) or 1) + row.repair_calls for row in rows if not row.unasked),
        writer_cost_usd=round(sum(row.writer_cost_usd for row in rows), 6),
    )


def _macro(rows: Sequence[AnswerRow], over: str) -> Macro | None:
    groups = _groups(rows, lambda row: str(getattr(row, over)))
    if len(groups) < 2:
        return None
    parts = [_marked(group) for group in groups.values()]
    return Macro(
        over, round(sum(part.mean for part in parts) / len(parts), 4), _rounded(macro_interval(parts))
    )


def _marked(rows: Sequence[AnswerRow]) -> Marked:
    return Marked([row.mark for row in rows], [row.cluster for row in rows])


def _rmse(rows: Sequence[AnswerRow]) -> float | None:
    """Of sets that ask for whole numbers only."""
    if not rows or any(row.metric != Metric.INT for row in rows):
        return None
    pairs = [(number(row.answer), number(row.truth)) for row in rows if row.error is None]
    squares = [(said - right) ** 2 for said, right in pairs if said is not None and right is not None]
    return round(math.sqrt(sum(squares) / len(squares)), 4) if squares else None


def _rounded(ends: tuple[float, float]) -> tuple[float, float]:
    return round(ends[0], 4), round(ends[1], 4)


def with_judge(
    report: EvalReport, marks: Mapping[str, float], rows: Sequence[AnswerRow], said: dict[str, Any]
) -> EvalReport:
    """With a judge's marks (by query_id) as the paper's: in the total, by family and by subset. said: of the judge."""
    judged = [replace(row.marked(), paper=marks[row.query_id]) for row in rows]
    return replace(
        report,
        paper_accuracy=_share(judged).paper_accuracy,
        by_family=_by(judged, lambda row: row.family),
        by_subset=_by(judged, lambda row: row.subset),
        judge=said,
    )
