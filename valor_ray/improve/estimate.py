"""What a job would do and cost, before anything is done: each stage's own `--dry-run`, put together."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ConfigError, ServiceError
from valor_ray.improve.child import Ended, run_child
from valor_ray.improve.journal import Journal
from valor_ray.improve.questions import most_apart
from valor_ray.improve.stages import QUESTIONS, TRAINED_ON, WRITTEN, Job, Kind, Stage, common_words, stages
from valor_ray.queries.pictures import list_shots

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

DryRun = Callable[[Sequence[str]], Ended]
# Of the request for a picture's questions: picture, prompt, answer. Assumed.
_TOKENS_IN, _TOKENS_OUT = 1500, 150
_STATES = {True: "done", False: "to do"}


def dry_run(words: Sequence[str]) -> Ended:
    """The plan of a command of `valor`, in a process of its own."""
    return run_child([sys.executable, "-m", "valor_ray", *words, "--dry-run"], quiet=True)


def estimate(job: Job, config: Config, ask: DryRun) -> dict[str, Any]:
    """{run, stages, cost_usd, minutes, leaves_out}; writes nothing into the job's folder.

    Later rounds are reckoned as the first. Raises ConfigError as the job, or the stage that it names, would.
    """
    journal = Journal(job.folder)
    ended = journal.ended()
    plan = stages(job, config, ended)
    journal.check(job, config, plan)
    begun = {row["stage"] for row in journal.rows()}
    with tempfile.TemporaryDirectory(prefix="valor-improve-") as made:
        reckoning = _Reckoning(job, config, ask, ended, Path(made))
        planned = [
            _shown(stage, stage.name in ended, stage.name in begun, reckoning.of(stage)) for stage in plan
        ]
    todo = [one for one in planned if one["state"] != _STATES[True]]
    return {
        "run": str(job.folder),
        "stages": planned,
        "cost_usd": round(sum(one["cost_usd"] or 0.0 for one in todo), 2),
        "minutes": round(sum(one["minutes"] or 0.0 for one in todo), 1),
        "leaves_out": "stages without a figure, and calls of the VLM by programs in evaluations",
    }


def _shown(stage: Stage, done: bool, begun: bool, reckoned: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "kind": stage.kind.value,
        "state": "goes on" if begun and not done else _STATES[done],
        "folder": str(stage.folder),
        "models": vars(stage.models),
        **{name: reckoned.get(name) for name in ("questions", "calls", "cost_usd", "minutes", "plan")},
    }


class _Reckoning:
    """Figures of each stage; a kind that comes again is not asked again."""

    def __init__(self, job: Job, config: Config, ask: DryRun, ended: Mapping[str, Any], made: Path) -> None:
        """made: a folder for what stands in for questions that are not written yet."""
        self.job, self.config, self.ask, self.ended, self.made = job, config, ask, ended, made
        self.known: dict[Kind, dict[str, Any]] = {}
        self.pictures = 0  # that have no question yet
        self.stand_in, self.trained_on = self._stand_in()

    def of(self, stage: Stage) -> dict[str, Any]:
        if stage.name in self.ended:
            return {}
        if stage.kind is Kind.EVALUATE:
            words = list(stage.words)
            return {"questions": int(words[words.index("--limit") + 1]) if "--limit" in words else None}
        if stage.kind is Kind.QUESTIONS:
            vlm, count = self.config.vlm, self.pictures
            cost = count * (_TOKENS_IN * vlm.price_in + _TOKENS_OUT * vlm.price_out) / 1e6
            return {"calls": count, "cost_usd": round(cost, 2) if vlm.price_in or vlm.price_out else None}
        if stage.kind not in self.known:
            self.known[stage.kind] = _figures(stage.kind, self._plan(stage))
        return self.known[stage.kind]

    def _plan(self, stage: Stage) -> dict[str, Any]:
        """Of the stage's own command."""
        words, more = list(stage.words), []
        if stage.kind is Kind.GROUNDING and stage.name.replace(stage.kind, Kind.MINE) not in self.ended:
            at = words.index("--mined")  # there is no set yet: what mining would make of its queries
            del words[at : at + 2]
            if self.job.images is not None:
                source = self.stand_in or self.job.folder / QUESTIONS / WRITTEN
                more = [f"grounding.queries={json.dumps(str(source))}"]
        if "--queries" in words:
            at = words.index("--queries") + 1
            if not Path(words[at]).exists():
                made = self.trained_on if stage.kind is Kind.REASONING else self.stand_in
                words[at] = str(made or self.job.folder / QUESTIONS / WRITTEN)
        ended = self.ask([*words, *common_words(self.job, stage, more)])
        if ended.result is None:
            words_of = f"{stage.name}: {ended.message}"
            raise ConfigError(words_of) if ended.code == 2 else ServiceError(words_of)
        return ended.result

    def _stand_in(self) -> tuple[Path | None, Path | None]:
        """A file of questions about the pictures, none of which is written yet, and one of those to be trained on."""
        if self.job.images is None or QUESTIONS in self.ended:
            return None, None
        shots = [shot for shot in list_shots(self.job.images, None, self.made / "pictures") if not shot.error]
        self.pictures = len(shots)
        lines = [
            {
                "query_id": shot.query_id,
                "image": str(shot.path.absolute()),
                "question": f"What is in picture {number}?",
            }
            for number, shot in enumerate(shots)
        ]
        cut = most_apart(self.job, self.config, len(lines))
        for name, some in ((WRITTEN, lines), (TRAINED_ON, lines[cut:])):
            (self.made / name).write_text("".join(json.dumps(line) + "\n" for line in some), encoding="utf-8")
        return self.made / WRITTEN, self.made / TRAINED_ON


def _figures(kind: Kind, plan: dict[str, Any]) -> dict[str, Any]:
    """Calls, cost and minutes as the stage's plan names them; null where it does not know."""
    calls = {Kind.REASONING: "judge_calls", Kind.MINE: "verifier_calls_typical"}.get(kind, "")
    cost = {Kind.REASONING: "judge_cost_usd", Kind.MINE: "cost_usd_typical"}.get(kind, "")
    minutes = plan.get("minutes_estimated")
    if plan.get("seconds_per_step") is not None:
        minutes = round(plan["seconds_per_step"] * plan["steps"] / 60, 1)
    return {"calls": plan.get(calls), "cost_usd": plan.get(cost), "minutes": minutes, "plan": plan}
