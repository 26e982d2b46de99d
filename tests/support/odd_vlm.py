"""A vision judge for the soak, a process of its own: it answers by the question's text, a share of the time oddly.

`python tests/support/odd_vlm.py --odd 0.2` prints its base URL; it ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import sys
import zlib

from aiohttp import web


def answer_to(question: str) -> str:
    """What an honest reply to this question says: clients check what they get by it."""
    return str(zlib.crc32(question.encode()) % 100_000)


def _completion(content: str, finish: str = "stop", **more: object) -> dict:
    return {
        "id": "x", "object": "chat.completion", "created": 0, "model": "odd",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 20, "total_tokens": 920}, **more,
    }  # fmt: skip


def _json(body: dict, status: int = 200, **headers: str) -> web.Response:
    return web.json_response(body, status=status, headers=headers)


def _error(status: int, message: str, **more: object) -> web.Response:
    return _json({"error": {"message": message, **more}}, status)


def _bomb(_right: str) -> web.Response:
    body = gzip.compress(b" " * 20_000_000)
    return web.Response(body=body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


# What an odd reply looks like. None gives another answer than the right one, so that a wrong one is the gateway's.
ODD = {
    "fence": lambda right: _json(_completion(f"```json\n{right}\n```")),
    "prose": lambda right: _json(_completion(f"Here is my answer:\n{right}\nI hope that this helps.")),
    "cut": lambda right: _json(_completion(right[: len(right) // 2], "length")),
    "no usage": lambda right: _json(_completion(right) | {"usage": None}),
    "huge usage": lambda right: _json(_completion(right) | {"usage": {"prompt_tokens": 10**30}}),
    "limit under 200": lambda right: _json({"error": {"code": 429, "message": "Rate limit exceeded"}}),
    "flagged": lambda right: _error(403, "Your input was flagged", metadata={"reasons": ["violence"]}),
    "throttled": lambda right: _json({"error": {"message": "slow down"}}, 429, **{"Retry-After": "1"}),
    "broken": lambda right: _error(500, "internal"),
    "no JSON": lambda right: web.Response(text="<html>Bad gateway</html>", status=502),
    "half a pair": lambda right: _json(_completion('{"answer": "\\ud800"}')),
    "deep": lambda right: web.Response(text="[" * 100_000, content_type="application/json"),
    "bomb": _bomb,
}


async def _chat(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    question = [part["text"] for part in body["messages"][-1]["content"] if part["type"] == "text"][0]
    right = json.dumps({"answer": answer_to(question)})
    await asyncio.sleep(random.uniform(0.05, 0.4))
    if random.random() < request.app["odd"]:
        return ODD[random.choice(list(ODD))](right)
    return _json(_completion(right))


async def _main(odd: float) -> None:
    app = web.Application(client_max_size=64 << 20)
    app["odd"] = odd
    app.router.add_post("/v1/chat/completions", _chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--odd", type=float, default=0.2, help="share of odd replies")
    asyncio.run(_main(parser.parse_args().odd))
