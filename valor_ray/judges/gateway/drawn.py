"""Several samples of one request: in one call with `n` as long as the endpoint takes that, else in a call each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from valor_ray.judges.gateway.answers import request_key
from valor_ray.judges.gateway.call.free_text import FreeText
from valor_ray.records import JudgeReply, JudgeRequest

Alone = Callable[[JudgeRequest], Awaitable[JudgeReply]]
# n samples in one call; None: that one is to be asked for again; fewer than n: so many the endpoint gives
Together = Callable[[JudgeRequest, int], Awaitable[Sequence[JudgeReply | None]]]
Fetch = Callable[[], Awaitable[JudgeReply]]


class Draws:
    """Which samples share a call; finds out whether the endpoint takes `n`.

    Kept by Gateway, of its event loop. `close` ends the calls that are out.
    """

    def __init__(self, alone: Alone, together: Together, say: Callable[[str], None], *, use_n: bool) -> None:
        """say: is told once, in words, that `n` is of no use."""
        self._alone, self._together, self._say = alone, together, say
        self._use_n = use_n
        self._out: set[asyncio.Task[Sequence[JudgeReply | None]]] = set()

    def of(self, requests: Mapping[str, JudgeRequest]) -> dict[str, Fetch]:
        """For each key what gets its reply, to be awaited once; those that share a call raise together."""
        fetches: dict[str, Fetch] = {}
        for keys in groups(requests) if self._use_n else [[key] for key in requests]:
            first = requests[keys[0]]
            if len(keys) == 1:
                fetches[keys[0]] = partial(self._alone, first)
                continue
            call = asyncio.ensure_future(self._together(first, len(keys)))
            self._out.add(call)
            call.add_done_callback(self._ended)
            for place, key in enumerate(keys):
                fetches[key] = partial(self._one, call, place, requests[key])
        return fetches

    def close(self) -> None:
        for call in self._out:
            call.cancel()

    async def _one(
        self, call: asyncio.Future[Sequence[JudgeReply | None]], place: int, request: JudgeRequest
    ) -> JudgeReply:
        replies = await asyncio.shield(call)
        reply = replies[place] if place < len(replies) else None
        if reply is not None:
            return reply
        alone = await self._alone(request)
        if self._use_n and alone.content is not None and place >= len(replies):
            self._use_n = False
            self._say("gives fewer replies than n asks for" if replies else "does not take n")
        return alone

    def _ended(self, call: asyncio.Task[Sequence[JudgeReply | None]]) -> None:
        self._out.discard(call)
        if not call.cancelled():
            call.exception()  # whoever still waits gets it; perhaps nobody does


def groups(requests: Mapping[str, JudgeRequest]) -> list[list[str]]:
    """Keys of requests that differ in nothing but the sample, together; any other alone."""
    found: dict[str, list[str]] = {}
    for key, request in requests.items():
        of = request_key(replace(request, sample=0), "") if isinstance(request, FreeText) else key
        found.setdefault(of, []).append(key)
    return list(found.values())
