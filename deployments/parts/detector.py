"""GroundingDINO: pictures of concurrent requests share a forward pass, results are kept by picture content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray import serve

from deployments.parts.batches import Batches
from deployments.parts.cache import ContentCache
from deployments.parts.isolate import run_batch
from valor_ray.config.models import DetectorConfig
from valor_ray.records import Detection, Picture


@dataclass(frozen=True)
class _Request:
    picture: Picture
    phrases: tuple[str, ...]
    box_threshold: float


# A log line for every call would take the interpreter's lock from the model; serve.start's settings do not reach here.
@serve.deployment(name="detector", logging_config={"log_level": "WARNING", "enable_access_log": False})
class DetectorDeployment:
    def __init__(self, config: DetectorConfig) -> None:
        import torch

        from valor_ray.models.grounding_dino.detector import GroundingDino

        torch.set_num_threads(1)  # the replicas share the cores with the policy's engine
        self._model = GroundingDino(config)
        self._threshold = config.box_threshold
        self._cache: ContentCache[list[Detection]] = ContentCache(config.cache_entries)
        self._batches: Batches[_Request, list[Detection]] = Batches(
            lambda requests: run_batch(self._detect, requests), config.max_batch, config.batch_wait_s
        )

    async def detect(
        self, picture: Picture, phrases: tuple[str, ...], box_threshold: float | None
    ) -> list[Detection]:
        """Boxes of all phrases, best score first; None: the configured threshold."""
        threshold = self._threshold if box_threshold is None else box_threshold
        request = _Request(picture, phrases, threshold)
        return await self._cache.get((picture.key, phrases, threshold), lambda: self._batches(request))

    async def status(self) -> dict[str, Any]:
        return {"cached": len(self._cache), "hits": self._cache.hits, "misses": self._cache.misses}

    def _detect(self, requests: list[_Request]) -> list[list[Detection]]:
        """One forward pass per threshold: the model takes one for its whole batch, and callers seldom set their own."""
        detections: dict[int, list[Detection]] = {}  # by place
        for threshold in {request.box_threshold for request in requests}:
            places = [i for i, request in enumerate(requests) if request.box_threshold == threshold]
            pictures = [requests[i].picture for i in places]
            phrases = [requests[i].phrases for i in places]
            detections |= dict(zip(places, self._model.detect(pictures, phrases, threshold), strict=True))
        return [detections[i] for i in range(len(requests))]
