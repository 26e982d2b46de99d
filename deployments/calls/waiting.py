"""Callers of a part whose replica is gone wait for its successor: a limited time, outside the places for work.

    well ──a call finds its replica gone──▶ lost ──a look is answered──▶ well
                                             │ whoever asks, or has asked and has no replica, waits
                                             └─ after `wait_s` of a call's waiting: ServiceError

Parts answer from what they are given alone, so a call that was lost is made again as it was, its seed included.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from deployments.failures import LOGS, ReplicaGone
from valor_ray.errors import ServiceError, ValorError

T = TypeVar("T")
MOST_LOSSES = 3  # replicas that one call may lose: it may be what ends them
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0  # between looks


@dataclass
class _Patience:
    """Of one call."""

    left_s: float


class Waiting:
    """The callers of one part, on one event loop.

    Made by the front door, one a part; its ports call `ask`, any number at a time. While the part is well a call waits
    for its answer alone. While it is lost one look at a time asks for a sign of life, and all calls wait for that:
    those that lost their replica, those that come, and those that Serve holds back for want of a replica.
    """

    def __init__(
        self,
        part: str,
        look: Callable[[], Awaitable[object]],
        wait_s: float,
        standing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """look: returns when a replica answers; raises ReplicaGone. wait_s: for which a call waits at most, seconds.
        standing: is entered while a call waits, and may refuse it by raising."""
        self._part, self._look, self._wait_s, self._standing = part, look, wait_s, standing
        self._looking: asyncio.Task[None] | None = None  # there while the part is lost
        self._loss: asyncio.Future[None] | None = None  # done when it is lost

    @property
    def lost(self) -> bool:
        return self._looking is not None

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer to a call, made again when its replica is gone: to another one, or to the successor.

        Raises what the call raises, at once, unless that is ReplicaGone; ServiceError when no successor has come within
        `wait_s`, or the call has lost MOST_LOSSES replicas. Cancelled, it cancels the call.
        """
        patience, losses = _Patience(self._wait_s), 0
        while True:
            if self._looking is not None:
                await self._until(self._looking, patience)
            running = asyncio.ensure_future(call())
            try:
                await self._until(running, patience)
                if not running.cancelled():  # else by Ray, since nobody here has done so
                    return running.result()
            except ReplicaGone as gone:
                losses += 1
                if losses == MOST_LOSSES:
                    raise ServiceError(
                        f"The {self._part} was lost {losses} times while it worked on this request, which is not made "
                        f"again. What ended it stands in {LOGS}."
                    ) from gone
            finally:
                running.cancel()
            self._lose()

    async def _until(self, work: asyncio.Future[Any], patience: _Patience) -> None:
        """Returns when it is done. Raises ServiceError when patience ends before."""
        loop = asyncio.get_running_loop()
        while not work.done():
            if self._looking is None:
                if self._loss is None:
                    self._loss = loop.create_future()
                await asyncio.wait({work, self._loss}, return_when=asyncio.FIRST_COMPLETED)
                continue
            with self._standing():
                since = loop.time()
                await asyncio.wait(
                    {work, self._looking}, timeout=patience.left_s, return_when=asyncio.FIRST_COMPLETED
                )
                patience.left_s -= loop.time() - since
            if patience.left_s <= 0 and not work.done():
                raise ServiceError(
                    f"The {self._part} is gone, and no successor has come within {self._wait_s:g} s (server.wait_s). "
                    f"/healthz says how it is, the logs in {LOGS} why. Try again later."
                )

    def _lose(self) -> None:
        if self._looking is not None:
            return
        # For all, and so in no request's context: Serve ends what a request has asked for when its caller hangs up.
        self._looking = asyncio.create_task(self._look_out(), context=contextvars.Context())
        if self._loss is not None:
            self._loss.set_result(None)
            self._loss = None

    async def _look_out(self) -> None:
        """Returns when a replica answers, in whatever words."""
        pause_s = _FIRST_PAUSE_S
        try:
            while True:
                try:
                    await self._look()
                except ReplicaGone:
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    continue
                except ValorError:  # it lives: callers are to hear for themselves what is wrong with it
                    pass
                return
        finally:
            self._looking = None
