"""What an output folder's answers are to: one benchmark, from one source, in one wording."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valor_ray.benchmarks.truth import Loaded, Wording
from valor_ray.errors import ConfigError
from valor_ray.runs.record_file import replace_text

BENCHMARK = "benchmark.json"  # in the output folder


def asked_before(out: Path, name: str, wording: Wording) -> str | None:
    """The hub commit that an earlier start of this run has asked, so that it goes on with the same rows.

    None: nothing was asked, or not from the hub. Raises ConfigError when the folder is another benchmark's, or the same
    in another wording.
    """
    saved = saved_settings(out)
    for what, now in (("benchmark", name), ("wording", wording.value)):
        if saved and saved.get(what) != now:
            raise ConfigError(
                f"--out {out} holds answers to {what} {saved.get(what)!r}, not {now!r}. Give each its own --out."
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


def save(out: Path, name: str, wording: Wording, source: str, loaded: Loaded) -> None:
    """source: a path, or "hub". Raises StorageError."""
    settings = {
        "benchmark": name,
        "wording": wording.value,
        "source": source,
        "revision": loaded.revision,
        "questions": len(loaded.queries),
        "notes": list(loaded.notes),
    }
    replace_text(out / BENCHMARK, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")
