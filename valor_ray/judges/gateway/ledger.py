"""The ledger of all gateways: stored answers, who is asking what, and each account's budget.

One ledger serves all gateways that keep their answers in its folder: in one process as it is, in a cluster by an
actor (deployments/actors/judge_ledger.py).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Protocol

from valor_ray.errors import JudgeError, StorageError
from valor_ray.judges.gateway.answers import FOR_NOTHING, AnswerStore, StoredAnswer, answer_of
from valor_ray.judges.gateway.limits.budget import LEASE_S, Budget, Lease, Lender, Limits
from valor_ray.judges.gateway.limits.spending import Purse, Spending
from valor_ray.records import Usage
from valor_ray.runs.together import Together

CLAIM_S = 15.0  # a claim that its owner has not renewed for so long is anybody's
_SEND_S = 0.05  # answers that come within this time travel to the store of a run at a URL in one part
BUSY: Literal["busy"] = "busy"  # another living owner is asking
Claimed = StoredAnswer | Literal["busy"] | None
_Claim = tuple[str, asyncio.Future[None]]  # its owner; done when it was given up or answered


class LedgerPort(Lender, Protocol):
    """What a gateway needs of the ledger, near or far: stored answers, claims, and (as a Lender) permits."""

    async def claim(self, keys: Sequence[str], owner: str) -> Sequence[Claimed]: ...

    async def wait(self, key: str, owner: str) -> StoredAnswer | None: ...

    async def store(self, owner: str, answers: Mapping[str, StoredAnswer]) -> str: ...

    async def release(self, owner: str, keys: Sequence[str]) -> None: ...

    async def renew(self, owner: str) -> None: ...

    async def paid_for_nothing(self, model: str, usage: Usage) -> None: ...


class Ledger:
    """Sees to it that no question is paid for twice and no account exceeded, however many gateways there are.

    Called by gateways: in one process as it is, in a cluster through the actor that holds it; of one event loop.
    Only `wait` waits for anybody, for as long as the other owner lives; the rest takes a disk access at most.
    """

    def __init__(self, folder: Path, budgets: dict[str, Budget] | None = None) -> None:
        """budgets: shared with other ledgers, by account. Raises JudgeError when the folder cannot be used."""
        self._store = AnswerStore(folder)
        self._claims: dict[str, _Claim] = {}
        self._seen: dict[str, float] = {}  # owner -> when it last renewed
        self._budgets = {} if budgets is None else budgets
        self._spending: dict[str, Spending] = {}  # by model, of those that have a limit
        self.hits = 0
        self._sending = asyncio.Lock()
        self._send: Together[None, None] = Together(self._send_all, _SEND_S)

    @property
    def warning(self) -> str:
        return self._store.warning

    async def claim(self, keys: Sequence[str], owner: str) -> Sequence[Claimed]:
        """For each key the stored answer; None: the owner is to ask, and to store or release; BUSY: see `wait`.

        Never waits, so that nobody holds a claim while waiting for another's.
        """
        self._seen[owner] = time.monotonic()
        answers = self._store.get_many(keys)
        self.hits += len(answers)
        return [answers.get(key) or self._claim_one(key, owner) for key in keys]

    def _claim_one(self, key: str, owner: str) -> Literal["busy"] | None:
        held = self._claims.get(key)
        if held is not None and not self._is_dead(held[0]):
            return BUSY  # also when it is the owner's own, asked for by another of its tasks
        self._take(key, owner)
        return None

    async def wait(self, key: str, owner: str) -> StoredAnswer | None:
        """The answer that whoever holds the key gets; None when that one gave up or died, and the key is now ours."""
        self._seen[owner] = time.monotonic()
        while (held := self._claims.get(key)) is not None and not self._is_dead(held[0]):
            await asyncio.wait([held[1]], timeout=CLAIM_S / 3)
            if held[1].done():
                stored = self._store.get_many([key])
                if stored:
                    self.hits += 1
                    return stored[key]
        stored = self._store.get_many([key])
        if not stored:
            self._take(key, owner)
        return stored.get(key)

    async def store(self, owner: str, answers: Mapping[str, StoredAnswer]) -> str:
        """Put answers on disk, then let those who wait for them go on. Returns a warning when the disk refuses."""
        warning = ""
        for answer in answers.values():
            self._paid(answer.model, answer.cost_usd)
        try:
            warning = self._store.put_many(answers)
            if self._store.at_url:
                await self._send(None)
        except (JudgeError, StorageError) as error:
            warning = str(error)
        await self.release(owner, list(answers))
        return warning

    async def _send_all(self, _wanted: list[None]) -> list[None]:
        """All that the store lacks, in one part: what earlier tries have not brought there, too."""
        async with self._sending:
            if rows := self._store.unsent():
                self._store.sent(await asyncio.to_thread(self._store.send, rows), rows)
        return [None] * len(_wanted)

    async def release(self, owner: str, keys: Sequence[str]) -> None:
        """Give claims up: whoever waits for them asks itself."""
        for key in keys:
            held = self._claims.get(key)
            if held is not None and held[0] == owner:
                del self._claims[key]
                if not held[1].done():
                    held[1].set_result(None)

    async def renew(self, owner: str) -> None:
        """Called every few seconds by an owner that lives."""
        self._seen[owner] = time.monotonic()

    async def lease(
        self, account: str, limits: Limits, requests: int, tokens_each: int, purse: Purse | None = None
    ) -> Lease:
        """Permits of an account; the limits of the first who asks hold for all. purse: of an endpoint that has a limit
        in dollars."""
        now = time.monotonic()
        if purse is not None:
            self._seen[purse.owner] = now
            lease = self._grant(purse, requests)
            if not lease.granted:
                return lease
            requests = lease.granted
        if account not in self._budgets:
            self._budgets[account] = Budget(*limits, now)
        return self._budgets[account].lease(now, requests, tokens_each)

    async def paid_for_nothing(self, model: str, usage: Usage) -> None:
        """Tries that gave no answer, and cost something all the same: into the account with them."""
        self._paid(model, usage.cost_usd)
        with suppress(JudgeError):  # of a full disk is told when an answer is stored
            self._store.put_many({f"{FOR_NOTHING}{uuid.uuid4().hex}": answer_of({}, model, usage)})

    def _paid(self, model: str, usd: float) -> None:
        if model in self._spending:
            self._spending[model].paid(usd)

    def _grant(self, purse: Purse, wanted: int) -> Lease:
        """By the limit in dollars alone."""
        if purse.model not in self._spending:
            self._spending[purse.model] = Spending(self._store.spent_usd(purse.model))
        spending = self._spending[purse.model]
        for owner in filter(self._is_dead, spending.owners()):
            spending.forget(owner)
        granted = spending.grant(purse, wanted)
        over = not granted and spending.is_over()
        return Lease(granted, spending.wait_s, LEASE_S, spending.spent_usd if over else None)

    async def settle(self, account: str, tokens_estimated: int, tokens_used: int) -> None:
        if account in self._budgets:
            self._budgets[account].settle(tokens_estimated, tokens_used)

    async def status(self) -> dict[str, Any]:
        return {"answers": len(self._store), "hits": self.hits, "claims": len(self._claims)}

    def close(self) -> None:
        self._store.close()

    def _take(self, key: str, owner: str) -> None:
        held = self._claims.pop(key, None)
        if held is not None and not held[1].done():
            held[1].set_result(None)
        self._claims[key] = (owner, asyncio.get_running_loop().create_future())

    def _is_dead(self, owner: str) -> bool:
        return time.monotonic() - self._seen.get(owner, float("-inf")) > CLAIM_S
