"""The controls of a reasoning run: what else would have given its gain, on the same held-out questions.

    RUN (valor train reasoning, at its end) ──► its settings, queries, weights, evaluation/data
      train      fine_tuning.py, random_rewards.py                    RUN/controls/NAME, once
      sample     replies.py: each weights once, greedy and at T       RUN/controls/replies, by weights
      run        answers.py: each different program once              RUN/controls/answers, by what is asked and reply
      score      choices.py: judge and scenes, of eight               RUN/controls/scores, likewise
      compare    table.py                                             RUN/controls.json, .txt

Each stage goes on where it was killed. For evaluation only: nothing of this reaches a run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from valor_ray.benchmarks.controls import fine_tuning, random_rewards
from valor_ray.benchmarks.controls.answers import answer_row, answered
from valor_ray.benchmarks.controls.ceiling import gold_replies
from valor_ray.benchmarks.controls.choices import OF, Scores, calls_a_question, scored, taken
from valor_ray.benchmarks.controls.kept import reply_key
from valor_ray.benchmarks.controls.replies import Replies, Wanted, sampled
from valor_ray.benchmarks.controls.source import BASE, CHOSEN, TRAINED, Source, Weights
from valor_ray.benchmarks.controls.table import COLUMNS, Asked, Row, by_look, parts, table_record
from valor_ray.benchmarks.results.row import Sample
from valor_ray.errors import ConfigError
from valor_ray.report.reasoning.page import write_train_page_again
from valor_ray.runs.folder import locked
from valor_ray.runs.record_file import replace_text
from valor_ray.selecting.select import Select
from valor_ray.tabletop.finetune.controls.table import table_text

Say = Callable[[str], None]
SAMPLES = 4  # of a question, at the run's temperature
CEILING = "ceiling"
CHOICES = tuple(select.value for select in Select)
CONTROLS = (*CHOICES, fine_tuning.NAME, random_rewards.NAME, CEILING)
_TEMPERATURE = 0.7  # the paper's, where the run's policy is greedy
_TITLES = {
    BASE: "base",
    TRAINED: "trained",
    CHOSEN: "chosen without labels",
    fine_tuning.NAME: "fine-tuned on full reward",
    random_rewards.NAME: "random rewards",
}
_CHOSEN = {
    "vote": f"vote of {OF}",
    "judge": f"best of {OF} by the judge",
    "scenes": f"best of {OF} by scenes",
}


@dataclass(frozen=True)
class Wishes:
    """What `valor controls` was asked for, of a reasoning run."""

    names: tuple[str, ...] = CONTROLS  # base and trained, greedy and not, are always there
    samples: int = SAMPLES


@dataclass
class _Measured:
    """All that rows are made of."""

    source: Source
    wishes: Wishes
    weights: dict[str, Weights]
    replies: dict[str, Replies] = field(default_factory=dict)  # by the row's control
    answers: Mapping[str, Sample] = field(default_factory=dict)
    scores: dict[str, Scores] = field(default_factory=dict)  # by select
    more: dict[str, dict[str, Any]] = field(default_factory=dict)  # of trained controls

    @property
    def temperature(self) -> float:
        return self.source.config.policy.temperature or _TEMPERATURE

    @property
    def choices(self) -> list[Select]:
        return [Select(name) for name in CHOICES if name in self.wishes.names]


def controls(source: Source, wishes: Wishes, say: Say) -> dict[str, Any]:
    """Train, sample, run and score what is not there yet; write RUN/controls.json, .txt and the run's page; the record.

    Called by `valor controls`, blocks for all of it. Raises ConfigError, CheckpointError, JudgeError, PolicyError,
    ServiceError, StorageError: then the same command goes on.
    """
    with locked(source.path / "controls", "--run"):
        measured = _Measured(source, wishes, source.weights())
        if CEILING in wishes.names:
            gold = source.path / "controls" / "gold.jsonl"
            measured.replies[CEILING] = gold_replies(source.queries, gold, say)
        _train(measured, say)
        asyncio.run(_measure(measured, say))
        record = _record(measured)
        replace_text(source.path / "controls.json", json.dumps(record, indent=1) + "\n")
        replace_text(source.path / "controls.txt", table_text(record, COLUMNS))
        write_train_page_again(source.path)
    return record


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError naming one that is no control."""
    if wrong := [name for name in names if name not in CONTROLS]:
        raise ConfigError(f"No control {wrong[0]!r} of a reasoning run: there are {', '.join(CONTROLS)}.")


def _train(measured: _Measured, say: Say) -> None:
    if fine_tuning.NAME in measured.wishes.names:
        tuned, measured.more[fine_tuning.NAME] = fine_tuning.fine_tune(measured.source, say)
        measured.weights[fine_tuning.NAME] = tuned
    if random_rewards.NAME in measured.wishes.names:
        measured.weights[random_rewards.NAME] = random_rewards.train_on_random_rewards(measured.source, say)


async def _measure(measured: _Measured, say: Say) -> None:
    source, config = measured.source, measured.source.config
    many = max(measured.wishes.samples, OF) if measured.choices else measured.wishes.samples
    wanted: dict[str, Wanted] = {}
    for name, weights in measured.weights.items():
        n = many if name in (BASE, TRAINED) else measured.wishes.samples
        wanted[name] = Wanted(weights, measured.temperature, n)
        wanted[f"{name}_greedy"] = Wanted(weights, 0.0, 1)
    kept = source.path / "controls" / "replies"
    made = await sampled(list(wanted.values()), source.queries, config.policy, kept, say)
    measured.replies |= dict(zip(wanted, made, strict=True))
    replies = list(measured.replies.values())
    measured.answers = await answered(replies, source.queries, config, source.path, say)
    chosen = [measured.replies[name] for name in (BASE, TRAINED)]
    for select in measured.choices:
        measured.scores[select.value] = await scored(select, chosen, source.queries, config, source.path, say)


def _record(measured: _Measured) -> dict[str, Any]:
    queries, truths = measured.source.queries, measured.source.truths
    asked = Asked(
        [query.image or query.query_id for query in queries],
        *(
            [getattr(truths[query.query_id], name) for query in queries]
            for name in ("family", "look", "text")
        ),
    )
    rows = []
    for name in measured.weights:
        rows.append(_sampled_row(measured, name, f"T {measured.temperature:g}"))
        rows.append(_sampled_row(measured, f"{name}_greedy", "greedy"))
        if name in (BASE, TRAINED):
            rows += [_chosen_row(measured, name, select) for select in measured.choices]
    if CEILING in measured.replies:
        rows.append(_ceiling_row(measured, asked))
    return table_record(rows, asked, _note(measured)) | {"details": parts(rows, asked)}


def _sampled_row(measured: _Measured, control: str, how: str) -> Row:
    name = control.removesuffix("_greedy")
    samples = [
        [measured.answers[reply_key(query, text)] for text in own[: measured.wishes.samples]]
        for query in measured.source.queries
        for own in (measured.replies[control][query.query_id],)
    ]
    title = f"{_TITLES[name]}, {how}"
    more = measured.more.get(name, {})
    said = _equal(measured, name) if control == name else ""
    return _row(measured, control, title, samples, words=said, more=more)


def _chosen_row(measured: _Measured, name: str, select: Select) -> Row:
    queries, replies = measured.source.queries, measured.replies[name]
    scores = measured.scores[select.value]
    samples = [[one] for one in taken(select, replies, queries, measured.answers, scores)]
    calls = calls_a_question(replies, queries, scores)
    title = f"{_TITLES[name]}, {_CHOSEN[select.value]}"
    return _row(measured, f"{name}_{select.value}", title, samples, calls=calls)


def _ceiling_row(measured: _Measured, asked: Asked) -> Row:
    replies = measured.replies[CEILING]
    samples = [
        [measured.answers[reply_key(query, replies[query.query_id][0])]] for query in measured.source.queries
    ]
    row = _row(measured, CEILING, "right programs, live tools", samples)
    return Row(row.control, row.name, row.marks, row.well_formed, words=f"By look: {by_look(row, asked)}.")


def _row(
    measured: _Measured,
    control: str,
    title: str,
    samples: Sequence[Sequence[Sample]],
    *,
    calls: float | None = None,
    words: str = "",
    more: Mapping[str, Any] | None = None,
) -> Row:
    source = measured.source
    rows = [
        answer_row(query, source.truths[query.query_id], own)
        for query, own in zip(source.queries, samples, strict=True)
    ]
    answers = [one for row in rows for one in row.answers()]
    formed = sum(bool(one.well_formed) for one in answers) / len(answers)
    return Row(control, title, [row.mark for row in rows], formed, calls, words, more or {})


def _equal(measured: _Measured, name: str) -> str:
    """What a trained row has in common with the run, and what not."""
    spent, steps = measured.source.spent, measured.source.steps
    if name == TRAINED:
        return f"{steps} steps; {spent.calls:,} judge calls for {spent.rollouts:,} samples."
    if name == fine_tuning.NAME:
        made = measured.more[name]
        return (
            f"The run's start, learner and rate, without its divergence term, {made['steps']} steps of as many rows; "
            f"{made['calls']:,} judge calls for {made['judged']:,} samples of the base, of which {made['examples']:,} "
            f"have full reward: each is seen {made['epochs']:g} times."
        )
    if name == random_rewards.NAME:
        return f"{steps} steps on the run's queries; its rewards dealt at random; no judge call."
    return ""


def _note(measured: _Measured) -> str:
    source, spec = measured.source, measured.wishes
    pictures = len({query.image for query in source.queries})
    judge = (
        " The judge is the offline one, which is rule-based, and the models are tiny."
        if source.config.judge.base_url is None
        else ""
    )
    return (
        f"{len(source.queries)} held-out questions about {pictures} pictures, {spec.samples} samples each at T "
        f"{measured.temperature:g}, one greedily; points of 100. Intervals: 95 %, paired bootstrap over pictures; "
        f"nothing is corrected for the number of rows. judge calls: a question, to choose.{judge}"
    )
