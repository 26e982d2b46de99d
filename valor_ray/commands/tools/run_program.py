"""`valor run-program`: one program file in the sandbox, with placeholder tools or those of a running `valor serve`."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from valor_ray.client.ask import DEFAULT_URL
from valor_ray.commands.options import add_json, add_profile, load_config, local_path, print_json, show

if TYPE_CHECKING:
    from valor_ray.config.tree import Config
    from valor_ray.records import Picture, ProgramResult
    from valor_ray.tools import ToolHost

HELP = "Run a program file in the sandbox."
EPILOG = """\
examples:
  valor run-program program.py                       placeholder tools: no models, no server
  valor run-program program.py --image photo.png     the tools of a running `valor serve`
  valor run-program loop.py --json --set sandbox.wall_seconds=2

Exit code 0: status ok; 1: any other status (error, timeout, killed, rejected); 2: wrong usage or settings.
"""
_PLACEHOLDER_SIZE = (640, 480)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file", type=local_path, metavar="FILE", help="Python program that sets final_answer; - reads stdin"
    )
    parser.add_argument("--image", type=local_path, metavar="IMAGE", help="picture that the program is about")
    parser.add_argument(
        "--placeholder", action="store_true", help="placeholder tools although there is a picture"
    )
    parser.add_argument("--url", default=DEFAULT_URL, help=f"address of the server (default {DEFAULT_URL})")
    parser.add_argument(
        "--token-env", metavar="NAME", help="environment variable with the server's bearer token"
    )
    add_profile(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    try:
        code = sys.stdin.read() if str(args.file) == "-" else args.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        show(f"valor run-program: cannot read {args.file}: {reason}", file=sys.stderr)
        return 2
    result = asyncio.run(_run(args, load_config(args), code))
    if args.json:
        print_json(asdict(result))
    else:
        _show(result)
    return 0 if result.status == "ok" else 1


async def _run(args: Namespace, config: Config, code: str) -> ProgramResult:
    from valor_ray.program.sandbox import Sandbox

    async with Sandbox(config.sandbox) as sandbox, _tools(args, config) as (tools, size):
        return await sandbox.run(code, tools, size)


@asynccontextmanager
async def _tools(args: Namespace, config: Config) -> AsyncIterator[tuple[ToolHost, tuple[int, int]]]:
    """The tools that the options ask for, and the size of the picture (px)."""
    from valor_ray.program.inside.placeholders import PlaceholderTools
    from valor_ray.tools import LiveTools

    picture = _picture(args.image, config)
    size = (picture.width, picture.height) if picture else _PLACEHOLDER_SIZE
    if picture is None or args.placeholder:
        yield PlaceholderTools(size), size
        return
    from valor_ray.client.ports import RemoteDepth, RemoteDetector, RemoteVqa, Service
    from valor_ray.config.service import ServerConfig

    async with Service(args.url, ServerConfig(token_env=args.token_env).token()) as service:
        yield LiveTools(picture, RemoteDetector(service), RemoteDepth(service), RemoteVqa(service)), size


def _picture(path: Path | None, config: Config) -> Picture | None:
    if path is None:
        return None
    from valor_ray.images import load_with_file

    return load_with_file(path, config.images)


def _show(result: ProgramResult) -> None:
    """The answer alone on stdout; how it came about on stderr."""
    for call in result.calls:
        outcome = call.error or json.dumps(call.result, ensure_ascii=False)
        arguments = ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.args.items()
        )
        show(
            f"  line {call.line}: {call.tool}({arguments}) -> {outcome[:100]}  [{call.ms:.0f} ms]",
            file=sys.stderr,
        )
    if result.output:
        show(result.output.rstrip("\n"), file=sys.stderr)
    if result.status == "ok":
        answer = result.answer
        show(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))
    else:
        where = f" (line {result.line})" if result.line else ""
        show(f"valor run-program: {result.status}: {result.error}{where}", file=sys.stderr)
    show(f"({result.seconds:.2f} s)", file=sys.stderr)
