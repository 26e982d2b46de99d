"""Run untrusted programs behind rlimits, a uid drop, Landlock, seccomp: in a fork each, or gated in a warm worker.

    Sandbox.run, Sandbox.survey, Sandbox.tour                   the driver: an event loop, in any process
      │
      ├─ placeholder tools or symbolic scenes, and gate.passes ──► fast path
      │     WarmPool: takes an idle worker, or has the zygote fork one     waits for a free worker
      │       one message: the program and its worlds  ──►  inside/warm    the worker, locked down: runs it in each
      │       one message: a result for each world     ◄──  answers tools from inside/placeholders itself
      │     WarmPool checks the reply                                      waits at most _FAST_SECONDS, then kills
      │     no reply, a late one or a strange one (WorkerLost) ─► the fork path has the last word
      │
      └─ anything else, and live tools ───────► fork path
            ZygoteProcess.spawn  ──►  inside/zygote forks, walls/lockdown  the zygote; waits for a slot and for the fork
            Conversation: sends the program  ──►  inside/child runs it     the program's process, used once
              "call"  ◄──  a tool function of the program                  the program waits for the driver
              result  ──►  from the ToolHost (models, judge)               the driver waits for the models
              "print", "done", "fail"  ◄──  checked, each within its limits
            the process is killed when it has said its last word, or after wall_seconds of its own
            or tool_seconds of waiting for tools

The zygote (exec'ed clean, numpy loaded) reads no program: each process is locked down before its program comes.
A driver waits without blocking its loop, so any number of programs runs at a time, within `MAX_PROCESSES` forks.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from valor_ray.errors import ProgramError
from valor_ray.program import gate
from valor_ray.program.clock import ProgramClock
from valor_ray.program.conversation import Conversation, Ending, ending_of
from valor_ray.program.inside import protocol
from valor_ray.program.inside.placeholders import PlaceholderTools, World
from valor_ray.program.inside.scene_world import Asked, SceneTools
from valor_ray.program.tour import LIMITS, ScenePair, SceneResult, runs_of
from valor_ray.program.warm_pool import WarmPool, WorkerLost
from valor_ray.program.zygote_process import Process, ZygoteLost, ZygoteProcess
from valor_ray.records import ProgramResult, ProgramStatus, SceneRun, SymbolicScene
from valor_ray.tools import ToolHost, stub_source

if TYPE_CHECKING:
    from valor_ray.config.service import SandboxConfig

MAX_PROCESSES = 64  # forks at a time; the others wait, their clocks not yet running
# of a program in a warm worker, on the clock; a slower one must not keep the others waiting
_FAST_SECONDS = 1.0
_NUMPY, _RANDOM = re.compile(r"\b(?:np|numpy)\b"), re.compile(r"\brandom\b")


class Sandbox:
    """Runs any program, however hostile, and says how it ended: its failures are results, never exceptions.

    Called by whoever has programs: syntax check, service, evaluation. Belongs to the event loop that starts it.
    Each run waits for a free process and for its program, at most `wall_seconds`, and `tool_seconds` for its tools;
    runs do not wait for one another beyond that. `start` (or `async with`) proves the walls first; `close` ends
    everything that runs.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._zygotes: dict[str, ZygoteProcess] = {}  # by what they have preloaded beside the rest
        self._starting = asyncio.Lock()
        self._slots = asyncio.Semaphore(MAX_PROCESSES)
        self._warm = WarmPool(config, self._spawn, _FAST_SECONDS)
        self._closed = False

    async def start(self) -> None:
        """Start the zygote and prove that a program runs in it. Raises ProgramError, so nothing runs without walls."""
        try:
            probe = await self.run("final_answer = 1", PlaceholderTools((1, 1)), (1, 1))
            if probe.status is not ProgramStatus.OK:
                raise ProgramError(
                    f"The sandbox does not work here: {probe.error}. `valor doctor` checks it."
                )
        except BaseException:
            await self.close()
            raise

    @property
    def layers(self) -> dict[str, Any]:
        """The walls: machine (of the seccomp table), other_user, landlock, bubblewrap. Empty before `start`."""
        return self._zygotes[""].layers if "" in self._zygotes else {}

    @property
    def walls(self) -> str:
        """The walls that stand, in a word for records: as "seccomp+user+landlock"."""
        layers = self.layers
        names = {"other_user": "user", "landlock": "landlock", "bubblewrap": "bubblewrap"}
        return "+".join(["seccomp", *(word for name, word in names.items() if layers.get(name))])

    async def run(self, code: str, tools: ToolHost, image_size: tuple[int, int]) -> ProgramResult:
        """Run one program and answer its tool calls with `tools`. image_size: width, height in pixels.

        A bad program is a result, not an exception. Raises ProgramError when the sandbox itself does not work.
        """
        if reason := self._unfit(code):
            return ProgramResult(ProgramStatus.REJECTED, error=reason)
        if isinstance(tools, PlaceholderTools) and self._gated(code):
            with suppress(WorkerLost):
                return (await self._fast(code, [tools.world], image_size, trace=True))[0]
        return await self._fork(code, tools, image_size)

    async def survey(
        self, code: str, worlds: Sequence[World], image_size: tuple[int, int]
    ) -> list[ProgramResult]:
        """Run one program in each placeholder world, up to the first that it does not survive.

        On the fast path the results hold no answers, calls or output: a survey asks only whether it runs.
        """
        if reason := self._unfit(code):
            return [ProgramResult(ProgramStatus.REJECTED, error=reason)]
        if self._gated(code):
            with suppress(WorkerLost):
                return await self._fast(code, worlds, image_size, trace=False)
        results: list[ProgramResult] = []
        for world in worlds:
            results.append(await self._fork(code, PlaceholderTools(image_size, world), image_size))
            if results[-1].status is not ProgramStatus.OK:
                break
        return results

    async def tour(
        self, code: str, scenes: Sequence[SymbolicScene], question: str, words: Mapping[str, Sequence[str]]
    ) -> list[SceneRun]:
        """What one program answers in each symbolic scene (inside/scene_world.py); a run for each, in order.

        A failure in one scene does not keep it from the next, a limit (time, memory, output) does. Where several boxes
        are detected a scene is run twice, with detections in reverse, and answers must agree. words: as in
        ports.SceneRuns. Raises ProgramError when the sandbox itself does not work.
        """
        if not scenes:
            return []
        if reason := self._unfit(code):
            return [SceneRun("failed", why=reason)] * len(scenes)
        if self._gated(code):
            with suppress(WorkerLost):
                try:
                    runs = await self._warm.tour(code, scenes, question, words)
                except ZygoteLost as error:
                    raise WorkerLost(str(error)) from error
                return [replace(run, level=f"fast {self.walls}") for run in runs]
        pairs: list[ScenePair] = []
        asked = Asked.of(question, scenes, words)
        for scene in scenes:
            pairs.append(await self._fork_in_scene(code, scene, asked))
            if pairs[-1].status in LIMITS:
                break
        return runs_of(pairs, len(scenes))

    async def close(self) -> None:
        """End everything that runs; it does not start again."""
        self._closed = True
        self._warm.close()
        zygotes, self._zygotes = list(self._zygotes.values()), {}
        for zygote in zygotes:
            await zygote.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _unfit(self, code: str) -> str | None:
        try:
            size = len(code.encode("utf-8"))
        except UnicodeEncodeError:
            return "the program does not parse: it holds half a character"
        if size > self._config.max_code_kib * 1024:
            return f"the program is longer than {self._config.max_code_kib} KiB"
        return None

    async def _fork(self, code: str, tools: ToolHost, image_size: tuple[int, int]) -> ProgramResult:
        async with self._slots:
            try:
                return await self._run_once(code, tools, image_size)
            except ZygoteLost:  # the system's doing, not the program's: once more, in a new one
                return await self._run_once(code, tools, image_size)

    async def _fork_in_scene(self, code: str, scene: SymbolicScene, asked: Asked) -> ScenePair:
        """Once, and once more with detections in reverse where their order may matter."""
        tools = SceneTools(scene, asked)
        first = SceneResult(await self._fork(code, tools, scene.image_size), tools.stop)
        if not tools.ordered or tools.stop or first.result.status is not ProgramStatus.OK:
            return ScenePair(first)
        tools = SceneTools(scene, asked, reverse=True)
        return ScenePair(first, SceneResult(await self._fork(code, tools, scene.image_size), tools.stop))

    def _gated(self, code: str) -> bool:
        return self._config.fast and gate.passes(code)

    async def _fast(
        self, code: str, worlds: Sequence[World], size: tuple[int, int], trace: bool
    ) -> list[ProgramResult]:
        """In a warm worker. Raises WorkerLost: then the fork path has the last word."""
        started = time.perf_counter()
        try:
            results = await self._warm.survey(code, worlds, size, trace)
        except ZygoteLost as error:
            raise WorkerLost(str(error)) from error
        seconds = (time.perf_counter() - started) / len(results)
        return [replace(result, seconds=seconds, level=f"fast {self.walls}") for result in results]

    async def _spawn(self, extra: str = "") -> Process:
        return await (await self._zygote(extra)).spawn()

    async def _zygote(self, extra: str) -> ZygoteProcess:
        async with self._starting:
            if self._closed:
                raise ProgramError("The sandbox is closed.")
            zygote = self._zygotes.get(extra)
            if zygote is not None and zygote.alive:
                return zygote
            if zygote is not None:
                self._warm.close()
                await zygote.close()
            config = self._config
            zygote = ZygoteProcess(
                stub_source(), config.cpu_seconds, config.memory_mib, extra, wrap=config.bubblewrap
            )
            await zygote.start()
            self._zygotes[extra] = zygote
            return zygote

    async def _run_once(self, code: str, tools: ToolHost, image_size: tuple[int, int]) -> ProgramResult:
        # numpy.random doubles the price of a fork, so only the programs that name it pay for it
        process = await self._spawn("numpy.random" if _names_numpy_random(code) else "")
        started = time.perf_counter()
        clock = ProgramClock(self._config.wall_seconds, self._config.tool_seconds)
        conversation = Conversation(self._config, tools, image_size, clock)
        ending = await self._until_the_end(process, conversation, clock, code)
        return ProgramResult(
            ending.status,
            ending.answer,
            ending.error,
            ending.line,
            calls=tuple(conversation.calls),
            seconds=time.perf_counter() - started,
            output=conversation.output,
            level=f"fork {self.walls}",
        )

    async def _until_the_end(
        self, process: Process, conversation: Conversation, clock: ProgramClock, code: str
    ) -> Ending:
        reader, writer = await asyncio.open_connection(sock=process.sock, limit=protocol.MAX_MESSAGE)
        try:
            async with clock:
                ending = await conversation.hold(reader, writer, code)
                return ending or ending_of(await asyncio.shield(process.exited), self._config)
        except TimeoutError:
            if not clock.expired:
                raise  # a tool's own
            return Ending(ProgramStatus.TIMEOUT, error=self._out_of_time(clock, len(conversation.calls)))
        finally:
            process.kill()
            writer.close()

    def _out_of_time(self, clock: ProgramClock, calls: int) -> str:
        if clock.waiting:
            limit = self._config.tool_seconds
            return f"the tools took longer than {limit:g} s, in {calls} calls (sandbox.tool_seconds)"
        return f"the program took longer than {self._config.wall_seconds:g} s"


def _names_numpy_random(code: str) -> bool:
    """Whether numpy is named, and random somewhere behind it: in time linear in the code."""
    numpy = _NUMPY.search(code)
    return numpy is not None and _RANDOM.search(code, numpy.end()) is not None
