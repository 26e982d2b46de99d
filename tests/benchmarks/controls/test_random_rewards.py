"""Random rewards: by the call alone, with the run's statistics."""

from __future__ import annotations

import asyncio
from collections import Counter

from valor_ray.benchmarks.controls.random_rewards import RandomRewards
from valor_ray.records import Head, Reward

POOL = [
    {"value": 0.0, "format": False, "syntax": None},
    {"value": 0.5, "format": True, "syntax": True},
    {"value": 1.0, "format": True, "syntax": True},
    {"value": 1.0, "format": True, "syntax": True},
]


def rewards(seed: int, calls: list[tuple[str, str]]) -> list[Reward]:
    dealt = RandomRewards(POOL, seed)

    async def all_of() -> list[Reward]:
        return [await dealt(*call) for call in calls]

    return asyncio.run(all_of())


CALLS = [(f"question {n % 50}", f"reply {n}\ud800") for n in range(2000)]


def test_the_same_call_has_the_same_reward_whenever_it_is_asked() -> None:
    assert rewards(3, CALLS) == list(reversed(rewards(3, CALLS[::-1])))


def test_another_seed_deals_others() -> None:
    assert rewards(3, CALLS) != rewards(4, CALLS)


def test_rewards_have_the_runs_shares_and_whole_records() -> None:
    values = Counter(said.value for said in rewards(0, CALLS))
    assert set(values) == {0.0, 0.5, 1.0} and abs(values[1.0] / 2000 - 0.5) < 0.05
    for said in rewards(0, CALLS[:40]):
        assert (said.verdicts[Head.FORMAT].value is False) == (said.value == 0)
        assert (Head.SYNTAX in said.verdicts) == (said.value > 0)


def test_what_a_reply_says_does_not_matter() -> None:
    good = "<plan>\n1. Count.\n</plan>\n<answer>\nfinal_answer = 1\n</answer>"
    shares = [
        sum(said.value for said in rewards(1, [(f"q{n}", text + " " * n) for n in range(500)])) / 500
        for text in (good, "nothing")
    ]
    assert abs(shares[0] - shares[1]) < 0.1
