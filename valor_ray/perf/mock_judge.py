"""A judge to measure against: an OpenAI-compatible server of its own process, with latency, faults and a limit.

It answers what a vision verifier is asked about boxes (boxes/answers.py), and everything else with a yes.
`python -m valor_ray.perf.mock_judge --port 0 ...` prints `mock judge ready at URL`; GET /stats tells what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import select
import subprocess
import sys
import time
import urllib.request
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from valor_ray.perf.boxes.answers import box_answer

if TYPE_CHECKING:
    from aiohttp import web

READY = "mock judge ready at "
_ANSWER = json.dumps({"reason": "measured, not judged", "verdict": "yes"})


class MockJudge:
    """The server as a child process; use as a context manager. Settings as on its command line."""

    def __init__(self, **settings: float) -> None:
        """median_s, sigma: of the lognormal latency; throttled, failed, hung: shares of faults."""
        words = [
            word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        command = [sys.executable, "-m", "valor_ray.perf.mock_judge", *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], 30)[0]:
            self.close()
            raise RuntimeError("the mock judge did not start within 30 s")
        self.base_url = self._process.stdout.readline().removeprefix(READY).strip()
        self.pid = self._process.pid

    def stats(self) -> dict[str, Any]:
        """calls, most_in_flight, most_per_minute, faults, cpu_s."""
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/stats") as reply:
            return dict(json.load(reply))

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()  # it ends with its standard input
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server:
    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._random = random.Random(args.seed)
        self._arrivals: deque[float] = deque()  # of the last minute
        self._calls = self._in_flight = self._most_in_flight = self._most_per_minute = self._faults = 0

    async def chat(self, request: web.Request) -> web.Response:
        from aiohttp import web

        now = time.monotonic()
        self._calls += 1
        self._arrivals.append(now)
        while now - self._arrivals[0] >= 60:
            self._arrivals.popleft()
        self._most_per_minute = max(self._most_per_minute, len(self._arrivals))
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        try:
            body = await request.read()
            args, draw = self._args, self._random.random()
            if draw < args.throttled:
                self._faults += 1
                return web.json_response(
                    {"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "1"}
                )
            if draw < args.throttled + args.hung:
                self._faults += 1
                await asyncio.sleep(3600)
            await asyncio.sleep(args.median_s * math.exp(self._random.gauss(0, args.sigma)))
            if draw < args.throttled + args.hung + args.failed:
                self._faults += 1
                return web.json_response({"error": {"message": "internal"}}, status=500)
            try:
                answer = _answer(body)
            except (ValueError, LookupError, TypeError) as error:
                return web.json_response({"error": {"message": str(error)}}, status=400)
            return web.json_response(
                {
                    "id": "mock", "object": "chat.completion", "created": 0, "model": "mock",
                    "choices": [{"index": 0, "finish_reason": "stop",
                                 "message": {"role": "assistant", "content": answer, "refusal": None}}],
                    "usage": {"prompt_tokens": 900, "completion_tokens": 20, "total_tokens": 920},
                }
            )  # fmt: skip
        finally:
            self._in_flight -= 1

    async def stats(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response(
            {
                "calls": self._calls,
                "most_in_flight": self._most_in_flight,
                "most_per_minute": self._most_per_minute,
                "faults": self._faults,
                "cpu_s": time.process_time(),
            }
        )


def _answer(body: bytes) -> str:
    """What a model would say. Text heads are not parsed: the server shares the cores with what is measured."""
    return (box_answer(json.loads(body)) if b'"box_' in body else None) or _ANSWER


async def _serve(args: argparse.Namespace) -> None:
    from aiohttp import web

    server = _Server(args)
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_get("/stats", server.stats)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", args.port, backlog=1024)
    await site.start()
    print(f"{READY}http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the one who started it goes
    await runner.cleanup()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="mock_judge", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--median-s", type=float, default=0.3, help="of the lognormal latency")
    parser.add_argument("--sigma", type=float, default=0.3, help="of the lognormal latency")
    parser.add_argument("--throttled", type=float, default=0.0, help="share of 429 with Retry-After 1 s")
    parser.add_argument("--failed", type=float, default=0.0, help="share of 500")
    parser.add_argument("--hung", type=float, default=0.0, help="share that is never answered")
    parser.add_argument("--seed", type=int, default=0)
    try:
        asyncio.run(_serve(parser.parse_args(argv)))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
