"""One question of a benchmark as it went, and its two marks: a line of answers.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from valor_ray.answer import MALFORMED, REFUSED
from valor_ray.benchmarks.truth import Truth
from valor_ray.measure.marks import Metric, strict_mark
from valor_ray.measure.paper_rules import PaperRule, paper_mark
from valor_ray.records import ProgramStatus, Query

_OF_TRUTH = (
    "text",
    "subset",
    "metric",
    "rule",
    "options",
)  # fields that a row has of its truth under their names

_TUPLES = ("options", "habits", "tokens", "attempts", "repair_tokens")  # fields of a row
Attempts = Sequence[Mapping[str, Any]]  # replies that failed and were written anew: {status, failure, error}


@dataclass(frozen=True)
class Sample:
    """One of several replies to a question."""

    answer: Any  # the raw result; None where there is none
    status: str = ProgramStatus.OK  # of its program, or "malformed"
    score: float | None = None  # 0..1 by judge or scenes; None: not asked, or a verdict is missing
    failure: str = ""  # asking.conduct.Failure
    habits: Sequence[str] = ()  # asking.conduct.Habit
    attempts: Attempts = ()

    @property
    def answered(self) -> bool:
        return self.status == ProgramStatus.OK


@dataclass(frozen=True)
class AnswerRow:
    """A question as it went. With samples and no `select`, each of these is an answer of its own."""

    query_id: str
    question: str
    family: str
    look: str
    truth: Any
    answer: Any  # the raw result, as the program left it; None where each sample is an answer of its own
    right: bool  # the strict mark is 1
    error: str | None  # why there is no answer: malformed reply, failed program, no service, no picture
    unasked: bool  # there was no reply at all: asked again when the run is resumed
    seconds: float
    well_formed: float = (
        False  # the reply had one plan block and one answer block; of several answers the share
    )
    text: str = ""  # of the truth, as are the next four
    subset: str = ""
    metric: str = Metric.BY_TYPE
    rule: str = PaperRule.NONE
    options: Sequence[str] = ()
    picture: str = ""  # what the question is about: questions of one picture are not independent
    status: str = ""  # of the program, "malformed", "unasked"; "" where nothing is said
    mark: float = 0.0  # strict, 0..1; of several answers the mean
    paper: float | None = None  # by the paper's rule, 0..1; None: it has none
    select: str = ""  # how the answer was taken of the samples: "vote", "judge", "scenes"
    samples: Sequence[Sample] = ()  # in the order of sampling; (): one reply
    calls: int = 0  # of judges, to choose
    cost_usd: float = 0.0  # of these
    failure: str = ""  # asking.conduct.Failure: why the reply gave no answer
    habits: Sequence[str] = ()  # asking.conduct.Habit
    tokens: Sequence[int] = (0, 0)  # of the policy's prompt, and of all its replies; 0: not told
    tools: int = 0  # calls of tools, by the programs of all samples
    repairs: int = 0  # times that a reply whose program failed was to be written anew
    attempts: Attempts = ()
    unrepaired: str = ""  # why the last was not
    repair_calls: int = 0  # of the policy, for all samples
    repair_tokens: Sequence[int] = (0, 0)  # of `tokens`, those of these calls
    repair_cost_usd: float = 0.0  # of `writer_cost_usd`, that of these calls
    writer_cost_usd: float = 0.0  # of an endpoint's replies; 0 where they were kept before, or not told

    @classmethod
    def of(cls, query: Query, truth: Truth, **went: Any) -> AnswerRow:
        """The row of a question. went: its other fields, how it was answered; without any: not at all. Unmarked."""
        known: dict[str, Any] = {
            "query_id": query.query_id,
            "question": query.question,
            "picture": query.image,
            "truth": truth.answer,
            **{name: getattr(truth, name) for name in ("family", "look", *_OF_TRUTH)},
        }
        none = {"answer": None, "right": False, "error": None, "unasked": False, "seconds": 0.0}
        return cls(**{**none, **went, **known})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> AnswerRow:
        """A line as it was written. Raises TypeError when it is none."""
        whole = {name: tuple(record[name]) for name in _TUPLES if name in record}
        samples = [
            Sample(**{**each, **{name: tuple(each.get(name, ())) for name in ("habits", "attempts")}})
            for each in record.get("samples", ())
        ]
        return cls(**{**record, **whole, "samples": tuple(samples)})

    def record(self) -> dict[str, Any]:
        """As a line: of each sample only what it has."""
        samples = [
            {
                key: value
                for key, value in asdict(one).items()
                if value or key in ("answer", "status", "score")
            }
            for one in self.samples
        ]
        return {**asdict(self), "samples": samples}

    def marked(self) -> AnswerRow:
        """With both marks, made anew from the result. A failed question is 0; the paper's rule sees no answer there."""
        if self.unasked:  # neither rule has anything to go by
            mark, paper = 0.0, None if self.rule == PaperRule.NONE else 0.0
        elif self.samples and not self.select:
            singles = [single.marked() for single in self.singles()]
            papers = [single.paper for single in singles if single.paper is not None]
            mark = sum(single.mark for single in singles) / len(singles)
            paper = sum(papers) / len(papers) if papers else None
        elif self.error is not None:
            mark, paper = 0.0, paper_mark(self.rule, None, self.truth)
        else:
            mark = strict_mark(self.metric, self.answer, self.truth, self.options)
            paper = paper_mark(self.rule, self.answer, self.truth)
        return replace(self, mark=mark, paper=paper, right=mark == 1)

    def singles(self) -> list[AnswerRow]:
        """Each sample as if it had been the only one; the row itself where there was one."""
        if not self.samples:
            return [self]
        return [
            replace(
                self,
                answer=one.answer,
                error=None if one.answered else one.status,
                status=one.status,
                failure=one.failure,
                habits=one.habits,
                well_formed=one.status not in (MALFORMED, REFUSED),
                select="",
                samples=(),
                attempts=one.attempts,
            )
            for one in self.samples
        ]

    def answers(self) -> list[AnswerRow]:
        """A row for each answer that counts: of samples that nothing chose from all, else the one."""
        return [self] if self.select else self.singles()

    @property
    def kind(self) -> str:
        """How a marked row ended: right, partly, wrong, format, tool, program; service: nobody replied."""
        if self.unasked:
            return "service"
        if self.error is not None:
            return self.failure or ("format" if self.status in (MALFORMED, REFUSED) else "program")
        return "right" if self.mark == 1 else "partly" if self.mark else "wrong"

    @property
    def cluster(self) -> str:
        return self.picture or self.query_id
