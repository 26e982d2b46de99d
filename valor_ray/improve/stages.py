"""What a job of `valor improve` consists of: from what was asked for, and what has ended, to the list of stages. Pure.

A stage is a command of its own with a normal run folder. No stage that trains, mines or writes questions is told where
an evaluation lies (law 8): they hand models on, evaluations hand on nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.tabletop.scenes import GROUNDING_LOOKS

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

QUESTIONS, BASE, CONTROLS = "questions", "base", "controls"  # folders in the job's; round-N beside them
WRITTEN, TRAINED_ON, APART = "queries.jsonl", "train.jsonl", "signals.jsonl"  # in questions/
TABLETOP = "tabletop"
TABLETOP_QUESTIONS = 504  # without --questions; as grpo.eval_questions
_CHOSEN_OF = 8  # replies, as in `valor controls`


class Kind(StrEnum):
    QUESTIONS = "questions"
    EVALUATE = "evaluate"
    REASONING = "reasoning"
    MINE = "mine"
    GROUNDING = "grounding"


# The sections of the settings that decide what a stage makes.
SECTIONS = {
    Kind.QUESTIONS: ("vlm",),
    Kind.EVALUATE: ("policy", "detector", "depth", "vlm", "answer"),
    Kind.REASONING: ("policy", "judge", "vlm", "reward", "grpo", "stopping"),
    Kind.MINE: ("policy", "detector", "vlm", "grounding"),
    Kind.GROUNDING: ("detector", "finetune"),
}


@dataclass(frozen=True)
class Models:
    """As the settings policy.model and detector.model take them."""

    policy: str
    detector: str


@dataclass(frozen=True)
class Evaluated:
    """A benchmark that is asked, as `--eval NAME[:DATA]` names it."""

    benchmark: str
    data: str | None = None

    @property
    def word(self) -> str:
        return self.benchmark if self.data is None else f"{self.benchmark}:{self.data}"


@dataclass(frozen=True)
class Job:
    """What was asked for."""

    folder: Path  # absolute
    start: Models  # what round 1 starts from
    rounds: int
    evaluated: tuple[Evaluated, ...]  # (): nothing is measured
    images: str | None  # bare pictures, absolute where it is a path
    questions: int | None  # of each evaluation; None: all, of the tabletop TABLETOP_QUESTIONS
    eval_scenes: int | None  # of `train grounding --eval-scenes`
    profile: str
    overrides: tuple[str, ...]  # of --set
    controls: bool = False  # what would explain the figures away is measured beside them

    def sets(self, key: str) -> bool:
        """Whether the user has set it in so many words."""
        return any(word.partition("=")[0].strip() == key for word in self.overrides)


@dataclass(frozen=True)
class Stage:
    name: str  # its folder in the job's: "round-1/mine"
    kind: Kind
    folder: Path
    models: Models  # those that it is told
    words: tuple[str, ...]  # the command line, without profile and settings that it shares with the others
    settings: tuple[str, ...] = ()  # further `a.b=c`

    @property
    def command(self) -> str:
        return "python -m jobs.write_queries" if self.kind is Kind.QUESTIONS else "valor"


@dataclass(frozen=True)
class Measured:
    """A place in the story where models are measured: "base", "round-1/reasoning", "round-1/grounding"; or a control of
    it: "controls/greedy"."""

    name: str
    models: Models
    folder: Path  # holds a folder of `valor eval` a benchmark; that of an earlier place with the same models
    words: tuple[str, ...] = ()  # further ones of `valor eval`
    settings: tuple[str, ...] = ()


def stages(job: Job, config: Config, ended: Mapping[str, Mapping[str, Any]]) -> list[Stage]:
    """All stages in order. Models that no stage has made yet stand where they are expected.

    ended: by stage, what the journal has of its end: with `policy` (of reasoning) or `detector` (of grounding).
    """
    found: list[Stage] = []
    if job.images is not None:
        found.append(_questions(job))
    places = {place.name: place for place in measured(job, ended)}
    told: set[Path] = set()

    def evaluate(name: str) -> None:
        place = places[name]
        if place.folder not in told:
            told.add(place.folder)
            found.extend(_evaluations(job, place))

    evaluate(BASE)
    for number in range(1, job.rounds + 1):
        before, between, _ = models_of(job, number, ended)
        found.append(_reasoning(job, config, number, before))
        evaluate(f"round-{number}/{Kind.REASONING}")
        found.append(_mine(job, config, number, between))
        found.append(_grounding(job, number, between))
        evaluate(f"round-{number}/{Kind.GROUNDING}")
    for place in controls(job, ended):
        found.extend(_evaluations(job, place, job.evaluated[:1]))
    return found


def models_of(job: Job, number: int, ended: Mapping[str, Mapping[str, Any]]) -> tuple[Models, Models, Models]:
    """A round's models before it, after reasoning, after grounding."""
    before = job.start if number == 1 else models_of(job, number - 1, ended)[2]
    folder = job.folder / f"round-{number}"
    reasoned = ended.get(f"round-{number}/{Kind.REASONING}", {})
    grounded = ended.get(f"round-{number}/{Kind.GROUNDING}", {})
    between = replace(before, policy=str(reasoned.get("policy") or folder / Kind.REASONING / "chosen"))
    return (
        before,
        between,
        replace(between, detector=str(grounded.get("detector") or folder / Kind.GROUNDING)),
    )


def measured(job: Job, ended: Mapping[str, Mapping[str, Any]]) -> list[Measured]:
    """Where models are measured, in order; places with the models of an earlier one share its folder."""
    places = [Measured(BASE, job.start, job.folder / BASE)]
    for number in range(1, job.rounds + 1):
        _, between, after = models_of(job, number, ended)
        for kind, models in ((Kind.REASONING, between), (Kind.GROUNDING, after)):
            own = job.folder / f"round-{number}" / f"after-{kind}"
            folder = next((place.folder for place in places if place.models == models), own)
            places.append(Measured(f"round-{number}/{kind}", models, folder))
    return places


def controls(job: Job, ended: Mapping[str, Mapping[str, Any]]) -> list[Measured]:
    """What a user could have had without one loop, or both; measured with the first benchmark, after all rounds."""
    if not (job.controls and job.evaluated):
        return []
    last = models_of(job, job.rounds, ended)[2]
    eyes = "detector" if job.rounds == 1 else f"detector-{job.rounds}"  # each round has another one
    of: dict[str, tuple[Models, tuple[str, ...], tuple[str, ...]]] = {
        "greedy": (job.start, ("--samples", "1"), ("policy.temperature=0",)),
        eyes: (replace(job.start, detector=last.detector), (), ()),
        f"best-of-{_CHOSEN_OF}": (job.start, ("--samples", str(_CHOSEN_OF), "--select", "judge"), ()),
    }
    if last.detector == job.start.detector:
        del of[eyes]  # it is the base
    return [
        Measured(f"{CONTROLS}/{name}", models, job.folder / CONTROLS / name, words, settings)
        for name, (models, words, settings) in of.items()
    ]


def common_words(job: Job, stage: Stage, money: Sequence[str] = ()) -> list[str]:
    """Profile and settings of a stage's command line. The user's come first, so that the stage's own hold."""
    models = [f"policy.model={json.dumps(stage.models.policy)}"]
    models += [f"detector.model={json.dumps(stage.models.detector)}"]
    settings = (*job.overrides, *models, *stage.settings, *money)
    return ["--profile", job.profile, *(word for each in settings for word in ("--set", each)), "--json"]


def _stage(
    job: Job, name: str, kind: Kind, models: Models, *words: str, settings: Sequence[str] = ()
) -> Stage:
    return Stage(name, kind, job.folder / name, models, words, tuple(settings))


def _questions(job: Job) -> Stage:
    out = str(job.folder / QUESTIONS / WRITTEN)
    return _stage(job, QUESTIONS, Kind.QUESTIONS, job.start, "--images", str(job.images), "--out", out)


def _evaluations(job: Job, place: Measured, asked: Sequence[Evaluated] | None = None) -> Iterator[Stage]:
    """Of one place, by default with all benchmarks. Tabletop questions are rendered once, so that all answer the same
    files; their scenes are of the looks that `valor mine` renders offline, as a user's held-out pictures are of the
    kind that is mined."""
    for one in job.evaluated if asked is None else asked:
        folder = place.folder / one.benchmark
        words = ["eval", one.benchmark, "--out", str(folder)]
        data, limit = one.data, job.questions
        if one.benchmark == TABLETOP and data is None:
            limit = limit or TABLETOP_QUESTIONS
            rendered = job.folder / BASE / TABLETOP / "data"
            words += ["--looks", *GROUNDING_LOOKS] if place.name == BASE else []
            data = None if place.name == BASE else str(rendered)
        words += [] if data is None else ["--data", data]
        words += [] if limit is None else ["--limit", str(limit)]
        name = folder.relative_to(job.folder).as_posix()
        yield _stage(job, name, Kind.EVALUATE, place.models, *words, *place.words, settings=place.settings)


def _reasoning(job: Job, config: Config, number: int, models: Models) -> Stage:
    name = f"round-{number}/{Kind.REASONING}"
    words = ["train", "reasoning", "--run", str(job.folder / name)]
    settings = _later(number, {"grpo.seed": config.grpo.seed, "grpo.scene_seed": config.grpo.scene_seed})
    if job.images is not None:
        words += ["--queries", str(job.folder / QUESTIONS / TRAINED_ON)]
        if keeps_apart(job, config):
            settings.append(f"stopping.queries={json.dumps(str(job.folder / QUESTIONS / APART))}")
        if not job.sets("grpo.eval_questions"):
            settings.append("grpo.eval_questions=0")  # tabletop ones would say nothing of photographs
    return _stage(job, name, Kind.REASONING, models, *words, settings=settings)


def keeps_apart(job: Job, config: Config) -> bool:
    """Whether some of the written questions are kept for the choice of a checkpoint."""
    return job.images is not None and config.stopping.questions > 0 and config.stopping.queries is None


def _mine(job: Job, config: Config, number: int, models: Models) -> Stage:
    name = f"round-{number}/{Kind.MINE}"
    words = ["mine", "--run", str(job.folder / name)]
    if job.images is not None:
        words += ["--queries", str(job.folder / QUESTIONS / WRITTEN)]
    settings = _later(number, {"grounding.seed": config.grounding.seed})
    return _stage(job, name, Kind.MINE, models, *words, settings=settings)


def _grounding(job: Job, number: int, models: Models) -> Stage:
    name = f"round-{number}/{Kind.GROUNDING}"
    mined = job.folder / f"round-{number}" / Kind.MINE
    words = ["train", "grounding", "--run", str(job.folder / name), "--mined", str(mined)]
    words += [] if job.eval_scenes is None else ["--eval-scenes", str(job.eval_scenes)]
    return _stage(job, name, Kind.GROUNDING, models, *words)


def _later(number: int, seeds: Mapping[str, int | None]) -> list[str]:
    """Later rounds render and sample anew."""
    more = number - 1
    return [f"{key}={seed + more}" for key, seed in seeds.items() if more and seed is not None]
