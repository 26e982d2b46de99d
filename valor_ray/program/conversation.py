"""The driver's half of a running program: answer its tool calls, keep its limits, and say how it ended.

Every byte that comes in is the program's and is checked.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from valor_ray.errors import ToolError, ValorError
from valor_ray.ports import version_of
from valor_ray.program import messages
from valor_ray.program.clock import ProgramClock
from valor_ray.program.inside import protocol
from valor_ray.program.zygote_process import Exit
from valor_ray.records import ProgramStatus, ToolCall
from valor_ray.tools import ToolHost, check_call
from valor_ray.untrusted.cut import cut_arguments

if TYPE_CHECKING:
    from valor_ray.config.service import SandboxConfig

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
        self._output: list[bytes] = []
        self._printed = 0  # bytes
        self._most_prints = 64 + config.output_kib + config.max_calls  # one a KiB, and one before each call

    @property
    def output(self) -> str:
        """What it printed, up to the limit."""
        return b"".join(self._output).decode("utf-8", "ignore")

    async def hold(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, code: str
    ) -> Ending | None:
        """Send the program and serve it until it ends. None: it left without a word.

        Whatever the process says is the program's doing, and at worst its failure. Raises what a tool host raises by
        mistake.
        """
        writer.write(protocol.encode({"code": code, "size": list(self._size)}))
        try:
            while True:
                match await self._receive(reader):
                    case messages.Call() as call:
                        writer.write(protocol.encode(await self._answer(call)))
                        await writer.drain()
                    case messages.Printed(text):
                        self._print(text)
                    case messages.Done(answer):
                        return Ending(ProgramStatus.OK, answer=answer)
                    case messages.Failed() as failure:
                        return self._failed(failure)
        except messages.Tampered as what:
            error = f"the program tampered with its connection ({what})"
            return Ending(ProgramStatus.KILLED, error=error)
        except _Ended as end:
            return end.ending
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _receive(
        self, reader: asyncio.StreamReader
    ) -> messages.Call | messages.Printed | messages.Done | messages.Failed:
        size = protocol.length(await reader.readexactly(protocol.HEADER))
        if size > protocol.MAX_SAID:
            _end(ProgramStatus.KILLED, "the program sent a message that is too long")
        return messages.read(await reader.readexactly(size))

    async def _answer(self, call: messages.Call) -> dict[str, Any]:
        """Run one tool call and log it."""
        line = call.line
        if len(self.calls) >= self._config.max_calls:
            _end(
                ProgramStatus.KILLED, f"the program made more than {self._config.max_calls} tool calls", line
            )
        tool, args = call.tool, cut_arguments(call.args)
        result: Any = None
        error: str | None = "cut off by the time limit"
        started = time.perf_counter()
        try:
            tool, args = check_call(call.tool, call.args, self._size)
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
        self._output.append(data[: max(limit - self._printed, 0)])
        self._printed += len(data)
        if self._printed > limit:
            _end(ProgramStatus.KILLED, f"the program printed more than {self._config.output_kib} KiB")
        if len(self._output) > self._most_prints:
            raise messages.Tampered("more prints than there is to print")

    def _failed(self, failure: messages.Failed) -> Ending:
        if failure.kind == "memory":
            used = f"the program used more than {self._config.memory_mib} MiB of memory"
            return Ending(ProgramStatus.KILLED, error=used)
        status = ProgramStatus.REJECTED if failure.kind == "rejected" else ProgramStatus.ERROR
        return Ending(status, error=without_paths(failure.error), line=failure.line)


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
            error=f"the program crashed its interpreter ({_signal_name(-exit.code)})",
        )
    return Ending(ProgramStatus.ERROR, error="the program left its process before it set final_answer")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _end(status: ProgramStatus, error: str, line: int | None = None) -> NoReturn:
    raise _Ended(Ending(status, error=error, line=line))
