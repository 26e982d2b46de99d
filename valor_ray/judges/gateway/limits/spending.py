"""A limit in US dollars on what a model's answers cost, kept by any number of gateways: pure, without clock or I/O.

A permit is granted only when the money for it is there beside what is out: spent + out + one more <= the limit. So the
limit is passed by no more than calls cost above what calls have cost until then.
"""

from __future__ import annotations

from dataclasses import dataclass

from valor_ray.errors import JudgeError

_WAIT_S = 0.2  # until calls that are out have ended, and their real cost is known


class LimitReached(JudgeError):
    """Nothing is left of a limit in dollars: whoever asks several judges must not go on with the others."""


@dataclass(frozen=True)
class Purse:
    """What a gateway says with each lease, where a limit is set."""

    owner: str
    model: str
    most_usd: float
    each_usd: float  # what a call is expected to cost
    out: int  # its calls that are out
    owed_usd: float  # known to be spent, and in no stored answer yet


class Spending:
    """What one model's answers have cost, and what is out.

    Kept by Ledger, one a model. Waits for nothing.
    """

    def __init__(self, spent_usd: float) -> None:
        self.spent_usd = spent_usd
        self._out: dict[str, tuple[int, float]] = {}  # by owner: calls out, dollars for them and owed

    def paid(self, usd: float) -> None:
        self.spent_usd += usd

    def grant(self, purse: Purse, wanted: int) -> int:
        """Calls that may go out, at most `wanted`."""
        self._out[purse.owner] = (purse.out, purse.out * purse.each_usd + purse.owed_usd)
        left = purse.most_usd - self.spent_usd - sum(usd for _, usd in self._out.values())
        granted = wanted if purse.each_usd <= 0 else min(wanted, int(left / purse.each_usd + 1e-9))
        granted = max(0, granted if left >= 0 else 0)
        calls, usd = self._out[purse.owner]
        self._out[purse.owner] = (calls + granted, usd + granted * purse.each_usd)
        return granted

    def is_over(self) -> bool:
        """Whether nothing is out: what was not granted now will not be later."""
        return not any(calls for calls, _ in self._out.values())

    @property
    def wait_s(self) -> float:
        return _WAIT_S

    def forget(self, owner: str) -> None:
        """A gateway has died, or closed."""
        self._out.pop(owner, None)

    def owners(self) -> list[str]:
        return list(self._out)
