"""Whether a running `valor serve` has taken up a published detector: what a training run waits for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from valor_ray.errors import CheckpointError, ServiceError

_EVERY_S = 1.0
_ANSWER_S = 10.0  # a service that is busy answers late
_OPENER = build_opener(ProxyHandler({}))  # never through a proxy meant for the internet


def wait_carried(url: str, version: str, timeout_s: float, say: Callable[[str], None]) -> None:
    """Returns when every detector replica of the service at `url` carries the version that a run has published.

    `valor train grounding` calls it after publishing, with `finetune.service`; blocks for timeout_s at most. say: is
    told a line whenever something changes. Raises CheckpointError when a replica refuses the weights, ServiceError when
    the service follows no run, or not all carry the version in time.
    """
    end, said = time.monotonic() + timeout_s, ""
    while True:
        done, words = _progress(url, version)
        if words != said:
            say(f"{url}: {words}")
            said = words
        if done:
            return
        if time.monotonic() > end:
            raise ServiceError(
                f"After {timeout_s:g} s not every detector replica of {url} carries {version}: {words}. It stays "
                "published: a service that follows the run takes it up as soon as it can."
            )
        time.sleep(_EVERY_S)


def _progress(url: str, version: str) -> tuple[bool, str]:
    """Whether all carry it, and how far they are. Raises as wait_carried."""
    state = _detector(url)
    if isinstance(state, str):
        return False, state
    if "published" not in state and state.get("status") == "ok":
        raise ServiceError(
            f"The service at {url} follows no run: start it with `valor serve --follow RUN`, or leave "
            "finetune.service out."
        )
    published = state.get("published")
    if published is None:
        return False, "the detector does not say what it carries"
    withdrawn = published.get("withdrawn") or {}
    if withdrawn.get("version") == version:
        raise CheckpointError(
            f"{url} goes on with the weights before: {version} was refused by {withdrawn['reason']}"
        )
    if published.get("version") != version:
        return False, f"{published.get('version') or 'nothing'} is current there"
    live, behind = len(published["live"]), len(published["behind"])
    words = f"{live - behind} of {live} detector replicas carry {version}"
    return bool(live) and not behind, words


def _detector(url: str) -> dict[str, Any] | str:
    """What /healthz says of the detector, also where another part is not well; or why it says nothing."""
    try:
        with _OPENER.open(url.rstrip("/") + "/healthz", timeout=_ANSWER_S) as response:
            health = json.load(response)
    except HTTPError as error:  # 503 while some part is not well
        try:
            health = json.load(error)
        except ValueError:
            return f"it answers with status {error.code}"
    except ValueError:
        return "it is not a valor server"
    except (URLError, HTTPException, OSError) as error:
        return f"no answer ({getattr(error, 'reason', error)})"
    try:
        state = health["parts"]["detector"]
    except (KeyError, TypeError):
        return "it is not a valor server"
    return state if isinstance(state, dict) else "it is not a valor server"
