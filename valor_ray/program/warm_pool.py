"""The driver's half of the fast path: warm workers, each used for some programs and then replaced."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valor_ray.program.conversation import without_paths
from valor_ray.program.inside import protocol
from valor_ray.program.inside.placeholders import World
from valor_ray.program.inside.scene_words import scene_to_json
from valor_ray.program.messages import line_number
from valor_ray.program.tour import ScenePair, StrangeReply, read_pairs, runs_of
from valor_ray.program.zygote_process import Process
from valor_ray.records import ProgramResult, ProgramStatus, SceneRun, SymbolicScene, ToolCall
from valor_ray.untrusted.cut import cut_arguments

if TYPE_CHECKING:
    from valor_ray.config.service import SandboxConfig

Spawn = Callable[[], Awaitable[Process]]
_MOST_STAYS = 4 << 20  # bytes of address space: arenas of Python's small objects that are in use again
_TOUR_SECONDS = 2.0  # of a tour of scenes, in times that of a survey
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
    mapped: int | None  # bytes of address space before its first program; None: not to be seen here
    used: int = 0


class _SceneTexts:
    """Scenes as they travel, made once for the programs of a question."""

    def __init__(self) -> None:
        self._recent: deque[tuple[Sequence[SymbolicScene], str, dict[str, Sequence[str]], str]] = deque(
            maxlen=16
        )

    def text(self, scenes: Sequence[SymbolicScene], question: str, words: Mapping[str, Sequence[str]]) -> str:
        for known, asked, meant, text in self._recent:
            if known is scenes and isinstance(known, tuple) and asked == question and meant == words:
                return text
        told = {
            "scenes": [scene_to_json(scene) for scene in scenes],
            "question": question,
            "words": {phrase: list(meant) for phrase, meant in words.items()},
        }
        text = protocol.body(told).decode("ascii")
        self._recent.append((scenes, question, dict(words), text))
        return text


class WarmPool:
    """Runs gated programs in workers that outlive them, at most `config.workers`, and believes no worker.

    Called by Sandbox's fast path. Every way in which a worker may fail its program ends the worker and is a WorkerLost.
    Waits for a free worker, then for its one reply, at most `seconds`.
    """

    def __init__(self, config: SandboxConfig, spawn: Spawn, seconds: float) -> None:
        """seconds: how long one program may keep a worker; a slow program must not keep the others waiting."""
        self._config = config
        self._spawn = spawn
        self._seconds = seconds
        self._idle: list[_Worker] = []
        self._scenes = _SceneTexts()
        self._slots = asyncio.Semaphore(config.workers or os.cpu_count() or 1)

    async def survey(
        self, code: str, worlds: Sequence[World], size: tuple[int, int], trace: bool
    ) -> list[ProgramResult]:
        """Results by world, up to the first that is not ok. Raises WorkerLost."""
        request = self._request(code, trace) | {
            "size": list(size),
            "worlds": [world.to_json() for world in worlds],
        }
        return await self._ask(request, self._seconds, lambda reply: self._read(reply, len(worlds)))

    async def tour(
        self, code: str, scenes: Sequence[SymbolicScene], question: str, words: Mapping[str, Sequence[str]]
    ) -> list[SceneRun]:
        """A run for each scene; after a limit the rest is failed. Raises WorkerLost."""
        request = self._request(code, trace=False) | {"scenes": self._scenes.text(scenes, question, words)}
        seconds = _TOUR_SECONDS * self._seconds

        def read(reply: Any) -> list[ScenePair]:
            try:
                return read_pairs(self._items(reply), len(scenes), self._result)
            except StrangeReply as error:
                raise WorkerLost(f"a reply that no worker gives: {error}") from error

        return runs_of(await self._ask(request, seconds, read), len(scenes))

    async def _ask(
        self, request: dict[str, Any], seconds: float, read: Callable[[Any], list[Any]]
    ) -> list[Any]:
        """What a worker replies, read. Raises WorkerLost."""
        async with self._slots:
            worker = self._idle.pop() if self._idle else await self._start()
            try:
                async with asyncio.timeout(seconds):
                    reply = await _exchange(worker.process, request)
                results = read(reply)
                self._check_clean(worker, reply)
            except TimeoutError:
                _end(worker)
                raise WorkerLost(f"not done in {seconds:g} s") from None
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

    def _check_clean(self, worker: _Worker, reply: Mapping[str, Any]) -> None:
        """Raises WorkerLost where the program left something: neither another nor its own next world may meet it."""
        if reply.get("left") != "":
            raise WorkerLost(f"a program left something: {reply.get('left')}")
        mapped = worker.process.mapped_bytes()
        if worker.mapped is not None and mapped is not None:
            room = max(_MOST_STAYS, (self._config.memory_mib << 20) // 32)
            if mapped - worker.mapped > room:
                raise WorkerLost(f"a program left {mapped - worker.mapped} bytes")

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
        return _Worker(process, process.mapped_bytes())

    def _request(self, code: str, trace: bool) -> dict[str, Any]:
        return {
            "code": code,
            "calls": self._config.max_calls,
            "output": self._config.output_kib << 10,
            "trace": trace,
        }

    def _read(self, reply: Any, most: int) -> list[ProgramResult]:
        """The results, each field checked. Raises WorkerLost."""
        try:
            results = [self._result(item) for item in self._items(reply)]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise WorkerLost(f"a reply that no worker gives: {error}") from error
        done = [result.status is ProgramStatus.OK for result in results]
        if not 1 <= len(results) <= most or not all(done[:-1]) or (done[-1] and len(results) < most):
            raise WorkerLost("results that do not fit the worlds")
        return results

    def _items(self, reply: Any) -> Any:
        """Raises WorkerLost."""
        try:
            return reply["results"]
        except (KeyError, TypeError) as error:
            raise WorkerLost(f"a reply that no worker gives: {error}") from error

    def _result(self, item: Mapping[str, Any]) -> ProgramResult:
        status = _STATUS[item["status"]]
        line = None if item["line"] is None else line_number(item["line"])
        error = without_paths(str(item["error"])[:600]) or None
        if item["status"] == "memory":
            error = f"the program used more than {self._config.memory_mib} MiB of memory"
        calls = tuple(map(_call, item.get("trace", ())))
        output = str(item.get("output", ""))
        return ProgramResult(status, item["answer"], error, line, calls, output=output)


def _call(said: Any) -> ToolCall:
    """Raises what a strange one makes of unpacking it."""
    tool, args, result, line, refusal = said
    if refusal is not None:
        args, refusal = cut_arguments(args), str(refusal)
    return ToolCall(str(tool), dict(args), result, 0.0, line_number(line), refusal)


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
