"""The folder of `valor mine`: its records, and the settings that they were made with."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.config.grounding import GroundingConfig
from valor_ray.errors import ConfigError
from valor_ray.judges.boxes.requests import SCHEMAS, prompt_version
from valor_ray.runs.folder import (
    MINE,
    changes,
    claimed,
    meaning,
    public_settings,
    save_settings,
    saved_settings,
)
from valor_ray.runs.record_file import replace_text
from valor_ray.wiring import vlm_cache

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

# Settings that decide what is recorded; the others (workers, replicas, retries, prices, canaries, what the exports
# make of the records) may change between two starts.
_PROGRAMS = (
    "grounding.seed",
    *(
        f"policy.{name}"
        for name in ("model", "prompt", "thinking", "max_tokens", "temperature", "top_p", "top_k", "min_p")
    ),
    *(f"policy.endpoint.{name}" for name in ("model", "extra", "merge_system", "thinking_as")),
)
_BOXES = (
    "detector.model", "detector.image_side", "detector.text_threshold",
    *(f"grounding.{name}" for name in (
        "box_threshold", "boxes_per_picture", "crop_padding", "crop_side", "picture_format", "presence")),
    "vlm.model", "vlm.extra", "vlm.others", "vlm.combine", "vlm.noise", "vlm.jpeg_quality", "vlm.max_side",
)  # fmt: skip


class MineFolder:
    """Paths and records of one run folder: what is recorded in it is never done again.

    Called by `mine` in the driver, which holds its lock; report and exports read the same paths.
    Waits for nobody: a second run in the same folder is refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.programs = path / "phrases.jsonl"  # grows; every query once
        self.images = path / "images.jsonl"  # grows; every picture once for each set of new phrases
        self.missing = (
            path / "missing.jsonl"
        )  # of the last run: pictures with boxes or phrases without a verdict
        self.missing_now = path / "missing.part"  # of this start, while it mines
        self.failed = path / "failed.jsonl"  # of the last run
        self.audit = path / "audit.jsonl"  # grows: canaries
        self.metrics = path / "metrics.jsonl"  # grows
        self.config = path / "config.yaml"
        self.prompts = path / "prompts.json"  # versions of the verifier's prompts
        self.report = path / "report.json"
        self.page = path / "report.html"
        self.dataset = path / "dataset"
        self.cache = vlm_cache(path)

    def locked(self) -> AbstractContextManager[None]:
        """One run at a time.

        Raises ConfigError when another run writes here, the folder is another command's, or cannot be made.
        """
        return claimed(self.path, MINE)

    def check_config(self, config: Config) -> None:
        """Raises ConfigError when the records there were made with settings or prompts that give others."""
        keys = (*(_PROGRAMS if _holds(self.programs) else ()), *(_BOXES if _holds(self.images) else ()))
        if not self.config.exists() or not keys:
            return
        saved = saved_settings(self.config, "--run", {"grounding": GroundingConfig})
        before, now = meaning(saved, keys), meaning(public_settings(config.model_dump(mode="json")), keys)
        if _holds(self.images):
            # a prompt that came later has made none of the records
            before, now = before | prompt_versions() | self._saved_prompts(), now | prompt_versions()
        if changed := changes(before, now):
            raise ConfigError(
                f"{self.path} holds records made with other settings ({changed}). Give another --run; "
                f"--set vlm.cache_dir={self.cache} re-uses the verdicts."
            )

    def write_config(self, config: Config) -> None:
        replace_text(self.prompts, json.dumps(prompt_versions()) + "\n")
        save_settings(self.config, config)

    def _saved_prompts(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self.prompts.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"Cannot tell how {self.images} was made: {error}. Give another --run."
            ) from error


def prompt_versions() -> dict[str, str]:
    """Of the three checks and of the question what is there."""
    return {f"prompt of {head}": prompt_version(head) for head in SCHEMAS}


def _holds(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
