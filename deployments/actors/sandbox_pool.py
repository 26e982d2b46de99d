"""One sandbox a node, shared by all workers there: a named actor that checks programs in placeholder worlds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import ray
from ray.actor import ActorHandle
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from deployments.actors.named import NAMESPACE, open_named
from valor_ray import __version__
from valor_ray.config.service import SandboxConfig
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.syntax import SyntaxOfPrograms
from valor_ray.records import Verdict
from valor_ray.runs.together import Together

_PREFIX = f"sandbox-{__version__}-"
_TOGETHER_S = 0.002  # codes that come within this time travel in one call


class SandboxPool:
    """The actor of a node. The programs themselves run in the sandbox's own processes, never in this one (law 2).

    Scoring and rollout workers call it through RemoteSyntax, and wait until each program has met its placeholder worlds
    or its limits.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self._sandbox = Sandbox(config)
        self._syntax = SyntaxOfPrograms(self._sandbox)
        self._started = False
        self._starting = asyncio.Lock()

    async def check(self, codes: Sequence[str]) -> list[Verdict]:
        """The syntax head's verdicts, in order."""
        async with self._starting:
            if not self._started:
                await self._sandbox.start()
                self._started = True
        return list(await asyncio.gather(*(self._syntax(code) for code in codes)))


def open_pool(config: SandboxConfig) -> ActorHandle:
    """The pool of the node that this runs on, with the settings of who asks first. It stays until `close_pools`."""
    node = ray.get_runtime_context().get_node_id()
    where = NodeAffinitySchedulingStrategy(node, soft=True)
    return open_named(SandboxPool, f"{_PREFIX}{node}", config, at_once=1000, scheduling_strategy=where)


def close_pools() -> None:
    """End the pools of all nodes: on a Ray that is ours alone."""
    for actor in list_named_actors(all_namespaces=True):
        if actor["namespace"] == NAMESPACE and actor["name"].startswith(_PREFIX):
            ray.kill(ray.get_actor(actor["name"], NAMESPACE))


class RemoteSyntax:
    """ports.SyntaxCheck over the node's pool; what is asked at about the same time goes in one call."""

    def __init__(self, pool: ActorHandle) -> None:
        self._pool = pool
        self._checks: Together[str, Verdict] = Together(self._check, _TOGETHER_S)

    async def __call__(self, code: str) -> Verdict:
        return await self._checks(code)

    async def _check(self, codes: list[str]) -> list[Verdict]:
        try:
            return list(await self._pool.check.remote(codes))
        except ray.exceptions.RayError as error:
            return [Verdict(None, f"The sandbox pool failed: {type(error).__name__}.")] * len(codes)
