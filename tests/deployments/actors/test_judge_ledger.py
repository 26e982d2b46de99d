"""The ledger's actor as its callers see it, without Ray."""

from __future__ import annotations

import asyncio
import contextvars
from types import SimpleNamespace
from typing import Any

from deployments.actors.judge_ledger import RemoteLedger


def test_the_ledger_is_asked_in_no_requests_name_since_ray_ends_what_is_with_the_request() -> None:
    async def run() -> None:
        request = contextvars.ContextVar("request", default="nobody's")
        sent: list[tuple[Any, ...]] = []

        async def remote(*call: Any) -> list[None]:
            return [None for _ in call[2]]

        def call(*words: Any) -> Any:
            sent.append((request.get(), *words))
            return remote(*words)

        handle: Any = SimpleNamespace(call=SimpleNamespace(remote=call))
        ledger = RemoteLedger(handle, "folder")
        request.set("first")
        first = asyncio.create_task(ledger.claim(["a", "b"], "me"))
        request.set("second")
        assert await asyncio.gather(first, ledger.claim(["c"], "me")) == [[None, None], [None]]
        assert sent == [("nobody's", "folder", "claim", ["a", "b", "c"], "me")]

    asyncio.run(run())
