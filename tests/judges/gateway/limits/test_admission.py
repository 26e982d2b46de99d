"""What a call was charged in advance is what its real tokens are settled against."""

from __future__ import annotations

import asyncio

from valor_ray.config.judging import JudgeConfig
from valor_ray.judges.gateway.limits.admission import Admission
from valor_ray.judges.gateway.limits.budget import Lease, Limits
from valor_ray.judges.gateway.limits.spending import Purse


class Lender:
    """limits.budget.Lender that grants all, and adds up what calls are charged."""

    def __init__(self) -> None:
        self.charged = 0

    async def lease(
        self, account: str, limits: Limits, requests: int, tokens_each: int, purse: Purse | None = None
    ) -> Lease:
        self.charged += requests * tokens_each
        return Lease(requests, 0.0, 60.0)

    async def settle(self, account: str, tokens_estimated: int, tokens_used: int) -> None:
        self.charged += tokens_used - tokens_estimated


def test_calls_are_settled_against_what_they_were_charged() -> None:
    """Ten calls of 20,000 tokens under one lease: what a call is expected to take grows with each that ends."""
    lender = Lender()
    config = JudgeConfig.model_validate(
        {"base_url": "http://host/v1", "model": "m", "tokens_per_minute": 10**6}
    )

    async def use() -> None:
        admission = Admission(config, lender, "account", first=10)
        for _ in range(3):
            charged = await asyncio.gather(*(admission.enter() for _ in range(10)))
            for each in charged:
                await admission.settle(each, 20_000)
                admission.concurrency.on_abandoned()
            admission.pump()
        assert admission.tokens_each > 10_000
        admission.close()

    asyncio.run(use())
    assert lender.charged == 30 * 20_000
