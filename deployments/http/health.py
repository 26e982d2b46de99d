"""Whether the parts behind the door are well, for monitors and load balancers."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.responses import Response

from deployments.http.errors import Json
from deployments.http.guard import Gate

Status = dict[str, dict[str, Any]]


class Health:
    """Asks the parts; who asks while they are being asked gets the same answer, so that many cost as much as one."""

    def __init__(self, status: Callable[[], Awaitable[Status]], gate: Gate) -> None:
        self._status = status
        self._gate = gate
        self._asking: asyncio.Task[Status] | None = None

    async def ready(self) -> Response:
        """200 when every part is well, 503 with what is not."""
        if self._asking is None or self._asking.done():
            # in no monitor's context, as the look of calls.waiting: the first to ask may hang up before the others
            self._asking = asyncio.create_task(self._ask(), context=contextvars.Context())
        parts = await asyncio.shield(self._asking)
        well = all(part["status"] == "ok" for part in parts.values())
        body = {
            "status": "ok" if well else "degraded",
            "in_work": self._gate.inside,
            "waiting": self._gate.standing,
            "parts": parts,
        }
        return Json(body, status_code=200 if well else 503)

    async def _ask(self) -> Status:
        return await self._status()
