"""A ledger elsewhere answers in any order; equal requests must still be asked once, and never wait for ever."""

import asyncio
from pathlib import Path

from valor_ray.config.tree import Config
from valor_ray.judges.gateway.gateway import Gateway
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.records import JudgeRequest

REQUEST = JudgeRequest("logic", "1", ({"role": "user", "content": "?"},), {"type": "object"})


class SlowFirstReply(Ledger):
    """The first claim is granted first and told last."""

    claims = 0

    async def claim(self, keys, owner):
        self.claims += 1
        first = self.claims == 1
        claimed = await super().claim(keys, owner)
        if first:
            await asyncio.sleep(0.2)
        return claimed


def test_equal_requests_are_asked_once_when_the_claims_are_told_out_of_order(tmp_path: Path) -> None:
    async def both(url: str) -> list:
        config = Config.load("local", [f"judge.base_url={url}"]).judge
        gateway = Gateway(config, config, SlowFirstReply(tmp_path))
        try:
            async with asyncio.timeout(10):
                return await asyncio.gather(gateway.ask([REQUEST]), gateway.ask([REQUEST]))
        finally:
            await gateway.close()

    with MockJudge(median_s=0.02) as judge:
        (first,), (second,) = asyncio.run(both(judge.base_url))
        assert judge.stats()["calls"] == 1
    assert first.content is not None and first.content == second.content
