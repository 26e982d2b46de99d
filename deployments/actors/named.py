"""Named actors that outlive whoever makes them: one for all who ask, restarted when they die."""

from __future__ import annotations

from typing import Any

import ray
from ray.actor import ActorHandle

NAMESPACE = "valor"


def open_named(made_of: type, name: str, *args: Any, at_once: int, **options: Any) -> ActorHandle:
    """The actor of that name, made with `args` by whoever asks first.

    at_once: calls it may be in at the same time. options: of Ray, as `scheduling_strategy`.
    """
    actor = ray.remote(made_of).options(
        name=name,
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=at_once,
        **options,
    )
    return actor.remote(*args)
