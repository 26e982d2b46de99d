"""The driver's half of the fast path: warm workers, each used for some programs and then replaced."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ProgramError
from valor_ray.program.conversation import without_paths
from valor_ray.program.inside import protocol
from valor_ray.program.inside.placeholders import World
from valor_ray.program.zygote_process import Process
from valor_ray.records import ProgramResult, ProgramStatus, ToolCall

if TYPE_CHECKING:
    from valor_ray.config.service import SandboxConfig

Spawn = Callable[[], Awaitable[Process]]
_STATUS = {
    "ok": ProgramStatus.OK,
    "error": ProgramStatus.ERROR,
    "killed": ProgramStatus.KILLED,
    "memory": ProgramStatus.KILLED,
    "rejected": ProgramStatus.REJECTED,
}


class WorkerLost(Exception):
    """The worker ended, took too long, or said what no worker says: its program is to be run on the fork path."""


@dataclass
class _Worker:
    process: Process
    used: int = 0


class WarmPool:
    """Surveys gated programs in workers that outlive them, at most `config.workers`, and believes no worker.

    Called by Sandbox's fast path. Every way in which a worker may fail its program ends the worker and is a WorkerLost.
    Waits for a free worker, then for its one reply, at most `seconds`.
    """

    def __init__(self, config: SandboxConfig, spawn: Spawn, seconds: float) -> None:
        """seconds: how long one program may keep a worker; a slow program must not keep the others waiting."""
        self._config = config
        self._spawn = spawn
        self._seconds = seconds
        self._idle: list[_Worker] = []
        self._slots = asyncio.Semaphore(config.workers or os.cpu_count() or 1)

    async def survey(
        self, code: str, worlds: Sequence[World], size: tuple[int, int], trace: bool
    ) -> list[ProgramResult]:
        """Results by world, up to the first that is not ok. Raises WorkerLost."""
        async with self._slots:
            worker = self._idle.pop() if self._idle else await self._start()
            try:
                async with asyncio.timeout(self._seconds):
                    reply = await _exchange(worker.process, self._request(code, worlds, size, trace))
                results = self._read(reply, len(worlds))
            except TimeoutError:
                _end(worker)
                raise WorkerLost(f"not done in {self._seconds:g} s") from None
            except BaseException:
                _end(worker)
                raise
            worker.used += 1
            spent = any(result.status is ProgramStatus.KILLED for result in results)
            if spent or worker.used >= self._config.recycle_after:
                _end(worker)
            else:
                self._idle.append(worker)
            return results

    def close(self) -> None:
        """End the idle workers; those at work end with the zygote."""
        while self._idle:
            _end(self._idle.pop())

    async def _start(self) -> _Worker:
        process = await self._spawn()
        try:
            await asyncio.get_running_loop().sock_sendall(process.sock, protocol.encode({"warm": True}))
        except OSError as error:
            process.kill()
            process.sock.close()
            raise WorkerLost(str(error)) from error
        return _Worker(process)

    def _request(
        self, code: str, worlds: Sequence[World], size: tuple[int, int], trace: bool
    ) -> dict[str, Any]:
        return {
            "code": code,
            "size": list(size),
            "worlds": [world.to_json() for world in worlds],
            "calls": self._config.max_calls,
            "output": self._config.output_kib << 10,
            "trace": trace,
        }

    def _read(self, reply: Any, most: int) -> list[ProgramResult]:
        """The results, each field checked. Raises WorkerLost."""
        try:
            if reply.get("t") == "fail" and reply.get("kind") == "refused":
                raise ProgramError(
                    f"The sandbox cannot lock a program down ({reply['error']}): nothing was run."
                )
            results = [self._result(item) for item in reply["results"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise WorkerLost(f"a reply that no worker gives: {error}") from error
        done = [result.status is ProgramStatus.OK for result in results]
        if not 1 <= len(results) <= most or not all(done[:-1]) or (done[-1] and len(results) < most):
            raise WorkerLost("results that do not fit the worlds")
        return results

    def _result(self, item: dict[str, Any]) -> ProgramResult:
        status, line = _STATUS[item["status"]], item["line"]
        if not isinstance(line, int | None):
            raise TypeError("line")
        error = without_paths(str(item["error"])[:600]) or None
        if item["status"] == "memory":
            error = f"the program used more than {self._config.memory_mib} MiB of memory"
        calls = tuple(
            ToolCall(str(tool), dict(args), result, 0.0, int(at), None if refusal is None else str(refusal))
            for tool, args, result, at, refusal in item.get("trace", ())
        )
        output = str(item.get("output", ""))
        return ProgramResult(status, item["answer"], error, line, calls, output=output)


async def _exchange(process: Process, request: dict[str, Any]) -> Any:
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_sendall(process.sock, protocol.encode(request))
        data = await loop.sock_recv(process.sock, 1 << 16)
        while len(data) < protocol.HEADER or len(data) < protocol.HEADER + protocol.length(
            data[: protocol.HEADER]
        ):
            if (
                len(data) >= protocol.HEADER
                and protocol.length(data[: protocol.HEADER]) > protocol.MAX_MESSAGE
            ):
                raise WorkerLost("a message that is too long")
            more = await loop.sock_recv(process.sock, 1 << 16)
            if not more:
                raise WorkerLost("the worker ended")
            data += more
        return protocol.decode(data[protocol.HEADER :])
    except (OSError, ValueError) as error:
        raise WorkerLost(str(error)) from error


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.sock.close()
