"""What writing failed replies anew brought, beside the same first replies without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from valor_ray.benchmarks.results.gain import choice
from valor_ray.benchmarks.results.row import AnswerRow, Sample
from valor_ray.measure.paired import paired_marks
from valor_ray.records import ProgramStatus
from valor_ray.selecting.select import Select


@dataclass(frozen=True)
class Mended:
    """Strict marks of the questions that were answered. The same first replies stand on both sides."""

    most: int  # repairs that a reply could have
    n: int  # questions; those that were not asked are left out
    replies: int  # first ones: samples
    failed: int  # of these, that came to no answer
    retried: int  # of these, that were written anew
    repaired: int  # of these, that came to an answer in the end
    right: int  # of these, that are right
    accuracy: float  # mean mark, with repairs
    without: float  # mean mark of the first replies: what the run had come to without repairs
    gain: float  # accuracy - without
    ci: tuple[float, float]  # 95 %: paired bootstrap over pictures
    calls: int  # of the policy, for repairs
    replies_a_question: float  # all replies of the policy
    tokens: tuple[int, int]  # of prompts and replies, of the repairs
    cost_usd: float  # of the repairs


def mended_of(rows: Sequence[AnswerRow]) -> Mended | None:
    """Of the rows of a run; None where repairs were not asked for."""
    rows = [row.marked() for row in rows if row.repairs and not row.unasked]
    if not rows:
        return None
    singles = [single.marked() for row in rows for single in row.singles()]
    retried = [one for one in singles if one.attempts]
    after = [row.mark for row in rows]
    change = paired_marks([_without(row) for row in rows], after, [row.cluster for row in rows])
    calls = sum(row.repair_calls for row in rows)
    return Mended(
        most=max(row.repairs for row in rows),
        n=len(rows),
        replies=len(singles),
        failed=sum(bool(one.attempts) or one.error is not None for one in singles),
        retried=len(retried),
        repaired=sum(one.error is None for one in retried),
        right=sum(one.right for one in retried),
        accuracy=round(change.after, 4),
        without=round(change.before, 4),
        gain=round(change.gain, 4),
        ci=(round(change.ci[0], 4), round(change.ci[1], 4)),
        calls=calls,
        replies_a_question=round((len(singles) + calls) / len(rows), 3),
        tokens=(sum(row.repair_tokens[0] for row in rows), sum(row.repair_tokens[1] for row in rows)),
        cost_usd=round(sum(row.repair_cost_usd for row in rows), 6),
    )


def _without(row: AnswerRow) -> float:
    """Its mark, had no reply been written anew."""
    marks = [0.0 if one.attempts else one.marked().mark for one in row.singles()]
    if row.samples and row.select:
        return marks[choice([_first(one) for one in row.samples], Select(row.select))]
    return sum(marks) / len(marks)


def _first(sample: Sample) -> Sample:
    """The sample before it was repaired."""
    return replace(sample, answer=None, status=ProgramStatus.ERROR, score=None) if sample.attempts else sample
