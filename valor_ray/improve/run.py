"""`valor improve` from the first evaluation to the report; what carries a stage is `launch`, a child process.

    stages(job, ended) ─► the first that has not ended ─► begun ─► launch: BLOCKS until its command ends ─► ended ─┐
             ▲                                     stages.jsonl                                   stages.jsonl     │
             └─────────────────────────── with the models that it has made ◄──────────────────────────────────────┘

A kill leaves a begin without an end: the next start launches that stage again, whose command goes on by its own
records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import UndefinedError

from valor_ray.errors import ConfigError, JudgeError, ServiceError
from valor_ray.improve.child import Ended
from valor_ray.improve.journal import Journal
from valor_ray.improve.money import (
    NOTHING,
    Payer,
    asked_by,
    asking,
    bound_by_own,
    payers,
    places,
    shares,
    total,
)
from valor_ray.improve.outcome import Outcome, outcome_of
from valor_ray.improve.questions import part_questions
from valor_ray.improve.stages import Job, Kind, Stage, common_words, keeps_apart, stages
from valor_ray.runs.folder import IMPROVE, claimed

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

Launch = Callable[[Stage, Sequence[str]], Ended]
Say = Callable[[str], None]
Report = Callable[[Path], dict[str, Any]]
# What a page may fail with: by records that nobody foresaw, by evaluations whose questions were changed in between.
_OF_PAGES = (OSError, LookupError, TypeError, ValueError, AttributeError, UndefinedError, ConfigError)


def improve(
    job: Job, config: Config, launch: Launch, report: Report, *, most_usd: float | None, say: Say
) -> dict[str, Any]:
    """Run what is left of the job; returns its report.

    Called by the command; waits for every stage. report: writes report.json and the page of the folder, after every
    stage. most_usd: over all stages and starts. Raises ConfigError for what the user must change, and what a stage
    failed with: ConfigError for its exit code 2, else ServiceError; JudgeError where the limit is reached.
    """
    with claimed(job.folder, IMPROVE):
        journal = Journal(job.folder)
        journal.check(job, config, stages(job, config, journal.ended()))
        running = _Running(job, config, journal, launch, most_usd, say)
        while (stage := running.next()) is not None:
            running.work(stage)
            try:
                report(job.folder)
            except _OF_PAGES as error:  # no reason to end a job of days
                say(f"the page is not made anew ({type(error).__name__}: {error}), the job goes on")
        return report(job.folder)


class _Running:
    """One start over one folder, which is locked."""

    def __init__(
        self, job: Job, config: Config, journal: Journal, launch: Launch, most_usd: float | None, say: Say
    ) -> None:
        self.job, self.config, self.journal, self.launch = job, config, journal, launch
        self.most_usd, self.say = most_usd, say
        self.accounts = payers(job, config)
        known = journal.begun().get("spent_before", {})
        self.before = {
            each.account: known.get(each.account, 0.0 if known else each.spent()) for each in self.accounts
        }

    def next(self) -> Stage | None:
        """The first stage that has not ended; the plan is written as it is known now."""
        ended = self.journal.ended()
        plan = stages(self.job, self.config, ended)
        self.journal.write_plan(self.job, self.config, plan, self.before)
        return next((stage for stage in plan if stage.name not in ended), None)

    def work(self, stage: Stage) -> None:
        """To its end: again where one of two models has run out of its share, and money is left."""
        while True:
            began = self.spent()
            pay = asking(asked_by(stage.kind, self.config, stage.words), self.accounts)
            money, own = self._money(stage, pay)
            self.say(f"{stage.name}: {stage.command} {' '.join(stage.words)}")
            self.journal.begin(stage, began)
            more = [*money, *self._prepare(stage)]
            ended = self.launch(stage, [*stage.words, *common_words(self.job, stage, more)])
            outcome = outcome_of(stage, ended, self.journal.rows())
            spent = self.spent()
            self.journal.end(stage, self.config, ended, spent, done=outcome.done, more=outcome.models)
            if outcome.note:
                self.say(f"{stage.name}: {outcome.note}")
            if outcome.done:
                return
            if own or not (outcome.out_of_money and self.most_usd is not None):
                raise _failure(self.job, stage, ended, outcome)
            if not (len(pay) > 1 and spent > began and self.left() > NOTHING * self.most_usd):
                raise self._reached(stage)
            self.say(f"{stage.name}: one model's share is spent, ${self.left():.4f} are left: again")

    def spent(self) -> float:
        """Of this job: what the stores hold beyond what they held before its first start."""
        return round(max(total(self.accounts) - sum(self.before.values()), 0.0), 6)

    def left(self) -> float:
        return 0.0 if self.most_usd is None else self.most_usd - self.spent()

    def _money(self, stage: Stage, pay: Sequence[Payer]) -> tuple[list[str], bool]:
        """Settings: where answers are kept, and what they may cost; whether a limit of the user's own is lower.

        pay: whom the stage asks.
        """
        kept = places(self.job, self.config)
        if self.most_usd is None or not pay:
            return kept, False
        if self.left() <= NOTHING * self.most_usd:
            raise self._reached(stage)
        spent = {each.account: each.spent() for each in self.accounts}
        left = self.left()
        own = bound_by_own(pay, spent, left)
        return [*kept, *shares(pay, spent, left, self.config)], own

    def _reached(self, stage: Stage) -> JudgeError:
        return JudgeError(
            f"--max-cost-usd {self.most_usd:g} is reached at {stage.name}: ${self.spent():.4f} spent in all. The same "
            "command with a higher --max-cost-usd goes on, and pays nothing twice."
        )

    def _prepare(self, stage: Stage) -> list[str]:
        """The files that a stage reads; settings that follow from what is in them."""
        if stage.kind is not Kind.REASONING or self.job.images is None:
            return []
        if part_questions(self.job, self.config) or not keeps_apart(self.job, self.config):
            return []
        self.say(
            "too few questions to keep some apart: no checkpoint is chosen, later stages take the last weights"
        )
        return ["stopping.questions=0"]


def _failure(job: Job, stage: Stage, ended: Ended, outcome: Outcome) -> BaseException:
    """What the job ends with: the stage's own message and exit code."""
    words = f"{stage.name}: {outcome.why}"
    if ended.code == 130:
        return KeyboardInterrupt()
    if ended.code == 2:
        return ConfigError(words)
    return ServiceError(f"{words}\nThe same command goes on there ({job.folder / stage.name}).")


def cost_by_stage(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """US dollars by stage, from the whole job's spending at its begins and ends; killed starts included."""
    cost: dict[str, float] = {}
    for row, after in pairwise(rows):
        if row["event"] == "begun":
            cost[row["stage"]] = round(cost.get(row["stage"], 0.0) + after["spent_usd"] - row["spent_usd"], 6)
    return cost
