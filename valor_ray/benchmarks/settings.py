"""What an output folder's answers are to, and how they came about: one benchmark, from one source, in one wording,
answered in one way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.benchmarks.truth import Loaded, Wording
from valor_ray.errors import ConfigError
from valor_ray.runs.folder import changes, meaning, public_settings
from valor_ray.runs.record_file import replace_text

if TYPE_CHECKING:
    from valor_ray.config.tree import Config

BENCHMARK = "benchmark.json"  # in the output folder
# What of the settings decides about answers; replicas, limits of accounts and the like may change between two starts.
_ANSWERS = (
    *(
        f"policy.{name}"
        for name in ("model", "prompt", "thinking", "max_tokens", "temperature", "top_p", "top_k", "min_p")
    ),
    *(f"policy.endpoint.{name}" for name in ("model", "extra", "merge_system", "thinking_as")),
    *(f"detector.{name}" for name in ("model", "box_threshold", "text_threshold", "image_side", "follow")),
    "depth.model", "depth.image_side",
    *(f"vlm.{name}" for name in ("base_url", "model", "extra", "noise")),
)  # fmt: skip
_CHOICES = (
    *(f"judge.{name}" for name in ("base_url", "model", "extra", "noise", "combine")),
    *(f"reward.{name}" for name in ("syntax", "logic", "attribute", "spatial", "adherence", "format")),
)


@dataclass(frozen=True)
class Asking:
    """How each question is answered."""

    samples: int = 1  # replies to it
    select: str = ""  # how one answer is taken of them; "": each is an answer of its own
    seed: int = 0  # of the run
    method: str = "valor"  # of benchmarks.methods
    repairs: int = 0  # times that a reply whose program failed is written anew

    def record(self) -> dict[str, Any]:
        """As benchmark.json has it, and `valor compare` shows it."""
        return asdict(self) | {"select": self.select or None}

    def seed_of(self, query_id: str) -> int:
        """Of one question's sampling: the same in every run with this seed."""
        return int(hashlib.sha256(f"{self.seed} {query_id}".encode()).hexdigest()[:8], 16) % 2**31


ONE_ANSWER = Asking()


def answering(config: Config, asking: Asking) -> dict[str, Any]:
    """The settings that decide about answers, by dotted key: of an app that the run starts itself."""
    keys = (*_ANSWERS, *(_CHOICES if asking.select in ("judge", "scenes") else ()))
    return meaning(public_settings(config.model_dump(mode="json")), keys)


def asked_before(
    out: Path,
    name: str,
    wording: Wording,
    asking: Asking | None = None,
    settings: Mapping[str, Any] | None = None,
) -> str | None:
    """The hub commit that an earlier start of this run has asked, so that it goes on with the same rows.

    asking: None: any. settings: of `answering`; None: of a server, which are not known. None: nothing was asked, or
    not from the hub. Raises ConfigError when the folder is another benchmark's, or the same in another wording or
    answered in another way.
    """
    saved = saved_settings(out)
    for what, now in (("benchmark", name), ("wording", wording.value)):
        if saved and saved.get(what) != now:
            raise ConfigError(
                f"--out {out} holds answers to {what} {saved.get(what)!r}, not {now!r}. Give each its own --out."
            )
    wanted = {**(asking.record() if saved and asking else {}), **(settings or {})}
    before = {
        "samples": 1,
        "select": None,
        "method": "valor",
        "repairs": 0,
        **saved,
        **(saved.get("settings") or {}),
    }  # some were not saved once
    if changed := changes(before, {key: value for key, value in wanted.items() if key in before}):
        raise ConfigError(
            f"--out {out} holds answers made with other settings ({changed}). Give each its own --out."
        )
    return saved.get("revision") or None


def saved_settings(out: Path) -> Mapping[str, Any]:
    """{} where there are none. Raises ConfigError when the file is damaged."""
    path = out / BENCHMARK
    if not path.exists():
        return {}
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(saved, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise ConfigError(f"Cannot read {path}: {error}. Give another --out.") from error
    return saved


def save(
    out: Path,
    name: str,
    wording: Wording,
    source: str,
    loaded: Loaded,
    asking: Asking,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """source: a path, or "hub". settings: as of `asked_before`; what was known before stays. Raises StorageError."""
    record = {
        "benchmark": name,
        "wording": wording.value,
        "source": source,
        "revision": loaded.revision,
        "questions": len(loaded.queries),
        "notes": list(loaded.notes),
        **asking.record(),
        "settings": settings or saved_settings(out).get("settings") or {},
    }
    replace_text(out / BENCHMARK, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
