"""One sandbox a node, shared by all workers there: a named actor; programs run in placeholder worlds and in scenes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.actor import ActorHandle
from ray.util import list_named_actors
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from deployments.actors.named import NAMESPACE, open_named
from deployments.failures import ours_as_raised
from valor_ray import __version__
from valor_ray.config.service import SandboxConfig
from valor_ray.errors import ProgramError
from valor_ray.grounding.mine.phrases import ProgramPhrases, program_phrases
from valor_ray.program.sandbox import Sandbox
from valor_ray.reasoning.scenes.run import ScenesOfPrograms
from valor_ray.reasoning.syntax import SyntaxOfPrograms
from valor_ray.records import SceneRun, SymbolicScene, Verdict
from valor_ray.runs.together import Together

_PREFIX = f"sandbox-{__version__}-"
_TOGETHER_S = 0.002  # codes that come within this time travel in one call


class SandboxPool:
    """The actor of a node. The programs themselves run in the sandbox's own processes, never in this one (law 2).

    Scoring and rollout workers call it through RemoteSyntax and RemoteSceneRuns, and wait until each program has met
    its worlds or its limits.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self._sandbox = Sandbox(config)
        self._syntax = SyntaxOfPrograms(self._sandbox)
        self._scenes = ScenesOfPrograms(self._sandbox)
        self._started = False
        self._starting = asyncio.Lock()

    async def check(self, codes: Sequence[str]) -> list[Verdict]:
        """The syntax head's verdicts, in order."""
        await self._up()
        return list(await asyncio.gather(*(self._syntax(code) for code in codes)))

    async def tour(
        self,
        codes: Sequence[str],
        question: str,
        scenes: tuple[SymbolicScene, ...],
        words: Mapping[str, Sequence[str]],
    ) -> list[list[SceneRun]]:
        """What each program answers in the scenes, in order: as ports.SceneRuns."""
        await self._up()
        return list(await asyncio.gather(*(self._scenes(code, question, scenes, words) for code in codes)))

    async def phrases(self, codes: Sequence[str]) -> list[ProgramPhrases]:
        """What each program asks the detector for, in order: as mine.step.PhrasesOf."""
        await self._up()
        return list(await asyncio.gather(*(program_phrases(code, self._sandbox) for code in codes)))

    async def _up(self) -> None:
        async with self._starting:
            if not self._started:
                await self._sandbox.start()
                self._started = True


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


class RemotePhrases:
    """mine.step.PhrasesOf over the node's pool; what is asked at about the same time goes in one call."""

    def __init__(self, pool: ActorHandle) -> None:
        self._pool = pool
        self._asked: Together[str, ProgramPhrases] = Together(self._ask, _TOGETHER_S)

    async def __call__(self, code: str) -> ProgramPhrases:
        """Raises ProgramError."""
        return await self._asked(code)

    async def _ask(self, codes: list[str]) -> list[ProgramPhrases]:
        try:
            with ours_as_raised():
                return list(await self._pool.phrases.remote(codes))
        except ray.exceptions.RayError as error:
            raise ProgramError(
                f"The sandbox pool failed: {type(error).__name__}. The same command goes on where this one stopped."
            ) from error


class RemoteSceneRuns:
    """ports.SceneRuns over the node's pool; programs of a question that come at about the same time go in one call."""

    def __init__(self, pool: ActorHandle) -> None:
        self._pool = pool
        self._tours: Together[_Tour, list[SceneRun]] = Together(self._send, _TOGETHER_S)

    async def __call__(
        self, code: str, question: str, scenes: Sequence[SymbolicScene], words: Mapping[str, Sequence[str]]
    ) -> list[SceneRun]:
        return await self._tours(_Tour(code, question, scenes, words))

    async def _send(self, tours: list[_Tour]) -> list[list[SceneRun]]:
        groups: list[list[_Tour]] = []
        for tour in tours:
            group = next((group for group in groups if group[0].goes_with(tour)), None)
            if group is None:
                groups.append([tour])
            else:
                group.append(tour)
        replies = await asyncio.gather(*map(self._ask, groups))
        runs = {
            id(tour): run
            for group, reply in zip(groups, replies, strict=True)
            for tour, run in zip(group, reply, strict=True)
        }
        return [runs[id(tour)] for tour in tours]

    async def _ask(self, tours: list[_Tour]) -> list[list[SceneRun]]:
        """Of programs of one question in the same scenes."""
        first = tours[0]
        try:
            codes = [tour.code for tour in tours]
            words = {phrase: tuple(meant) for phrase, meant in first.words.items()}
            return list(await self._pool.tour.remote(codes, first.question, tuple(first.scenes), words))
        except ray.exceptions.RayError as error:
            why = f"The sandbox pool failed: {type(error).__name__}."
            return [[SceneRun("undecided", why=why)] * len(first.scenes) for _ in tours]


@dataclass(frozen=True, eq=False)
class _Tour:
    code: str
    question: str
    scenes: Sequence[SymbolicScene]
    words: Mapping[str, Sequence[str]]

    def goes_with(self, other: _Tour) -> bool:
        same = self.scenes is other.scenes or self.scenes == other.scenes
        return same and self.question == other.question and self.words == other.words
