"""The policy: one vLLM engine per replica."""

from __future__ import annotations

from typing import Any

from ray import serve

from valor_ray.config import PolicyConfig
from valor_ray.records import Reply


@serve.deployment(name="policy")
class PolicyDeployment:
    """Samples replies; the engine batches concurrent questions by itself, so there is no serve.batch here."""

    async def __init__(self, config: PolicyConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        from valor_ray.models.vllm_policy import VllmPolicy

        self._policy = VllmPolicy(config)
        await self._policy.start()

    async def generate(self, question: str, n: int, seed: int | None) -> list[Reply]:
        """n replies to one question. Raises PolicyError."""
        return await self._policy.generate(question, n=n, seed=seed)

    async def check_health(self) -> None:
        """Called by Serve, which replaces the replica when the engine has died. Raises PolicyError."""
        await self._policy.healthy()

    async def status(self) -> dict[str, Any]:
        return {"version": self._policy.version}

    def __del__(self) -> None:
        self._policy.close()
