"""The ingress: the HTTP app over the handles of the other deployments. It owns the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.calls.busy import Answering
from deployments.calls.waiting import Waiting
from deployments.http.app import make_app, make_gate
from deployments.http.endpoints import Parts
from deployments.ports import (
    RemoteDepth,
    RemoteDetector,
    RemoteJudge,
    RemotePolicy,
    RemoteVqa,
    sign_of_life,
)
from valor_ray.config.tree import Config
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.local_rewarder import local_rewarder
from valor_ray.reasoning.reward import Rewarding
from valor_ray.selecting.select import Select, reward_for


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
        gate = make_gate(self._config)
        waiting = {
            part: Answering(part, partial(sign_of_life, part, handle), self._config.server.wait_s, gate.stand)
            for part, handle in self._handles.items()
        }
        vlm = self._config.vlm_part
        parts = Parts(
            policy=RemotePolicy(self._handles["policy"], waiting=waiting["policy"]),
            detector=RemoteDetector(self._handles["detector"], waiting=waiting["detector"]),
            depth=RemoteDepth(self._handles["depth"], waiting=waiting["depth"]),
            judge=RemoteVqa(self._vlm, vlm, waiting=waiting[vlm]),
            sandbox=self._sandbox,
            status=partial(_status, waiting),
            rewarding=self._rewarding(waiting),
        )
        return make_app(self._config, parts, gate)

    def _rewarding(self, waiting: Mapping[str, Waiting]) -> dict[Select, Rewarding]:
        """How candidates are judged, by the way of choosing; empty without a judge."""
        if "judge" not in self._handles:
            return {}
        judge = RemoteJudge(self._handles["judge"], waiting=waiting["judge"])
        weights = {select: reward_for(select, self._config.reward) for select in Select}
        return {
            select: local_rewarder(heads, judge, self._sandbox)
            for select, heads in weights.items()
            if heads is not None
        }

    async def __del__(self) -> None:
        await self._sandbox.close()


async def _status(parts: Mapping[str, Answering]) -> dict[str, dict[str, Any]]:
    answers = await asyncio.gather(*(part.status() for part in parts.values()))
    return dict(zip(parts, answers, strict=True))
