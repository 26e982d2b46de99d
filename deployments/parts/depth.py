"""MoGe-2: pictures of concurrent requests share a forward pass, maps are kept by picture content."""

from __future__ import annotations

from typing import Any

from ray import serve

from deployments.calls.parcel import Opened, Sent
from deployments.failures import log_place
from deployments.parts.batches import Batches
from deployments.parts.cache import ContentCache
from deployments.parts.isolate import run_prepared
from valor_ray.config.models import DepthConfig
from valor_ray.records import DepthMap

# Of maps in a replica: 64 of a megapixel, five of 12. By their number alone 64 of 40 would be 10 GB, and the profile
# local is to fit into 12 GiB with all its parts.
_KEPT_BYTES = 256 * 2**20


@serve.deployment(name="depth")
class DepthDeployment:
    def __init__(self, config: DepthConfig) -> None:
        import torch

        from valor_ray.models.moge.depth import MoGe

        log_place("depth")
        torch.set_num_threads(1)  # the replicas share the cores with the policy's engine
        self._model = MoGe(config)
        self._cache: ContentCache[DepthMap] = ContentCache(
            config.cache_entries, _KEPT_BYTES, lambda made: made.depth.nbytes
        )
        self._opened = Opened()
        self._batches: Batches[Sent, DepthMap] = Batches(
            lambda sent: run_prepared(self._opened.picture, self._model.depth, sent),
            config.max_batch,
            config.batch_wait_s,
        )

    async def depth(self, picture: Sent) -> DepthMap:
        """Metric depth of every pixel."""
        return await self._cache.get(picture.key, lambda: self._batches(picture))

    async def status(self) -> dict[str, Any]:
        return {"cached": len(self._cache), "hits": self._cache.hits, "misses": self._cache.misses}
