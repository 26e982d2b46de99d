"""The judge: a client of any OpenAI-compatible endpoint; without one, the offline judge as a child of this replica."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve

from valor_ray.config import JudgeConfig
from valor_ray.errors import JudgeError
from valor_ray.judges.client import JudgeClient
from valor_ray.judges.offline import OfflineJudge
from valor_ray.records import Picture


@serve.deployment(name="judge")
class JudgeDeployment:
    async def __init__(self, config: JudgeConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        self._config = config
        self._offline: OfflineJudge | None = None
        self._starts = 0  # of the offline judge
        self._starting = asyncio.Lock()
        self._client = await self._connect()

    async def vqa(self, picture: Picture, question: str) -> str:
        """Short lower-case answer about the picture. Raises JudgeError."""
        client = await self._connect()
        try:
            return await client.vqa(picture, question)
        except JudgeError:
            if not self._offline_has_died():
                raise
            return await (await self._connect()).vqa(picture, question)

    async def status(self) -> dict[str, Any]:
        endpoint = self._config.base_url or "offline judge"
        return {"endpoint": endpoint, "model": self._config.model, "starts": self._starts}

    def _offline_has_died(self) -> bool:
        return self._offline is not None and self._offline.process.poll() is not None

    async def _connect(self) -> JudgeClient:
        """The client; starts the offline judge when it is wanted and does not run."""
        async with self._starting:
            if self._config.base_url is not None:
                if self._starts == 0:
                    self._starts, self._client = 1, JudgeClient(self._config)
            elif self._offline is None or self._offline_has_died():
                self._offline = await asyncio.to_thread(OfflineJudge, self._config.model)
                self._starts += 1
                self._client = JudgeClient(
                    self._config.model_copy(update={"base_url": self._offline.base_url, "api_key_env": None})
                )
            return self._client

    def __del__(self) -> None:
        if self._offline is not None:
            self._offline.close()
