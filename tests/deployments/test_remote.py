"""What Ray raises becomes an error of ours, with the message alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ray.exceptions import RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from deployments.remote import RemoteJudge, RemotePolicy
from valor_ray.errors import JudgeError, PolicyError, ServiceError, ToolError, ValorError
from valor_ray.images import from_array


class Handle:
    """A deployment handle whose every method fails as Ray would."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self.vqa = self.generate = self

    async def remote(self, *_: Any) -> Any:
        raise self._error


def from_replica(cause: Exception) -> RayTaskError:
    return RayTaskError("vqa", "Traceback: line 1, line 2", cause).as_instanceof_cause()


@pytest.mark.parametrize(
    ("raised", "seen", "message"),
    [
        (from_replica(JudgeError("the endpoint is down")), JudgeError, "^the endpoint is down$"),
        (from_replica(RuntimeError("boom")), ToolError, "^The judge failed: RuntimeError: boom"),
        (BackPressureError(1, 1), ServiceError, "^The judge cannot be reached"),
        (DeploymentUnavailableError.__new__(DeploymentUnavailableError), ServiceError, "cannot be reached"),
    ],
)
def test_judge_errors(raised: BaseException, seen: type[ValorError], message: str) -> None:
    import numpy as np

    picture = from_array(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValorError, match=message) as caught:
        asyncio.run(RemoteJudge(Handle(raised)).vqa(picture, "What?"))
    assert type(caught.value) is seen


def test_unforeseen_policy_failures_are_policy_errors() -> None:
    with pytest.raises(PolicyError, match=r"^The policy failed: KeyError"):
        asyncio.run(RemotePolicy(Handle(from_replica(KeyError("x")))).generate("How many?"))
