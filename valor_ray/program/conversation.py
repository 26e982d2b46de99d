"""The driver's half of a running program: answer its tool calls, keep its limits, and say how it ended.

Every byte that comes in is the program's and is checked.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from valor_ray.errors import ProgramError, ToolError, ValorError
from valor_ray.ports import version_of
from valor_ray.program.clock import ProgramClock
from valor_ray.program.inside import protocol
from valor_ray.program.zygote_process import Exit
from valor_ray.records import ProgramStatus, ToolCall
from valor_ray.tools import ToolHost, check_call

if TYPE_CHECKING:
    from valor_ray.config.service import SandboxConfig

T = TypeVar("T")
_HOST_PATH = re.compile(r"(?<![\w.])(?:/[\w.+@-]+){2,}")


@dataclass(frozen=True)
class Ending:
    status: ProgramStatus
    answer: Any = None
    error: str | None = None
    line: int | None = None


class _Ended(Exception):
    """The conversation is over."""

    def __init__(self, ending: Ending) -> None:
        self.ending = ending


class Conversation:
    """What one program on the fork path says, checked and answered: its calls, its output, its last word.

    Made by Sandbox for one process, and held once. `calls` and `output` stay readable however it ends.
    Waits for the program's next message, or for a tool; `clock` is told which, and the caller keeps it.
    """

    def __init__(
        self, config: SandboxConfig, tools: ToolHost, image_size: tuple[int, int], clock: ProgramClock
    ) -> None:
        self._config = config
        self._tools = tools
        self._clock = clock
        self._size = image_size
        self.calls: list[ToolCall] = []
        self.output = ""
        self._printed = 0

    async def hold(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, code: str
    ) -> Ending | None:
        """Send the program and serve it until it ends. None: it left without a word.

        Raises ProgramError when the process could not lock itself down, and what a tool host raises by mistake.
        """
        writer.write(protocol.encode({"code": code, "size": list(self._size)}))
        try:
            while True:
                message = await self._receive(reader)
                kind = _field(message, "t", str)
                if kind == "call":
                    writer.write(protocol.encode(await self._answer(message)))
                    await writer.drain()
                elif kind == "print":
                    self._print(_field(message, "text", str))
                else:
                    return self._last_word(kind, message)
        except _Ended as end:
            return end.ending
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _receive(self, reader: asyncio.StreamReader) -> Any:
        size = protocol.length(await reader.readexactly(protocol.HEADER))
        if size > protocol.MAX_MESSAGE:
            _end(ProgramStatus.KILLED, "the program sent a message that is too long")
        body = await reader.readexactly(size)
        try:
            return protocol.decode(body)
        except ValueError:
            _tampered()

    async def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Run one tool call and log it."""
        name, given, line = (
            _field(message, "tool", str)[:40],
            _field(message, "args", dict),
            _field(message, "line", int),
        )
        if len(self.calls) >= self._config.max_calls:
            _end(
                ProgramStatus.KILLED, f"the program made more than {self._config.max_calls} tool calls", line
            )
        tool, args = name, given
        result: Any = None
        error: str | None = "cut off by the time limit"
        started = time.perf_counter()
        try:
            tool, args = check_call(name, given, self._size)
            with self._clock.tool():
                result = await self._tools(tool, args)
            error = None
        except ToolError as refusal:
            error = str(refusal)
        except ValorError as failure:
            # the service failed, not the program: it must not answer as if nothing were
            error = str(failure)
            _end(ProgramStatus.ERROR, f"{tool} failed: {failure}", line)
        finally:
            ms = (time.perf_counter() - started) * 1000
            self.calls.append(ToolCall(tool, args, result, ms, line, error, version_of(result)))
        return {"result": result} if error is None else {"error": error}

    def _print(self, text: str) -> None:
        limit = self._config.output_kib * 1024
        data = text.encode("utf-8")
        self.output += data[: max(limit - self._printed, 0)].decode("utf-8", "ignore")
        self._printed += len(data)
        if self._printed > limit:
            _end(ProgramStatus.KILLED, f"the program printed more than {self._config.output_kib} KiB")

    def _last_word(self, kind: str, message: dict[str, Any]) -> Ending:
        if kind == "done":
            if message.get("answer") is None:
                _tampered()
            return Ending(ProgramStatus.OK, answer=message["answer"])
        reason, error = _field(message, "kind", str), _field(message, "error", str)
        if kind != "fail" or reason not in ("error", "rejected", "memory", "refused"):
            _tampered()
        if reason == "refused":
            raise ProgramError(f"The sandbox cannot lock a program down ({error}): nothing was run.")
        if reason == "memory":
            used = f"the program used more than {self._config.memory_mib} MiB of memory"
            return Ending(ProgramStatus.KILLED, error=used)
        status = ProgramStatus.REJECTED if reason == "rejected" else ProgramStatus.ERROR
        line = None if message.get("line") is None else _field(message, "line", int)
        return Ending(status, error=without_paths(error[:600]), line=line)


def without_paths(text: str) -> str:
    """Error texts travel to callers: they keep no path of this machine."""
    return _HOST_PATH.sub("<path>", text)


def ending_of(exit: Exit, config: SandboxConfig) -> Ending:
    """What the end of a process that said nothing more means."""
    if exit.code == -signal.SIGXCPU:
        return Ending(
            ProgramStatus.TIMEOUT, error=f"the program used more than {config.cpu_seconds:g} s of CPU time"
        )
    if exit.code == -signal.SIGSYS:
        return Ending(ProgramStatus.KILLED, error="the program made a forbidden system call")
    if exit.code == -signal.SIGKILL:
        return Ending(
            ProgramStatus.KILLED, error="the system ended the program: out of memory or of CPU time"
        )
    if exit.code < 0:
        return Ending(
            ProgramStatus.KILLED,
            error=f"the program crashed its interpreter ({signal.Signals(-exit.code).name})",
        )
    return Ending(ProgramStatus.ERROR, error="the program left its process before it set final_answer")


def _end(status: ProgramStatus, error: str, line: int | None = None) -> NoReturn:
    raise _Ended(Ending(status, error=error, line=line))


def _tampered() -> NoReturn:
    _end(ProgramStatus.KILLED, "the program tampered with its connection")


def _field(message: Any, name: str, kind: type[T]) -> T:
    value = message.get(name) if isinstance(message, dict) else None
    if not isinstance(value, kind):
        _tampered()
    return value
