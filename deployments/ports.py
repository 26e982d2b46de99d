"""The four ports over Serve handles: what steps use in place of a model in their own process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from deployments.failures import ours_as_raised
from valor_ray.config.judging import Part
from valor_ray.errors import JudgeError, PolicyError, ServiceError, ToolError, ValorError
from valor_ray.ports import Turn
from valor_ray.records import DepthMap, Detection, JudgeReply, JudgeRequest, Picture, Reply, Sampling

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0  # between asking replicas that cannot be reached
_GIVE_UP_S = 600.0  # a replica is back within a minute, a lost node's within a few
_REACHED_S = 30.0  # a call that fails after so long had reached a replica: patience begins anew


class RemotePolicy:
    def __init__(self, handle: DeploymentHandle, *, patient: bool = False) -> None:
        """patient: `generate` waits minutes for a replica that is being replaced, as a job may and a user may not."""
        self._handle, self._ask = handle, _persistent if patient else _once

    async def generate(
        self, question: str, *, n: int = 1, seed: int | None = None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        return await self._ask(
            "policy", lambda: self._handle.generate.remote(question, n, seed, tuple(turns)), PolicyError
        )

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        """ports.Sampler. A replica that dies in mid-call is no answer: another one, or its successor, samples again.

        A batch that an engine had no room for comes back as None and is asked for again: a replica that has come in the
        meantime has least to do, and gets it.
        """
        replies: list[list[Reply]] | None = None
        since = time.time()
        while replies is None:
            replies = await _persistent(
                "policy",
                lambda: self._handle.sample.remote(list(questions), n, seed, sampling, since),
                PolicyError,
            )
        return replies


class RemoteDetector:
    def __init__(self, handle: DeploymentHandle, *, patient: bool = False) -> None:
        """patient: as of RemotePolicy."""
        self._handle, self._ask = handle, _persistent if patient else _once

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        return await self._ask(
            "detector", lambda: self._handle.detect.remote(picture, tuple(phrases), box_threshold), ToolError
        )


class RemoteDepth:
    def __init__(self, handle: DeploymentHandle, *, patient: bool = False) -> None:
        """patient: as of RemotePolicy."""
        self._handle, self._ask = handle, _persistent if patient else _once

    async def depth(self, picture: Picture) -> DepthMap:
        return await self._ask("depth", lambda: self._handle.depth.remote(picture), ToolError)


class RemoteJudge:
    """ports.Judge over the handle of an endpoint's gateway."""

    def __init__(self, handle: DeploymentHandle, part: Part = "judge") -> None:
        """part: as the gateway's deployment is named, for messages."""
        self._handle, self._part = handle, part

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """A replica that dies in mid-call is no answer: the call goes to another, which finds what was stored.

        Raises ServiceError when no replica can be reached for minutes.
        """
        return await _persistent(self._part, lambda: self._handle.ask.remote(list(requests)), JudgeError)


class RemoteVqa:
    def __init__(self, handle: DeploymentHandle, part: Part = "judge") -> None:
        """part: as of RemoteJudge."""
        self._handle, self._part = handle, part

    async def vqa(self, picture: Picture, question: str) -> str:
        return await _once(self._part, lambda: self._handle.vqa.remote(picture, question), ToolError)


async def _persistent(part: str, call: Callable[[], DeploymentResponse], failure: type[ValorError]) -> Any:
    """`_once`, called again while no replica can be reached, for minutes."""
    pause_s, lost_since = _FIRST_PAUSE_S, None
    while True:
        asked = time.monotonic()
        try:
            return await _once(part, call, failure)
        except ServiceError:
            now = time.monotonic()
            if lost_since is None or now - asked > _REACHED_S:
                pause_s, lost_since = _FIRST_PAUSE_S, now
            if now - lost_since > _GIVE_UP_S:
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def _once(part: str, call: Callable[[], DeploymentResponse], failure: type[ValorError]) -> Any:
    """Make a call; Ray's exceptions become ours, with the message alone and not the remote traceback.

    Errors that are ours keep their type, any other error of the replica becomes `failure`, and a replica that cannot
    be reached a ServiceError.
    """
    try:
        with ours_as_raised():
            return await call()
    except RayTaskError as error:
        cause = error.cause
        raise failure(f"The {part} failed: {type(cause).__name__}: {cause}. Its log says more.") from error
    except (RayActorError, RayServeException) as error:
        raise ServiceError(
            f"The {part} cannot be reached; it is being restarted. Try again in a moment."
        ) from error
