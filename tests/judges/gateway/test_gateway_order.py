"""A ledger elsewhere answers in any order; equal requests must still be asked once, and never wait for ever."""

import asyncio
import gc
from pathlib import Path

import pytest

from valor_ray.config.tree import Config
from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.gateway import Gateway
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.records import JudgeReply, JudgeRequest

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


class Sends(Ledger):
    """What was sent arrives, also when whoever sent it waits no longer, as through an actor; replies take a moment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.granted = asyncio.Event()

    async def claim(self, keys, owner):
        claimed = await super().claim(keys, owner)
        self.granted.set()
        await asyncio.sleep(0.05)
        return claimed

    async def release(self, owner, keys):
        await asyncio.sleep(0.01)
        await super().release(owner, keys)


@pytest.mark.parametrize("second", ["after", "meanwhile"])
def test_a_caller_who_hangs_up_while_he_claims_keeps_nobody_waiting(tmp_path: Path, second: str) -> None:
    async def both(url: str) -> JudgeReply:
        config = Config.load("local", [f"judge.base_url={url}"]).judge
        ledger = Sends(tmp_path)
        gateway = Gateway(config, config, ledger)
        try:
            async with asyncio.timeout(10):
                gone = asyncio.create_task(gateway.ask([REQUEST]))
                await ledger.granted.wait()
                early = [asyncio.create_task(gateway.ask([REQUEST]))] if second == "meanwhile" else []
                await asyncio.sleep(0.01)
                gone.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await gone
                (reply,) = await early[0] if early else await gateway.ask([REQUEST])
                assert (await ledger.status())["claims"] == 0
                return reply
        finally:
            await gateway.close()

    with MockJudge(median_s=0.02) as judge:
        reply = asyncio.run(both(judge.base_url))
        assert reply.content is not None and judge.stats()["calls"] == 1


def test_a_claim_that_fails_for_somebody_who_has_hung_up_is_nobodys_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone(Sends):
        async def claim(self, keys, owner):
            await super().claim(keys, owner)
            raise JudgeError("the ledger is gone")

    async def run() -> None:
        config = Config.load("local", ["judge.base_url=http://127.0.0.1:9/v1"]).judge
        ledger = Gone(tmp_path)
        gateway = Gateway(config, config, ledger)
        gone = asyncio.create_task(gateway.ask([REQUEST]))
        await ledger.granted.wait()
        gone.cancel()
        await asyncio.sleep(0.1)
        await gateway.close()

    asyncio.run(run())
    gc.collect()
    assert "the ledger is gone" not in caplog.text  # tasks of other tests may be forgotten here, too
