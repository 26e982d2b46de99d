"""The judges' ledger for a whole cluster, in one named actor: stored answers, claims, budgets, and offline judges."""

from __future__ import annotations

import asyncio
import contextvars
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from deployments.actors.named import NAMESPACE, open_named
from deployments.failures import ours_as_raised
from valor_ray import __version__
from valor_ray.judges.gateway.answers import StoredAnswer
from valor_ray.judges.gateway.ledger import Claimed, Ledger
from valor_ray.judges.gateway.limits.budget import Budget, Lease, Limits
from valor_ray.judges.gateway.limits.spending import Purse
from valor_ray.judges.gateway.offline import OfflineJudge
from valor_ray.records import Usage
from valor_ray.runs.together import Together

_TOGETHER_S = 0.002  # claims that come within this time travel in one call
_CLOSE_S = 5.0
NAME = f"judge_ledger-{__version__}"  # another version's ledger would speak another language


class JudgeLedger:
    """The actor: a ledger for each folder of answers, one set of budgets, the offline judges.

    Judge replicas call it, through RemoteLedger, and wait for nothing but the disk, an offline judge that starts, and
    in `wait` for another owner. It is restarted when it dies: answers are on disk, budgets start spent, claims are made
    again.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="valor-judge-")
        self._ledgers: dict[str, Ledger] = {}
        self._budgets: dict[str, Budget] = {}
        self._offline: dict[tuple[str, float, float], OfflineJudge] = {}  # by model, noise, delay
        self._starting = asyncio.Lock()
        self._starts = 0

    async def call(self, folder: str, method: str, *args: Any) -> Any:
        """A method of a folder's ledger. One entry point, so that the proxy below cannot drift from it."""
        return await getattr(self._ledger(folder), method)(*args)

    def _ledger(self, folder: str) -> Ledger:
        if folder not in self._ledgers:
            path = Path(folder).expanduser() if folder else Path(self._temporary.name)
            self._ledgers[folder] = Ledger(path, self._budgets)
        return self._ledgers[folder]

    async def offline_judge(self, model: str, noise: float, delay_s: float) -> str:
        """URL of the offline judge with these settings, started when it does not run."""
        async with self._starting:
            running = self._offline.get((model, noise, delay_s))
            if running is None or running.process.poll() is not None:
                running = self._offline[model, noise, delay_s] = await asyncio.to_thread(
                    OfflineJudge, model, noise, delay_s
                )
                self._starts += 1
            return running.base_url

    async def status(self, folder: str) -> dict[str, Any]:
        ledger = self._ledger(folder)
        return {**await ledger.status(), "starts": self._starts, "warning": ledger.warning}

    async def close(self) -> None:
        for ledger in self._ledgers.values():
            ledger.close()
        for judge in self._offline.values():
            await asyncio.to_thread(judge.close)
        self._temporary.cleanup()


def open_judge_ledger() -> ActorHandle:
    """The cluster's ledger, made by whoever asks first. It stays until `close_judge_ledger`, or the cluster's end."""
    return open_named(JudgeLedger, NAME, at_once=10_000)


def close_judge_ledger() -> None:
    """End the ledger and the offline judges with them: on a Ray that is ours alone."""
    try:
        ledger = ray.get_actor(NAME, NAMESPACE)
    except ValueError:
        return  # never opened
    with suppress(ray.exceptions.RayError):  # it is ended in any case
        ray.get(ledger.close.remote(), timeout=_CLOSE_S)
    ray.kill(ledger)


class RemoteLedger:
    """ledger.LedgerPort over the actor: what a gateway in another process than the ledger is given.

    The judge deployment makes one a replica, and its gateways call it. Every method waits for the actor, `wait` for
    whoever holds the key too; an actor that dies starts again and is asked again.
    """

    def __init__(self, ledger: ActorHandle, folder: str) -> None:
        """folder: where answers are kept; "": for the life of the ledger, as for a service without a run."""
        self._ledger = ledger
        self._folder = folder
        self._claims: dict[str, Together[Sequence[str], Sequence[Claimed]]] = {}  # by owner: a gateway each

    async def claim(self, keys: Sequence[str], owner: str) -> Sequence[Claimed]:
        """Claims that come within a moment travel in one call."""
        if owner not in self._claims:
            self._claims[owner] = Together(partial(self._claim_together, owner), _TOGETHER_S)
        return await self._claims[owner](keys)

    async def _claim_together(self, owner: str, wanted: list[Sequence[str]]) -> list[Sequence[Claimed]]:
        claimed = iter(await self._call("claim", [key for keys in wanted for key in keys], owner))
        return [[next(claimed) for _ in keys] for keys in wanted]

    async def wait(self, key: str, owner: str) -> StoredAnswer | None:
        return await self._call("wait", key, owner)

    async def store(self, owner: str, answers: Mapping[str, StoredAnswer]) -> str:
        return await self._call("store", owner, answers)

    async def release(self, owner: str, keys: Sequence[str]) -> None:
        await self._call("release", owner, keys)

    async def renew(self, owner: str) -> None:
        await self._call("renew", owner)

    async def lease(
        self, account: str, limits: Limits, requests: int, tokens_each: int, purse: Purse | None = None
    ) -> Lease:
        return await self._call("lease", account, limits, requests, tokens_each, purse)

    async def paid_for_nothing(self, model: str, usage: Usage) -> None:
        await self._call("paid_for_nothing", model, usage)

    async def settle(self, account: str, tokens_estimated: int, tokens_used: int) -> None:
        await self._call("settle", account, tokens_estimated, tokens_used)

    async def _call(self, method: str, *args: Any) -> Any:
        """In no request's context: a claim, a wait or an answer to be stored is of use to others when the caller for
        whom it began hangs up, and Ray would cancel it with what else that one's request has called."""
        with ours_as_raised():
            return await contextvars.Context().run(self._ledger.call.remote, self._folder, method, *args)
