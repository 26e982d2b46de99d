"""Eyes for many questions and versions of a policy about the same pictures: each look once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from valor_ray.records import DepthMap, Detection, Picture
from valor_ray.wiring import Eyes


class Remembered:
    """ports.Detector and ports.Depth that look at a picture once."""

    def __init__(self, eyes: Eyes, seen: dict[Any, Any]) -> None:
        self._eyes, self._seen = eyes, seen
        self._looking: dict[Any, asyncio.Lock] = defaultdict(asyncio.Lock)  # questions share pictures

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        key = (picture.key, tuple(phrases), box_threshold)
        async with self._looking[key]:
            if key not in self._seen:
                self._seen[key] = await self._eyes.detector.detect(
                    picture, phrases, box_threshold=box_threshold
                )
        return list(self._seen[key])

    async def depth(self, picture: Picture) -> DepthMap:
        async with self._looking[picture.key]:
            if picture.key not in self._seen:
                self._seen[picture.key] = await self._eyes.depth.depth(picture)
        return self._seen[picture.key]
