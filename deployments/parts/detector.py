"""GroundingDINO: pictures of concurrent requests share a forward pass, results are kept by picture content.

Its weights can be replaced while it works, by those that a training run publishes: every result says which it is by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ray import serve

from deployments.calls.parcel import Opened, Sent
from deployments.failures import log_place
from deployments.parts.batches import Batches
from deployments.parts.cache import ContentCache
from deployments.parts.following import Follower, Loaded, check_followed
from deployments.parts.isolate import run_prepared
from valor_ray.config.models import DetectorConfig
from valor_ray.errors import CheckpointError, ValorError
from valor_ray.ports import Versioned
from valor_ray.records import Detection, Picture
from valor_ray.runs.publications import Publication

if TYPE_CHECKING:
    from valor_ray.models.grounding_dino.detector import GroundingDino

Detections = Versioned[Detection]


@dataclass(frozen=True)
class _Request:
    picture: Sent
    phrases: tuple[str, ...]
    box_threshold: float


@dataclass(frozen=True)
class _Ready:
    picture: Picture
    phrases: tuple[str, ...]
    box_threshold: float


@dataclass(frozen=True)
class _Loaded:
    model: GroundingDino
    version: str


class Detecting:
    """A detector, its batches and what it remembers. For one event loop; the model works in a thread beside it.

    Made by a replica, which calls `load` before anything else. New weights are loaded beside the old ones, which work
    on meanwhile; the batch after that is by the new ones, while the one before ends under those that it began with.
    What was remembered is forgotten then, and what is by the old ones is never remembered under the new.
    """

    def __init__(self, config: DetectorConfig) -> None:
        self._config = config
        self._loaded: _Loaded | None = None
        self._cache: ContentCache[Detections] = ContentCache(config.cache_entries)
        self._opened = Opened()
        self._batches: Batches[_Request, Detections] = Batches(
            self._work, config.max_batch, config.batch_wait_s
        )

    @property
    def version(self) -> str:
        """Of the weights that the next batch is by: as published, or the model's name where nothing was."""
        return self._now.version

    async def load(self, model: str, version: str) -> None:
        """Replace the weights; waits while they load. Raises CheckpointError or ConfigError, and changes nothing."""
        config = self._config.model_copy(update={"model": model})
        (outcome,) = await asyncio.gather(asyncio.to_thread(_working, config), return_exceptions=True)
        if isinstance(outcome, ValorError):
            raise outcome
        if isinstance(outcome, BaseException):
            raise CheckpointError(
                f"{model} cannot be loaded: {type(outcome).__name__}: {outcome}"
            ) from outcome
        self._loaded = _Loaded(outcome, version)
        self._cache.forget()

    async def detect(
        self, picture: Sent, phrases: tuple[str, ...], box_threshold: float | None
    ) -> Detections:
        """Boxes of all phrases, best score first; None: the configured threshold."""
        threshold = self._config.box_threshold if box_threshold is None else box_threshold
        request = _Request(picture, phrases, threshold)
        key = (self.version, picture.key, phrases, threshold)
        return await self._cache.get(key, lambda: self._batches(request))

    def status(self) -> dict[str, Any]:
        cache = self._cache
        return {
            "version": self.version,
            "cached": len(cache),
            "hits": cache.hits,
            "misses": cache.misses,
        }

    @property
    def _now(self) -> _Loaded:
        if self._loaded is None:
            raise CheckpointError("The detector has no weights yet: `load` comes first.")
        return self._loaded

    async def _work(self, requests: list[_Request]) -> Sequence[Detections | BaseException]:
        """A batch, all of it by the weights that it begins with."""
        now = self._now
        outcomes = await run_prepared(self._ready, partial(_detect, now.model), requests)
        return [
            outcome if isinstance(outcome, BaseException) else Versioned(outcome, now.version)
            for outcome in outcomes
        ]

    async def _ready(self, request: _Request) -> _Ready:
        picture = await self._opened.picture(request.picture)
        return _Ready(picture, request.phrases, request.box_threshold)


@serve.deployment(name="detector")
class DetectorDeployment:
    """A replica: the front door, tools of programs and mining workers call `detect` and wait for its batch."""

    async def __init__(self, config: DetectorConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        """Raises CheckpointError, ConfigError: also when what `config.follow` has published cannot be loaded."""
        import torch

        log_place("detector")
        torch.set_num_threads(1)  # the replicas share the cores with the policy's engine
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._detecting = Detecting(config)
        self._follower: Follower | None = None
        if config.follow is None:
            await self._detecting.load(config.model, config.model)
            return
        check_followed(config.follow, "detector.follow")
        self._follower = Follower(config.follow, self._replica, self._load, start=config.model)
        await self._follower.catch_up()
        self._follower.follow()

    async def detect(
        self, picture: Sent, phrases: tuple[str, ...], box_threshold: float | None
    ) -> Detections:
        """As Detecting.detect."""
        return await self._detecting.detect(picture, phrases, box_threshold)

    async def check_health(self) -> None:
        """Called by Serve, which replaces the replica when it no longer follows its run. Raises ServiceError."""
        if self._follower is not None:
            self._follower.check()

    async def status(self) -> dict[str, Any]:
        """{"version", "replica", "cached", "hits", "misses"}; with `follow` also "published": PublicationsActor.status,
        what the run has published and which replicas carry it; None where that cannot be had."""
        published = {} if self._follower is None else await self._follower.status()
        return {**self._detecting.status(), "replica": self._replica, **published}

    async def _load(self, news: Publication) -> Loaded:
        await self._detecting.load(news.folder, news.version)
        return Loaded()


def _working(config: DetectorConfig) -> GroundingDino:
    """The model, proven on a picture: weights that are no numbers find nothing, and would never be noticed.

    Raises CheckpointError, ConfigError.
    """
    import numpy as np
    import torch

    from valor_ray.images import from_array
    from valor_ray.models.grounding_dino.detector import GroundingDino

    detector = GroundingDino(config)
    for name, weight in detector.model.state_dict().items():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise CheckpointError(
                f"The weights in {config.model} hold values that are no numbers ({name}): train again from an earlier "
                "checkpoint, or give another model."
            )
    detector.detect([from_array(np.zeros((64, 64, 3), np.uint8))], [("object",)])
    return detector


def _detect(model: GroundingDino, requests: list[_Ready]) -> list[list[Detection]]:
    """One forward pass per threshold: the model takes one for its whole batch, and callers seldom set their own."""
    detections: dict[int, list[Detection]] = {}  # by place
    for threshold in {request.box_threshold for request in requests}:
        places = [i for i, request in enumerate(requests) if request.box_threshold == threshold]
        pictures = [requests[i].picture for i in places]
        phrases = [requests[i].phrases for i in places]
        detections |= dict(zip(places, model.detect(pictures, phrases, threshold), strict=True))
    return [detections[i] for i in range(len(requests))]
