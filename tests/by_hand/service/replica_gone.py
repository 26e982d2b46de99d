"""By hand: a real Serve whose one replica dies, by kill -9 and of itself, under eight callers. Nothing may fail.

    python -m pytest -m slow -s tests/by_hand/service/replica_gone.py

About half a minute: the part is a toy, so that what is seen is Ray's, Serve's and our own doing. (load.py --kills has
the models.)
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.calls.parcel import Opened, Sent
from deployments.calls.waiting import Waiting
from deployments.failures import end_replica
from deployments.ports import RemoteVqa, sign_of_life
from valor_ray.config.service import ImageConfig
from valor_ray.images import FilePicture, from_array, to_png

CALLERS = 8
SMOOTH = np.zeros((1500, 1500, 3), np.uint8)  # more than travels as pixels


@serve.deployment(name="judge", health_check_period_s=2, max_ongoing_requests=100)
class Part:
    """A toy."""

    def __init__(self) -> None:
        self._opened = Opened()
        self._useless = False

    async def vqa(self, sent: Sent, question: str) -> str:
        if self._useless:
            end_replica("The toy is broken.")
        if (
            question == "break"
        ):  # later: else its own answer would be lost, and it would break the successor too
            asyncio.get_running_loop().call_later(1, lambda: setattr(self, "_useless", True))
        await asyncio.sleep(0.2)
        return f"{question} {(await self._opened.picture(sent)).width} {os.getpid()}"

    async def status(self) -> dict[str, int]:
        return {"pid": os.getpid()}


@pytest.fixture
def handle() -> Iterator[DeploymentHandle]:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(proxy_location="Disabled")
        yield serve.run(
            Part.options(ray_actor_options={"num_cpus": 0.1}).bind(), name="toy", route_prefix=None
        )
    finally:
        serve.shutdown()
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_callers_hear_nothing_of_a_replica_that_dies(handle: DeploymentHandle) -> None:
    part = RemoteVqa(handle, waiting=Waiting("judge", partial(sign_of_life, "judge", handle), 300))
    whole = from_array(SMOOTH)
    picture = FilePicture(whole.rgb, whole.key, to_png(whole), ImageConfig(), whole.key)

    async def ask(client: int, until: asyncio.Event) -> set[str]:
        """The replicas that have answered."""
        pids, number = set(), 0
        while not until.is_set():
            number += 1
            question, width, pid = (await part.vqa(picture, f"{client}-{number}")).split()
            assert (question, width) == (f"{client}-{number}", "1500")
            pids.add(pid)
        return pids

    async def other_than(pid: int) -> int:
        while (now := int((await part.vqa(picture, "who")).split()[2])) == pid:
            await asyncio.sleep(0.1)
        return now

    async def run() -> None:
        over = asyncio.Event()
        callers = [asyncio.create_task(ask(client, over)) for client in range(CALLERS)]
        first = await other_than(0)
        os.kill(first, signal.SIGKILL)
        began = time.monotonic()
        second = await other_than(first)
        print(f"\nback {time.monotonic() - began:.1f} s after kill -9")
        assert (await part.vqa(picture, "break")).startswith("break")
        began = time.monotonic()
        third = await other_than(second)
        print(f"back {time.monotonic() - began:.1f} s after its own end")
        over.set()
        seen = set.union(*await asyncio.gather(*callers))
        assert seen >= {str(first), str(third)}

    asyncio.run(run())
