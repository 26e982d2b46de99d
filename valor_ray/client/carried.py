"""Whether a running `valor serve` has taken up a published detector: what a training run waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from valor_ray.client.health import part_state
from valor_ray.errors import CheckpointError, ConfigError, ServiceError

_EVERY_S = 1.0
_ANSWER_S = 10.0  # a service that is busy answers late


def check_service(url: str, run: Path) -> None:
    """Whether a service at `url` answers now whose detector follows the run; its folder need not exist.

    `valor train grounding` calls it before anything that takes minutes; blocks for one answer. Raises ConfigError.
    """
    state = part_state(url, "detector", _ANSWER_S)
    trouble = state if isinstance(state, str) else _follows_other(state, run)
    if trouble:
        raise ConfigError(
            f"finetune.service {url}: {trouble}. Start it with `valor serve --follow {run}`, or leave finetune.service "
            "out."
        )


def wait_carried(url: str, run: Path, version: str, timeout_s: float, say: Callable[[str], None]) -> int:
    """Returns when every detector replica of the service at `url` carries the version that a run has published: how
    many they are.

    `valor train grounding` calls it after publishing, with `finetune.service`; blocks for timeout_s at most. say: is
    told a line whenever something changes. Raises CheckpointError when a replica refuses the weights, ServiceError when
    the service follows no run or another one, or not all carry the version in time.
    """
    end, said = time.monotonic() + timeout_s, ""
    while True:
        replicas, words = _progress(url, run, version)
        if words != said:
            say(f"{url}: {words}")
            said = words
        if replicas:
            return replicas
        if time.monotonic() > end:
            raise ServiceError(
                f"After {timeout_s:g} s not every detector replica of {url} carries {version}: {words}. It stays "
                "published: a service that follows the run takes it up as soon as it can."
            )
        time.sleep(_EVERY_S)


def _progress(url: str, run: Path, version: str) -> tuple[int, str]:
    """How many carry it, 0 unless all do, and how far they are. Raises as wait_carried."""
    state = part_state(url, "detector", _ANSWER_S)
    if isinstance(state, str):
        return 0, state
    if trouble := _follows_other(state, run):
        raise ServiceError(
            f"The service at {url}: {trouble}. Start it with `valor serve --follow {run}`, or leave finetune.service "
            "out."
        )
    published = state.get("published")
    if published is None:
        return 0, "the detector does not say what it carries"
    withdrawn = published.get("withdrawn") or {}
    if withdrawn.get("version") == version:
        raise CheckpointError(
            f"{url} goes on with the weights before: {version} was refused by {withdrawn['reason']}"
        )
    if published.get("version") != version:
        return 0, f"{published.get('version') or 'nothing'} is current there"
    live, behind = len(published["live"]), len(published["behind"])
    words = f"{live - behind} of {live} detector replicas carry {version}"
    return (0 if behind else live), words


def _follows_other(state: Mapping[str, Any], run: Path) -> str:
    """Why a detector of this state will never carry what the run publishes; "" where it may."""
    published = state.get("published")
    if "published" not in state and state.get("status") == "ok" and not state.get("busy"):
        return "it follows no run"
    wanted, followed = str(run.expanduser().resolve()), (published or {}).get("run")
    return "" if followed in (None, wanted) else f"it follows {followed}, and this run is {wanted}"
