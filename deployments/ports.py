"""The four ports over Serve handles: what steps use in place of a model in their own process.

How long each waits for a replica's successor: not at all, for minutes (`patient`: jobs), or as `waiting` says (the
front door, with users behind it). deployments.failures tells all of them what is a replica that is gone.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from ray.serve.handle import DeploymentHandle, DeploymentResponse

from deployments.calls.parcel import packed
from deployments.calls.waiting import Waiting
from deployments.failures import ReplicaGone, part_errors
from valor_ray.config.judging import Part
from valor_ray.errors import JudgeError, PolicyError, ServiceError, ToolError, ValorError
from valor_ray.ports import Turn
from valor_ray.records import DepthMap, Detection, JudgeReply, JudgeRequest, Picture, Reply, Sampling

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0  # between asking replicas that cannot be reached
_GIVE_UP_S = 600.0  # a replica is back within a minute, a lost node's within a few
_REACHED_S = 30.0  # a call that fails after so long had reached a replica: patience begins anew


Call = Callable[[], DeploymentResponse]


class RemotePolicy:
    def __init__(
        self, handle: DeploymentHandle, *, patient: bool = False, waiting: Waiting | None = None
    ) -> None:
        """patient: `generate` waits minutes for a replica that is being replaced, as a job may and a user may not."""
        self._handle = handle
        self._ask = _asker("policy", PolicyError, patient, waiting)

    async def generate(
        self, question: str, *, n: int = 1, seed: int | None = None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        return await self._ask(lambda: self._handle.generate.remote(question, n, seed, tuple(turns)))

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        """ports.Sampler. A replica that dies in mid-call is no answer: another one, or its successor, samples again.

        A batch that an engine had no room for comes back as None and is asked for again: a replica that has come in the
        meantime has least to do, and gets it.
        """
        replies: list[list[Reply]] | None = None
        ask = _asker("policy", PolicyError, patient=True)
        since = time.time()
        while replies is None:
            replies = await ask(lambda: self._handle.sample.remote(list(questions), n, seed, sampling, since))
        return replies


class RemoteDetector:
    def __init__(
        self, handle: DeploymentHandle, *, patient: bool = False, waiting: Waiting | None = None
    ) -> None:
        """patient: as of RemotePolicy."""
        self._handle = handle
        self._ask = _asker("detector", ToolError, patient, waiting)

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        sent = packed(picture)
        return await self._ask(lambda: self._handle.detect.remote(sent, tuple(phrases), box_threshold))


class RemoteDepth:
    def __init__(
        self, handle: DeploymentHandle, *, patient: bool = False, waiting: Waiting | None = None
    ) -> None:
        """patient: as of RemotePolicy."""
        self._handle = handle
        self._ask = _asker("depth", ToolError, patient, waiting)

    async def depth(self, picture: Picture) -> DepthMap:
        sent = packed(picture)
        return await self._ask(lambda: self._handle.depth.remote(sent))


class RemoteJudge:
    """ports.Judge over the handle of an endpoint's gateway."""

    def __init__(
        self, handle: DeploymentHandle, part: Part = "judge", *, waiting: Waiting | None = None
    ) -> None:
        """part: as the gateway's deployment is named, for messages. Without `waiting` it is patient."""
        self._handle = handle
        self._ask = _asker(part, JudgeError, patient=True, waiting=waiting)

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """A replica that dies in mid-call is no answer: the call goes to another, which finds what was stored.

        Raises ServiceError when no replica can be reached for as long as it waits.

        In no request's context: Rewarder shares verdicts, and Serve ends what a request has asked for with the request.
        """
        ask = self._handle.ask
        return await self._ask(lambda: contextvars.Context().run(ask.remote, list(requests)))


class RemoteVqa:
    def __init__(
        self, handle: DeploymentHandle, part: Part = "judge", *, waiting: Waiting | None = None
    ) -> None:
        """part: as of RemoteJudge."""
        self._handle = handle
        self._ask = _asker(part, ToolError, waiting=waiting)

    async def vqa(self, picture: Picture, question: str) -> str:
        sent = packed(picture)
        return await self._ask(lambda: self._handle.vqa.remote(sent, question))


def _asker(
    part: str, failure: type[ValorError], patient: bool = False, waiting: Waiting | None = None
) -> Callable[[Call], Awaitable[Any]]:
    """What makes the calls of a port. failure: what an error of the part's model becomes that is not one of ours."""

    async def once(call: Call) -> Any:
        with part_errors(part, failure):
            return await call()

    if waiting is not None:
        return lambda call: waiting.ask(lambda: once(call))
    return partial(_persistent, once) if patient else once


async def _persistent(once: Callable[[Call], Awaitable[Any]], call: Call) -> Any:
    """Called again while no replica can be reached, for minutes."""
    pause_s, lost_since = _FIRST_PAUSE_S, None
    while True:
        asked = time.monotonic()
        try:
            return await once(call)
        except ReplicaGone:
            now = time.monotonic()
            if lost_since is None or now - asked > _REACHED_S:
                pause_s, lost_since = _FIRST_PAUSE_S, now
            if now - lost_since > _GIVE_UP_S:
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def sign_of_life(part: str, handle: DeploymentHandle) -> dict[str, Any]:
    """What a replica says of how it is, whichever Serve asks. Raises ReplicaGone, ServiceError."""
    with part_errors(part, ServiceError):
        status: dict[str, Any] = await handle.status.remote()
        return status
