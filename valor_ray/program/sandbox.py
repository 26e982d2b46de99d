"""Run untrusted programs: one fork of a warm zygote each, behind rlimits, a uid drop, Landlock, seccomp (DESIGN §5)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from valor_ray.errors import ProgramError
from valor_ray.program import protocol
from valor_ray.program.conversation import Conversation, Ending, ending_of
from valor_ray.program.zygote_process import Process, ZygoteLost, ZygoteProcess
from valor_ray.records import ProgramResult, ProgramStatus
from valor_ray.tools import PlaceholderTools, ToolHost, stub_source

if TYPE_CHECKING:
    from valor_ray.config import SandboxConfig

MAX_PROCESSES = 64  # programs at a time; the others wait, their clocks not yet running


class Sandbox:
    """Belongs to the event loop that starts it. Any number of programs may run at a time."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._zygote: ZygoteProcess | None = None
        self._starting = asyncio.Lock()
        self._slots = asyncio.Semaphore(MAX_PROCESSES)

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
        """The walls around programs: machine (of the seccomp table), other_user, landlock. Empty before `start`."""
        return self._zygote.layers if self._zygote else {}

    async def run(self, code: str, tools: ToolHost, image_size: tuple[int, int]) -> ProgramResult:
        """Run one program and answer its tool calls with `tools`. image_size: width, height in pixels.

        A bad program is a result, not an exception. Raises ProgramError when the sandbox itself does not work.
        """
        if reason := self._unfit(code):
            return ProgramResult(ProgramStatus.REJECTED, error=reason)
        async with self._slots:
            try:
                return await self._run_once(code, tools, image_size)
            except ZygoteLost:  # the system's doing, not the program's: once more, in a new one
                return await self._run_once(code, tools, image_size)

    async def close(self) -> None:
        """End everything that runs."""
        if self._zygote is not None:
            await self._zygote.close()
            self._zygote = None

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

    async def _running_zygote(self) -> ZygoteProcess:
        async with self._starting:
            if self._zygote is not None and self._zygote.alive:
                return self._zygote
            if self._zygote is not None:
                await self._zygote.close()
            config = self._config
            zygote = ZygoteProcess(stub_source(), config.cpu_seconds, config.memory_mib)
            await zygote.start()
            self._zygote = zygote
            return zygote

    async def _run_once(self, code: str, tools: ToolHost, image_size: tuple[int, int]) -> ProgramResult:
        zygote = await self._running_zygote()
        started = time.perf_counter()
        process = await zygote.spawn()
        conversation = Conversation(self._config, tools, image_size)
        ending = await self._until_the_end(process, conversation, code)
        return replace(
            ProgramResult(ending.status, ending.answer, ending.error, ending.line),
            calls=tuple(conversation.calls),
            seconds=time.perf_counter() - started,
            output=conversation.output,
        )

    async def _until_the_end(self, process: Process, conversation: Conversation, code: str) -> Ending:
        wall = self._config.wall_seconds
        reader, writer = await asyncio.open_connection(sock=process.sock, limit=protocol.MAX_MESSAGE)
        try:
            async with asyncio.timeout(wall) as clock:
                ending = await conversation.hold(reader, writer, code)
                return ending or ending_of(await asyncio.shield(process.exited), self._config)
        except TimeoutError:
            if not clock.expired():
                raise  # a tool's own
            return Ending(ProgramStatus.TIMEOUT, error=f"the program took longer than {wall:g} s")
        finally:
            process.kill()
            writer.close()
