"""A program that has got hold of its socket: what the driver makes of the bytes that it sends."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from valor_ray.config.service import SandboxConfig
from valor_ray.program.clock import ProgramClock
from valor_ray.program.conversation import Conversation, Ending
from valor_ray.program.inside import protocol
from valor_ray.program.inside.placeholders import PlaceholderTools

SIZE = (640, 480)


class _Deaf:
    """The driver's writer to a program that reads nothing."""

    def write(self, data: bytes) -> None:
        pass

    async def drain(self) -> None:
        pass


def framed(body: bytes | dict[str, Any]) -> bytes:
    """A message with its length; a dict as JSON, half pairs and all."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return len(data).to_bytes(4, "big") + data


def said(chunks: Iterable[bytes], config: SandboxConfig | None = None) -> tuple[Ending | None, Conversation]:
    """How the talk ends with a process that sends these bytes and ends; None: it has said no last word."""
    config = config or SandboxConfig()

    async def main() -> tuple[Ending | None, Conversation]:
        reader = asyncio.StreamReader(limit=protocol.MAX_MESSAGE)
        clock = ProgramClock(config.wall_seconds, config.tool_seconds)
        talk = Conversation(config, PlaceholderTools(SIZE), SIZE, clock)
        for chunk in chunks:
            reader.feed_data(chunk)
        reader.feed_eof()
        async with clock:
            return await talk.hold(reader, _Deaf(), "final_answer = 1"), talk  # type: ignore[arg-type]

    return asyncio.run(main())


def call(tool: str, args: dict[str, Any], line: Any = 1) -> bytes:
    return framed({"t": "call", "tool": tool, "args": args, "line": line})
