"""How a part is: well, merely busy, or not well. A replica that has its fill of calls says nothing until one ends."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from deployments.calls.waiting import Waiting
from valor_ray.errors import ServiceError

T = TypeVar("T")
STATUS_TIMEOUT_S = 3.0  # for a part to say how it is
BUSY_S = 60.0  # without an answer to anything, for which a part with calls in work is still taken to be busy


class Answering(Waiting):
    """Waiting that knows when its part has last answered; its `look` returns what the part says of itself.

    The front door has one for each part: the ports call `ask`, whoever asks for its health `status`. The door has more
    requests in work than a replica takes calls, so under load a look stands behind them and comes too late.
    """

    _asking = 0  # calls of ours
    _heard = -math.inf  # when it has last answered anything, as time.monotonic()

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        self._asking += 1
        try:
            answer = await super().ask(call)
        finally:
            self._asking -= 1
        self._heard = time.monotonic()
        return answer

    async def status(self) -> dict[str, Any]:
        """{"status": "ok", …what the part says}, {"status": "ok", "busy": True} where it says nothing in time and still
        answers calls, else {"status": "unavailable", "reason"}."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S):
                said: Any = await self._look()
        except TimeoutError:
            if self._busy:
                return {"status": "ok", "busy": True}
            reason = f"no answer within {STATUS_TIMEOUT_S:g} s: it is being restarted, or hangs"
        except ServiceError as error:
            reason = str(error)
        else:
            self._heard = time.monotonic()
            return {"status": "ok", **said}
        return {"status": "unavailable", "reason": reason}

    @property
    def _busy(self) -> bool:
        return self._asking > 0 and not self.lost and time.monotonic() - self._heard < BUSY_S
