"""`valor eval --method M`: asks by a method of benchmarks/methods/, over the tools of the app."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valor_ray.commands.options import load_config, show
from valor_ray.doctor.listening import free_port

if TYPE_CHECKING:
    from valor_ray.benchmarks.figures import EvalReport
    from valor_ray.benchmarks.methods.method import Setup
    from valor_ray.benchmarks.reading.pictures import Pictures
    from valor_ray.benchmarks.runner import Progress
    from valor_ray.benchmarks.settings import Asking
    from valor_ray.config.tree import Config
    from valor_ray.ports import Policy
    from valor_ray.records import Query

Evaluate = Callable[[str, Any, Any, Path, "Progress", str], "EvalReport"]
_AT_ONCE = 4  # questions


def by_method(
    args: Namespace, config: Config, pictures: Pictures, asking: Asking, queries: Sequence[Query]
) -> Evaluate:
    """Asks by a method whose settings have been checked, from this process; its tools are those of an app."""
    import asyncio

    from valor_ray.benchmarks.methods.registry import method
    from valor_ray.benchmarks.methods.run import opened
    from valor_ray.benchmarks.runner import evaluate

    chosen = method(asking.method)

    def ask(name: str, asked: Any, truths: Any, out: Path, told: Progress, macro: str) -> EvalReport:
        async def run(at: tuple[str, str | None] | None) -> EvalReport:
            async with (
                _setup(args, config, asking, pictures, queries, at) as setup,
                opened(chosen, setup) as answer,
            ):
                return await evaluate(
                    name, asked, truths, answer, out,
                    concurrency=args.concurrency or _AT_ONCE, progress=told, macro=macro, asking=asking,
                )  # fmt: skip

        if not chosen.sees:
            return asyncio.run(run(None))
        with _app(args) as at:
            return asyncio.run(run(at))

    return ask


@asynccontextmanager
async def _setup(
    args: Namespace,
    config: Config,
    asking: Asking,
    pictures: Pictures,
    queries: Sequence[Query],
    at: tuple[str, str | None] | None,
) -> AsyncIterator[Setup]:
    """at: URL and token of the app that looks at pictures; None: nothing is looked at."""
    from valor_ray.asking.watched import Watched
    from valor_ray.benchmarks.methods.method import Setup
    from valor_ray.client.ports import RemoteDepth, RemoteDetector, RemoteVqa, Service

    url, token = at or ("http://nobody", None)
    async with Service(url, token) as service, _writer(config, args.out) as writer:
        patience_s = config.sandbox.tool_seconds / 2

        def eyes() -> Watched:
            return Watched(RemoteDetector(service), RemoteDepth(service), RemoteVqa(service), patience_s)

        asked, given = tuple(queries), args.api_questions
        yield Setup(config, args.out, pictures, eyes, writer, asking.seed_of, asked, given)


@asynccontextmanager
async def _writer(config: Config, out: Path) -> AsyncIterator[Policy | None]:
    """policy.endpoint as a writer of whole prompts; None where it is not set."""
    from valor_ray.wiring import policy

    if config.policy.endpoint is None:
        yield None
        return
    async with policy(config, out, whole=True) as writer:
        yield writer


@contextmanager
def _app(args: Namespace) -> Iterator[tuple[str, str | None]]:
    """URL and token of the app whose tools are used: the one given, or one that runs as long as the block."""
    if args.url is not None:
        from valor_ray.config.service import ServerConfig  # the one place that reads the environment

        yield args.url, ServerConfig(token_env=args.token_env).token()
        return
    config = load_config(args, f"server.port={free_port()}")
    say("starting the app")
    from deployments.serving import serving

    with serving(config, say) as url:
        yield url, config.server.token()


def say(line: Any) -> None:
    show(f"valor eval: {line}", file=sys.stderr, flush=True)
