"""Stand-ins for policy and judge behind the Serve handles that rollouts ask, for measurement only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.schema import ApplicationStatus, ReplicaState

from deployments.app import gateway_name, policy_name
from deployments.running.readiness import wait_ready
from valor_ray.errors import ServiceError
from valor_ray.models.vllm.seats import Seats
from valor_ray.perf.scaling.mock_engine import MockEngine, MockSpeed
from valor_ray.records import JudgeReply, JudgeRequest, Reply, Sampling, Usage

_LOGGING = {"log_level": "WARNING", "enable_access_log": False}  # as the jobs start it
_ONGOING = 1000  # calls in a replica
_LOOK_S = 0.2
_CPUS = 0.05  # logical, of a replica that only waits
_VERDICT = {"reason": "measured, not judged", "verdict": "yes"}


@serve.deployment(name="policy")
class MockPolicyDeployment:
    """In place of parts.policy.PolicyDeployment: rollout workers call `sample` and wait as for an engine."""

    def __init__(self, speed: MockSpeed) -> None:
        self._engine = MockEngine(speed, serve.get_replica_context().replica_id.unique_id)
        self._seats = Seats(speed.seats)

    async def sample(
        self, questions: Sequence[str], n: int, seed: int, sampling: Sampling, since: float
    ) -> list[list[Reply]] | None:
        """As a replica on a GPU does: None where the engine has no room."""
        async with self._seats.of(n * len(questions), since) as there:
            return await self._engine.sample(questions, n=n, seed=seed, sampling=sampling) if there else None


@serve.deployment(name="judge")
class MockJudgeDeployment:
    """In place of a gateway: rollout workers call `ask`, which answers yes at once."""

    async def ask(self, requests: list[JudgeRequest]) -> list[JudgeReply]:
        await asyncio.sleep(0)
        return [JudgeReply(_VERDICT, usage=Usage(model="mock")) for _ in requests]


@contextmanager
def mock_parts(folder: Path, speed: MockSpeed, replicas: int) -> Iterator[None]:
    """Policy and judge of the training run in `folder`, on the Ray that runs, for as long as the block lasts."""
    answers = gateway_name(str(folder / "judge_cache"), "judge")
    serve.start(proxy_location="Disabled", logging_config=_LOGGING)
    judge = MockJudgeDeployment.options(**_options(1)).bind()  # type: ignore[attr-defined]
    serve.run_many(
        [serve.RunTarget(judge, name=answers, route_prefix=None)], wait_for_applications_running=False
    )
    deploy_policy(folder, speed, replicas)
    wait_ready(lambda line: None, answers, ("judge",))
    try:
        yield
    finally:
        serve.delete(answers)
        serve.delete(policy_name(str(folder)))


def deploy_policy(folder: Path, speed: MockSpeed, replicas: int) -> None:
    """So many replicas from now on; those that are there stay. Waits until all are ready."""
    name = policy_name(str(folder))
    # a version that stays: without one Serve takes every deployment for another one, and starts all replicas anew
    options = _options(replicas) | {"version": "1", "_internal": True}
    policy = MockPolicyDeployment.options(**options).bind(speed)  # type: ignore[attr-defined]
    serve.run_many(
        [serve.RunTarget(policy, name=name, route_prefix=None)], wait_for_applications_running=False
    )
    while _running(name) != replicas:
        time.sleep(_LOOK_S)


def _running(app: str) -> int:
    """Policy replicas that take calls. Raises ServiceError when the app failed."""
    application = serve.status().applications.get(app)
    if application is not None and application.status == ApplicationStatus.DEPLOY_FAILED:
        raise ServiceError(f"The mock policy did not start: {application.message}")
    deployment = application.deployments.get("policy") if application is not None else None
    return deployment.replica_states.get(ReplicaState.RUNNING, 0) if deployment is not None else 0


def _options(replicas: int) -> dict[str, Any]:
    return {
        "num_replicas": replicas,
        "max_ongoing_requests": _ONGOING,
        "ray_actor_options": {"num_cpus": _CPUS},
        "graceful_shutdown_timeout_s": 1,
        "graceful_shutdown_wait_loop_s": 0.1,
    }
