"""What choosing one answer of several samples brought, beside the samples taken singly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valor_ray.benchmarks.results.row import AnswerRow, Sample
from valor_ray.measure.paired import paired_marks
from valor_ray.records import Answer
from valor_ray.selecting.agreement import votes
from valor_ray.selecting.select import Candidate, Select, best


@dataclass(frozen=True)
class Gain:
    """Strict marks of the questions that were answered. The same samples stand on both sides."""

    select: str  # "vote", "judge", "scenes"
    samples: int  # of a question
    n: int  # questions; those that were not asked are left out
    selected: float  # mean mark of the answers taken
    single: float  # mean mark of all samples: what one reply comes to
    gain: float  # selected - single
    ci: tuple[float, float]  # 95 %: paired bootstrap over pictures
    best_possible: float  # mean of each question's best mark: the ceiling of any choice
    by_samples: dict[int, float]  # how many of the first samples it had to choose from -> mean mark
    calls: int  # of judges, for all questions
    cost_usd: float


def gain_of(rows: Sequence[AnswerRow]) -> Gain | None:
    """Of the rows of a run; None where nothing was chosen."""
    chosen = [row.marked() for row in rows if row.samples and row.select]
    if not chosen:
        return None
    singles = [[single.marked().mark for single in row.singles()] for row in chosen]
    means = [sum(marks) / len(marks) for marks in singles]
    taken = [row.mark for row in chosen]
    change = paired_marks(means, taken, [row.cluster for row in chosen])
    most = max(len(row.samples) for row in chosen)
    select = Select(chosen[0].select)
    sizes = [size for size in (2**power for power in range(most.bit_length())) if size < most]
    return Gain(
        select=select.value,
        samples=most,
        n=len(chosen),
        selected=round(change.after, 4),
        single=round(change.before, 4),
        gain=round(change.gain, 4),
        ci=(round(change.ci[0], 4), round(change.ci[1], 4)),
        best_possible=round(sum(map(max, singles)) / len(singles), 4),
        by_samples={
            **{size: round(_mean_of_first(chosen, singles, select, size), 4) for size in sizes},
            most: round(change.after, 4),
        },
        calls=sum(row.calls for row in chosen),
        cost_usd=round(sum(row.cost_usd for row in chosen), 6),
    )


def choice(samples: Sequence[Sample], select: Select) -> int:
    """Number of the sample that would have been taken, had there been these alone."""
    counted = votes([one.answer if one.answered else None for one in samples])
    return best(
        [
            Candidate(Answer(one.answer, "", ""), count, one.score)
            for one, count in zip(samples, counted, strict=True)
        ],
        select,
    )


def _mean_of_first(
    rows: Sequence[AnswerRow], marks: Sequence[Sequence[float]], select: Select, size: int
) -> float:
    taken = [own[choice(row.samples[:size], select)] for row, own in zip(rows, marks, strict=True)]
    return sum(taken) / len(taken)
