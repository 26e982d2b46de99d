"""The policy behind an endpoint as a Serve deployment: named and asked like the one with an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from ray import serve

from deployments.actors.judge_ledger import RemoteLedger, open_judge_ledger
from deployments.metrics.judging import JudgeMetrics
from valor_ray.config.models import PolicyConfig
from valor_ray.ports import Turn
from valor_ray.records import Reply
from valor_ray.writers.request import not_sent
from valor_ray.writers.writer import open_writer

_GAUGES_EVERY_S = 2.0


@serve.deployment(name="policy")
class WriterDeployment:
    """A replica of the gateway of `policy.endpoint`.

    The front door and mining's workers call `generate`, through deployments.ports.RemotePolicy. Replies are in the
    cluster's ledger before they are returned, so that another replica finds them.
    """

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: PolicyConfig, folder: str | None, patient: bool
    ) -> None:
        """folder: where replies are kept; None: for this service's life. Raises ConfigError when a key is not set."""
        assert config.endpoint is not None
        self._config, self._endpoint = config, config.endpoint
        self._folder = folder or ""
        self._ledger = open_judge_ledger()
        self._metrics = JudgeMetrics("policy")
        ledger = RemoteLedger(self._ledger, self._folder)
        self._writer = open_writer(config, ledger, self._metrics.observe, patient=patient)
        self._reporting = asyncio.create_task(self._report())

    async def generate(
        self, question: str, n: int, seed: int | None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        """n replies to one question, or to the last of `turns` (ports.Policy). Raises QuestionError, PolicyError."""
        return await self._writer.generate(question, n=n, seed=seed, turns=turns)

    async def status(self) -> dict[str, Any]:
        ledger = await self._ledger.status.remote(self._folder)
        return {
            "endpoint": self._endpoint.address,
            "model": self._endpoint.model,
            "version": self._endpoint.model,
            "not_sent": not_sent(self._config, self._endpoint),
            **ledger,
            **self._writer.gauges(),
        }

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_GAUGES_EVERY_S)
            self._metrics.state(self._writer.gauges())
