"""An endpoint's gateway as a Serve deployment: every replica adds throughput, the ledger is shared by all."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from ray import serve

from deployments.actors.judge_ledger import RemoteLedger, open_judge_ledger
from deployments.calls.parcel import Opened, Sent
from deployments.metrics.judging import JudgeMetrics
from valor_ray.config.judging import JudgeConfig, Part
from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.connect import Judges, gateways_of, open_judge
from valor_ray.judges.vqa import VqaJudge
from valor_ray.records import JudgeReply, JudgeRequest

_GAUGES_EVERY_S = 2.0


@serve.deployment(name="judge")
class JudgeDeployment:
    """A replica of an endpoint's gateway: ports.Judge and ports.Vqa, and it sees that the offline judge lives.

    The settings `judge` and `vlm` have one each, named as they are, or one named judge where they are equal.

    Scoring and rollout workers call `ask`, the front door `vqa`, through the classes of deployments.ports. A call waits
    until each of its requests is answered or given up, and answers are in the ledger before they are returned.
    """

    async def __init__(  # type: ignore[misc]  # awaited
        self, config: JudgeConfig, folder: str | None, part: Part
    ) -> None:
        """folder: where answers are kept when the config names no cache_dir; None: for this service's life only.

        part: the section of the settings that `config` is, for messages and metrics.
        """
        self._config = config
        self._part = part
        self._folder = config.cache_dir or folder or ""
        self._ledger = open_judge_ledger()
        self._metrics = JudgeMetrics(part)
        self._opened = Opened()
        self._connecting = asyncio.Lock()
        self._url = ""
        self._judge: Judges | None = None
        await self._connect()
        self._reporting = asyncio.create_task(self._report())

    async def ask(self, requests: list[JudgeRequest]) -> list[JudgeReply]:
        """All at the same time; ports.Judge. Raises JudgeError when every further call must fail."""
        return await (await self._connect()).ask(requests)

    async def vqa(self, sent: Sent, question: str) -> str:
        """Short lower-case answer about the picture. Raises JudgeError."""
        picture = await self._opened.picture(sent)
        try:
            return await VqaJudge(await self._connect(), self._config, self._part).vqa(picture, question)
        except JudgeError:
            before = self._url
            judge = await self._connect(again=True)
            if self._url == before:
                raise
            return await VqaJudge(judge, self._config, self._part).vqa(
                picture, question
            )  # the offline judge had died

    async def status(self) -> dict[str, Any]:
        ledger = await self._ledger.status.remote(self._folder)
        endpoint = self._config.address if self._config.base_url else "offline judge"
        return {"endpoint": endpoint, "model": self._config.model, **ledger, **self._gauges()}

    def _gauges(self) -> dict[str, float]:
        total: Counter[str] = Counter()
        for gateway in gateways_of(self._judge) if self._judge else ():
            total.update(gateway.gauges())
        return dict(total)

    async def _connect(self, again: bool = False) -> Judges:
        """The judge; the offline judge, where it is wanted, is looked for first and when `again`."""
        if self._judge is not None and not again:
            return self._judge
        async with self._connecting:
            endpoint = self._config
            if endpoint.base_url is None:
                url = await self._ledger.offline_judge.remote(
                    endpoint.model, endpoint.noise, endpoint.delay_s
                )
                endpoint = endpoint.model_copy(update={"base_url": url, "api_key_env": None, "headers": {}})
            if self._judge is None or endpoint.base_url != self._url:
                if self._judge is not None:
                    await self._judge.close()
                self._url = str(endpoint.base_url)
                ledger = RemoteLedger(self._ledger, self._folder)
                self._judge = open_judge(endpoint, ledger, self._metrics.observe, self._part)
            return self._judge

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_GAUGES_EVERY_S)
            if self._judge is not None:
                self._metrics.state(self._gauges())
                if self._config.base_url is None:
                    await self._connect(again=True)  # a killed offline judge is replaced before work notices
