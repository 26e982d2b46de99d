"""The four ports over Serve handles: what steps use in place of a model in their own process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from valor_ray.errors import JudgeError, PolicyError, ServiceError, ToolError, ValorError
from valor_ray.records import DepthMap, Detection, JudgeReply, JudgeRequest, Picture, Reply, Sampling

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0  # between asking replicas that cannot be reached
_STATUS_S = 2.0
_GIVE_UP_S = 600.0  # a replica is back within a minute, a lost node's within a few
_REACHED_S = 30.0  # a call that fails after so long had reached a replica: patience begins anew


class RemotePolicy:
    def __init__(self, handle: DeploymentHandle, *, patient: bool = False) -> None:
        """patient: `generate` waits minutes for a replica that is being replaced, as a job may and a user may not."""
        self._handle, self._patient = handle, patient

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        def call() -> DeploymentResponse:
            return self._handle.generate.remote(question, n, seed)

        if self._patient:
            return await _persistent("policy", call, PolicyError)
        return await _result("policy", call(), PolicyError)

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        """ports.Sampler. A replica that dies in mid-call is no answer: another one, or its successor, samples again."""
        return await _persistent(
            "policy", lambda: self._handle.sample.remote(list(questions), n, seed, sampling), PolicyError
        )


class RemoteDetector:
    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        call = self._handle.detect.remote(picture, tuple(phrases), box_threshold)
        return await _result("detector", call, ToolError)


class RemoteDepth:
    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def depth(self, picture: Picture) -> DepthMap:
        return await _result("depth", self._handle.depth.remote(picture), ToolError)


class RemoteJudge:
    """ports.Judge over the judge gateway's handle."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """A replica that dies in mid-call is no answer: the call goes to another, which finds what was stored.

        Raises ServiceError when no replica can be reached for minutes.
        """
        return await _persistent("judge", lambda: self._handle.ask.remote(list(requests)), JudgeError)


class RemoteVqa:
    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def vqa(self, picture: Picture, question: str) -> str:
        return await _result("judge", self._handle.vqa.remote(picture, question), ToolError)


def judge_trouble(handle: DeploymentHandle) -> str:
    """What a user should know about the judge gateway behind a handle, in a line; "": nothing."""
    try:
        status = handle.status.remote().result(timeout_s=_STATUS_S)
    except Exception as error:  # noqa: BLE001  # Ray has many; a status that cannot be had must not end the run
        return f"the judge gateway does not answer ({type(error).__name__})"
    return f"{status['endpoint']} does not answer; waiting until it does" if status["breaker_open"] else ""


async def _persistent(part: str, call: Callable[[], DeploymentResponse], failure: type[ValorError]) -> Any:
    """`_result`, called again while no replica can be reached, for minutes."""
    pause_s, lost_since = _FIRST_PAUSE_S, None
    while True:
        asked = time.monotonic()
        try:
            return await _result(part, call(), failure)
        except ServiceError:
            now = time.monotonic()
            if lost_since is None or now - asked > _REACHED_S:
                pause_s, lost_since = _FIRST_PAUSE_S, now
            if now - lost_since > _GIVE_UP_S:
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def _result(part: str, call: DeploymentResponse, failure: type[ValorError]) -> Any:
    """Await a call; Ray's exceptions become ours, with the message alone and not the remote traceback.

    Errors that are ours keep their type, any other error of the replica becomes `failure`, and a replica that cannot
    be reached a ServiceError.
    """
    try:
        return await call
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, ValorError):
            raise type(cause)(str(cause)) from error
        raise failure(f"The {part} failed: {type(cause).__name__}: {cause}. Its log says more.") from error
    except (RayActorError, RayServeException) as error:
        raise ServiceError(
            f"The {part} cannot be reached; it is being restarted. Try again in a moment."
        ) from error
