"""The folder of `valor score`: its lock, its records, and the settings that they were made with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from valor_ray.errors import ConfigError
from valor_ray.judges.plan_heads import prompt_version
from valor_ray.records import JUDGED
from valor_ray.runs.folder import locked, public_settings, replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


class ScoreFolder:
    """Paths of one output folder."""

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
        """One run at a time. Raises ConfigError when another run writes here, or the folder cannot be made."""
        return locked(self.path, "--out")

    def clear_work(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def check_config(self, config: Config) -> None:
        """Raises ConfigError when the rewards there were made with settings that give other rewards, or the folder is
        another command's.
        """
        if any((self.path / name).exists() for name in ("rollouts.jsonl", "checkpoints")):
            raise ConfigError(f"--out {self.path} is a folder of `valor train`. Give another --out.")
        if not self.config.exists() or not self.rewards.exists():
            return
        try:
            before = yaml.safe_load(self.config.read_text(encoding="utf-8"))
            prompts = json.loads(self.prompts.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, ValueError) as error:
            raise ConfigError(
                f"Cannot tell how {self.rewards} was made: {error}. Give another --out."
            ) from error
        old, new = _meaning(before) | prompts, _meaning(config.model_dump(mode="json")) | prompt_versions()
        changed = [f"{key} {old.get(key)} -> {new[key]}" for key in new if old.get(key) != new[key]]
        if changed:
            raise ConfigError(
                f"{self.path} holds rewards made with other settings ({'; '.join(changed)}). Give another --out; "
                f"--set judge.cache_dir={self.cache} re-uses the verdicts."
            )

    def write_config(self, config: Config) -> None:
        text = yaml.safe_dump(public_settings(config.model_dump(mode="json")), sort_keys=False)
        replace_text(self.prompts, json.dumps(prompt_versions()) + "\n")
        replace_text(self.config, text)


def prompt_versions() -> dict[str, str]:
    return {f"prompt of {head.value}": prompt_version(head) for head in JUDGED}


def _meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide what a reward is."""
    judge, reward = config.get("judge") or {}, config.get("reward") or {}
    weights = ("format", "logic", "syntax", "attribute", "spatial", "adherence")
    models = [judge.get("model"), *(other.get("model") for other in judge.get("others") or ())]
    return {
        **{f"reward.{name}": reward.get(name) for name in weights},
        "judge.model": models if len(models) > 1 else models[0],
        "judge.combine": judge.get("combine") if len(models) > 1 else None,
        "judge.noise": judge.get("noise"),
    }
