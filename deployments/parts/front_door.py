"""The ingress: the HTTP app over the handles of the other deployments. It owns the sandbox."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.http.app import make_app
from deployments.http.endpoints import Parts
from deployments.ports import RemoteDepth, RemoteDetector, RemoteJudge, RemotePolicy, RemoteVqa
from valor_ray.config.tree import Config
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.local_rewarder import local_rewarder
from valor_ray.reasoning.reward import Rewarding
from valor_ray.selecting.select import Select, reward_for

STATUS_TIMEOUT_S = 3.0  # a part that takes longer to say how it is counts as not well


@serve.deployment(name="front_door")
@serve.ingress()
class FrontDoor:
    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        config: Config,
        policy: DeploymentHandle,
        detector: DeploymentHandle,
        depth: DeploymentHandle,
        vlm: DeploymentHandle,
        judge: DeploymentHandle | None = None,
    ) -> None:
        """judge: of text heads, where it can choose between answers."""
        self._config = config
        self._vlm = vlm
        self._handles = {"policy": policy, "detector": detector, "depth": depth, config.vlm_part: vlm}
        if judge is not None:
            self._handles["judge"] = judge
        self._sandbox = Sandbox(config.sandbox)
        await self._sandbox.start()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called by Serve after the constructor."""
        parts = Parts(
            policy=RemotePolicy(self._handles["policy"]),
            detector=RemoteDetector(self._handles["detector"]),
            depth=RemoteDepth(self._handles["depth"]),
            judge=RemoteVqa(self._vlm, self._config.vlm_part),
            sandbox=self._sandbox,
            status=self._status,
            rewarding=self._rewarding(),
        )
        return make_app(self._config, parts)

    def _rewarding(self) -> dict[Select, Rewarding]:
        """How candidates are judged, by the way of choosing; empty without a judge."""
        if "judge" not in self._handles:
            return {}
        judge = RemoteJudge(self._handles["judge"])
        weights = {select: reward_for(select, self._config.reward) for select in Select}
        return {
            select: local_rewarder(heads, judge, self._sandbox)
            for select, heads in weights.items()
            if heads is not None
        }

    async def _status(self) -> dict[str, dict[str, Any]]:
        answers = await asyncio.gather(*(_part_status(handle) for handle in self._handles.values()))
        return dict(zip(self._handles, answers, strict=True))

    async def __del__(self) -> None:
        await self._sandbox.close()


async def _part_status(handle: DeploymentHandle) -> dict[str, Any]:
    try:
        async with asyncio.timeout(STATUS_TIMEOUT_S):
            return {"status": "ok", **(await handle.status.remote())}
    except (TimeoutError, RayError, RayServeException) as error:
        return {"status": "unavailable", "reason": type(error).__name__}
