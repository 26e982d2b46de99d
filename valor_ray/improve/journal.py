"""The job's own records: improve.json says what was asked for, stages.jsonl every begin and end of a stage.

A stage is done when its end is recorded and its folder is there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.config.access import without_secrets
from valor_ray.errors import ConfigError
from valor_ray.improve.child import Ended
from valor_ray.improve.stages import SECTIONS, Evaluated, Job, Models, Stage
from valor_ray.report.kit.rows import rows_of
from valor_ray.runs.folder import changes, public_settings
from valor_ray.runs.record_file import RecordFile, cut_torn_line, replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

PLAN, STAGES = "improve.json", "stages.jsonl"  # in the job's folder
# What may change between two starts although a stage is done: who works, how fast, what it may cost, what is kept.
_FREE = frozenset(
    "replicas max_replicas num_gpus threads max_ongoing max_batch batch_wait_s cache_entries kv_cache_gib shards "
    "gpu_memory_utilization max_num_seqs max_batched_tokens enforce_eager exact_samples weight_transfer hang_s follow "
    "base_url api_key_env headers timeout_s requests_per_minute tokens_per_minute max_in_flight price_in price_out "
    "max_cost_usd retries patience_s first_in_flight hedge cache_dir workers device gpu_gib micro_batch fsdp "
    "micro_batch_tokens gradient_checkpointing save_every keep_checkpoints keep_gib gap_alarm max_kl trackers "
    "wandb_project service audit_every audit_alarm ask_again".split()
)


class Journal:
    """Records of one job. Called by the command, which holds the folder's lock; the report reads the same files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan, self.stages = folder / PLAN, folder / STAGES

    def begun(self) -> dict[str, Any]:
        """improve.json; {} before the first start. Raises ConfigError when it cannot be read."""
        try:
            return dict(json.loads(self.plan.read_text(encoding="utf-8"))) if self.plan.exists() else {}
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"Cannot read {self.plan}: {error}. Give another --run.") from error

    def ended(self) -> dict[str, dict[str, Any]]:
        """By name, the ends of the stages that are done."""
        return {
            row["stage"]: row
            for row in rows_of(self.stages)
            if row["event"] == "ended" and row["done"] and (self.folder / row["stage"]).is_dir()
        }

    def rows(self) -> list[dict[str, Any]]:
        """All begins and ends, in order."""
        return list(rows_of(self.stages))

    def begin(self, stage: Stage, spent_usd: float) -> None:
        """spent_usd: of the whole job until now."""
        models = vars(stage.models)
        self._append(
            {
                "event": "begun",
                "stage": stage.name,
                "at": time.time(),
                "spent_usd": spent_usd,
                "models": models,
            }
        )

    def end(
        self,
        stage: Stage,
        config: Config,
        ended: Ended,
        spent_usd: float,
        *,
        done: bool,
        more: Mapping[str, Any],
    ) -> None:
        """more: what later stages take from this one."""
        self._append(
            {
                "event": "ended",
                "stage": stage.name,
                "at": time.time(),
                "done": done,
                "code": ended.code,
                "message": ended.message,
                "seconds": round(ended.seconds, 1),
                "spent_usd": spent_usd,
                "models": vars(stage.models),
                "settings": deciding(stage, config) if done else None,
                "result": ended.result,
                **more,
            }
        )

    def _append(self, record: Mapping[str, Any]) -> None:
        cut_torn_line(self.stages)
        with closing(RecordFile(self.stages, keep=True)) as file:
            file.append(record)

    def check(self, job: Job, config: Config, todo: Sequence[Stage]) -> None:
        """Raises ConfigError naming what differs from what the job, or a stage that is done, was begun with."""
        if before := self.begun():
            was, now = dict(before["asked"]), asked(job)
            was_rounds, rounds = int(was.pop("rounds")), int(now.pop("rounds"))
            had_controls, controls = was.pop("controls", False), now.pop("controls")
            differing = changes(was, now)
            if rounds < was_rounds:
                differing = "; ".join(filter(None, (differing, f"rounds {was_rounds} -> {rounds}")))
            if had_controls and not controls:
                differing = "; ".join(filter(None, (differing, "without --controls")))
            if differing:
                raise ConfigError(
                    f"--run {self.folder} was started with other options ({differing}). Give them again, or another "
                    "--run."
                )
        ended = self.ended()
        for stage in todo:
            made_with = ended.get(stage.name, {}).get("settings") or {}
            now = deciding(stage, config)
            known = {
                key: now.get(key) for key in made_with
            }  # a version that came later may know more settings
            if differing := changes(made_with, known):
                raise ConfigError(
                    f"--run {self.folder}: {stage.name} was done with other settings ({differing}). Give them again, "
                    "or another --run."
                )

    def write_plan(
        self, job: Job, config: Config, plan: Sequence[Stage], spent_before: Mapping[str, float]
    ) -> None:
        """improve.json: what was asked for, the models that it starts from, and the stages as they are known now."""
        ended = self.ended()
        shown = [
            {
                "stage": stage.name,
                "kind": stage.kind.value,
                "folder": str(stage.folder),
                "command": " ".join((stage.command, *stage.words)),
                "models": vars(stage.models),
                "settings": list(stage.settings),
                "done": stage.name in ended,
            }
            for stage in plan
        ]
        record = {
            "asked": asked(job),
            "start": vars(job.start),
            "profile": job.profile,
            "overrides": [without_secrets(each) for each in job.overrides],
            "rule_based": [part for part in ("judge", "vlm") if getattr(config, part).base_url is None],
            "spent_before": dict(spent_before),
            "stages": shown,
        }
        replace_text(self.plan, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def asked(job: Job) -> dict[str, Any]:
    """The job's options, which stay what they are; rounds may grow, controls be added."""
    return {
        "images": job.images,
        "eval": [one.word for one in job.evaluated],
        "questions": job.questions,
        "eval_scenes": job.eval_scenes,
        "rounds": job.rounds,
        "controls": job.controls,
        **{f"{name}.model": model for name, model in vars(job.start).items()},
    }


def job_of(folder: Path, begun: Mapping[str, Any]) -> Job:
    """The job as improve.json has it, for whoever reads a folder without the command line."""
    was = begun["asked"]
    words = [word.partition(":") for word in was["eval"]]
    return Job(
        folder=folder.resolve(),
        start=Models(**begun["start"]),
        rounds=int(was["rounds"]),
        controls=was.get("controls", False),
        evaluated=tuple(Evaluated(name, data or None) for name, _, data in words),
        images=was["images"],
        questions=was["questions"],
        eval_scenes=was["eval_scenes"],
        profile=begun["profile"],
        overrides=tuple(begun["overrides"]),
    )


def deciding(stage: Stage, config: Config) -> dict[str, Any]:
    """The settings that decide what a stage makes, by dotted key, before the job's own are put over them."""
    tree = public_settings(config.model_dump(mode="json"))
    return {
        f"{section}.{key}": value
        for section in SECTIONS[stage.kind]
        for key, value in tree[section].items()
        if key not in _FREE
    }
