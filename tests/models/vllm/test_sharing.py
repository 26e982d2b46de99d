"""Whether batches have the engine to themselves; the engine is a stand-in that answers when it is told to."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from valor_ray.config.tree import Config
from valor_ray.models.vllm.policy import VllmPolicy
from valor_ray.records import Sampling


class Engine:
    """Takes requests, and answers all of them once `done` is set."""

    def __init__(self) -> None:
        self.requests, self.pauses, self.done = 0, 0, asyncio.Event()

    async def add_request(self, name: str, prompt: Any, params: Any, **more: Any) -> Any:
        self.requests += 1
        return SimpleNamespace(request_id=name, get=self._answer)

    async def _answer(self) -> Any:
        await self.done.wait()
        sample = SimpleNamespace(text="", token_ids=(), logprobs=(), weight_versions=(), finish_reason="stop")
        return SimpleNamespace(finished=True, outputs=[sample])

    async def pause_generation(self, **options: Any) -> None:
        self.pauses += 1

    async def resume_generation(self) -> None:
        pass


@pytest.mark.parametrize(("gpus", "at_work", "pauses"), [(0, 1, 2), (1, 2, 0)])
def test_batches_share_the_engine_on_a_gpu_and_have_it_alone_on_a_cpu(
    gpus: int, at_work: int, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches of a question; on a GPU the second is in the engine while the first is not done."""

    async def both() -> tuple[int, int]:
        policy = VllmPolicy(Config.load("local", [f"policy.num_gpus={gpus}"]).policy)
        engine = Engine()
        monkeypatch.setattr(policy, "_engine", engine)
        monkeypatch.setattr(policy, "_fitting_prompt", lambda question, turns=(): [1, 2, 3])
        sampling = Sampling(1.0, 1.0, 10)
        calls = [
            asyncio.create_task(policy.sample(["Why?"], n=1, seed=seed, sampling=sampling))
            for seed in range(2)
        ]
        await asyncio.sleep(0.05)
        begun = engine.requests
        engine.done.set()
        await asyncio.gather(*calls)
        return begun, engine.pauses

    assert asyncio.run(both()) == (at_work, pauses)
