"""MoGe-2: pictures of concurrent requests share a forward pass, maps are kept by picture content."""

from __future__ import annotations

from typing import Any

from ray import serve

from deployments.parts.cache import ContentCache
from deployments.parts.isolate import result_or_raise, run_batch
from valor_ray.config.models import DepthConfig
from valor_ray.records import DepthMap, Picture


@serve.deployment(name="depth")
class DepthDeployment:
    def __init__(self, config: DepthConfig) -> None:
        import torch

        from valor_ray.models.moge.depth import MoGe

        torch.set_num_threads(1)  # the replicas share the cores with the policy's engine
        self._model = MoGe(config)
        self._cache: ContentCache[DepthMap] = ContentCache(config.cache_entries)
        self._batched.set_max_batch_size(config.max_batch)
        self._batched.set_batch_wait_timeout_s(config.batch_wait_s)

    async def depth(self, picture: Picture) -> DepthMap:
        """Metric depth of every pixel."""
        return await self._cache.get(picture.key, lambda: self._one(picture))

    async def status(self) -> dict[str, Any]:
        return {"cached": len(self._cache), "hits": self._cache.hits, "misses": self._cache.misses}

    async def _one(self, picture: Picture) -> DepthMap:
        return result_or_raise(await self._batched(picture))

    @serve.batch
    async def _batched(self, pictures: list[Picture]) -> list[DepthMap | BaseException]:
        return await run_batch(self._model.depth, pictures)
