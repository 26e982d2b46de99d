"""The folder of `valor score`: its lock, its records, and the settings that they were made with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.config.judging import RewardConfig
from valor_ray.errors import ConfigError
from valor_ray.judges import scene_questions
from valor_ray.judges.plan_heads import prompt_version
from valor_ray.runs.folder import SCORE, changes, claimed, meaning, save_settings, saved_settings
from valor_ray.runs.record_file import replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

SCENE_HEADS = (scene_questions.THINGS, scene_questions.ANSWERS, scene_questions.WORDS)
_HEADS = ("format", "logic", "syntax", "attribute", "spatial", "adherence", "scenes")


class ScoreFolder:
    """Paths and records of one output folder: a reward in it is never asked for again.

    Called by `score` in the driver, which holds its lock; the report reads the same paths.
    Waits for nobody: a second run in the same folder is refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rewards = path / "rewards.jsonl"  # grows; every scored reply once
        self.missing = path / "missing.jsonl"  # of the last run; judged again by the next
        self.failed = path / "failed.jsonl"  # of the last run
        self.audit = path / "audit.jsonl"  # grows: canaries
        self.metrics = path / "metrics.jsonl"  # grows
        self.config = path / "config.yaml"
        self.prompts = path / "prompts.json"  # versions of the judges' prompts
        self.report = path / "report.json"
        self.page = path / "report.html"
        self.scaling = path / "scaling.json"  # written by `valor bench judges --out`
        self.work = path / "work"  # gone when a run has ended well
        self.cache = path / "judge_cache"

    def locked(self) -> AbstractContextManager[None]:
        """One run at a time.

        Raises ConfigError when another run writes here, the folder is another command's, or cannot be made.
        """
        return claimed(self.path, SCORE)

    def clear_work(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def check_config(self, config: Config) -> None:
        """Raises ConfigError when the rewards there were made with settings or prompts that give other rewards."""
        if not self.config.exists() or not self.rewards.exists():
            return
        saved = saved_settings(self.config, "--out", {"reward": RewardConfig})
        before = reward_meaning(saved) | saved_prompts(self.prompts, "--out")
        now = reward_meaning(config.model_dump(mode="json")) | prompt_versions(config.reward)
        changed = changes(before, now)
        if changed:
            raise ConfigError(
                f"{self.path} holds rewards made with other settings ({changed}). Give another --out; "
                f"--set judge.cache_dir={self.cache} re-uses the verdicts."
            )

    def write_config(self, config: Config) -> None:
        save_prompts(self.prompts, config.reward)
        save_settings(self.config, config)


def save_prompts(path: Path, weights: RewardConfig) -> None:
    """Raises StorageError."""
    replace_text(path, json.dumps(prompt_versions(weights)) + "\n")


def saved_prompts(path: Path, option: str) -> dict[str, str]:
    """What `save_prompts` wrote. option: names the folder. Raises ConfigError when it cannot be read."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"Cannot tell how the rewards in {path.parent} were made: {error}. Give another {option}."
        ) from error


def prompt_versions(weights: RewardConfig) -> dict[str, str]:
    """Of the heads that count."""
    versions = {f"prompt of {head.value}": prompt_version(head) for head in weights.judged()}
    for head in SCENE_HEADS if weights.scenes else ():
        versions[f"prompt of {head}"] = scene_questions.prompt_version(head)
    return versions


def reward_meaning(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide what a reward is; others (replicas, retries, prices) may change between two starts."""
    return meaning(settings, [f"reward.{name}" for name in _HEADS]) | judges_meaning(settings, "judge")


def judges_meaning(settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    """The settings of `judge` or `vlm` that decide its verdicts: of several judges all models and how they are
    combined."""
    model, extra, others, combine, noise = (
        f"{section}.{name}" for name in ("model", "extra", "others", "combine", "noise")
    )
    values = meaning(settings, (model, extra, others, combine, noise))
    values[extra] = values[extra] or {}  # saved before there was any
    if several := values.pop(others):
        values[model] = [values[model], *(other["model"] for other in several)]
    else:
        values[combine] = None
    return values
