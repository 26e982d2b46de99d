"""Several judges: who is asked, and whose word counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from valor_ray.errors import JudgeError
from valor_ray.judges.gateway.combine import SharingJudges, VotingJudges, vote
from valor_ray.judges.plan_heads import SCHEMA
from valor_ray.records import JudgeReply, JudgeRequest, Usage


class Judge:
    """A gateway that always says the same."""

    def __init__(self, says: str | None, up: bool = True, broken: bool = False) -> None:
        self.says, self.up, self.broken = says, up, broken
        self.asked: list[str] = []

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        if self.broken:
            raise JudgeError("refused key")
        self.asked += [str(request.messages[0]["content"]) for request in requests]
        return [reply(self.says)] * len(requests)

    async def close(self) -> None:
        return


def reply(says: str | None) -> JudgeReply:
    content = None if says is None else {"verdict": says, "reason": "-"}
    return JudgeReply(content, "" if content else "down", Usage(1.0, 10, 1, 0.1, 1))


def requests(count: int) -> list[JudgeRequest]:
    return [JudgeRequest("logic", "1", ({"role": "user", "content": str(i)},), SCHEMA) for i in range(count)]


def combined(kind: Any, *judges: Judge) -> Any:
    return kind(judges)


def test_shared_work_is_spread_and_goes_to_the_same_judge_each_time() -> None:
    one, two = Judge("yes"), Judge("no")
    shared = combined(SharingJudges, one, two)
    replies = asyncio.run(shared.ask(requests(100)))
    again = asyncio.run(shared.ask(requests(100)))
    assert replies == again and 30 < len(set(one.asked)) < 70 and len(set(one.asked) & set(two.asked)) == 0


def test_judge_that_is_down_gets_no_shared_work() -> None:
    one, two = Judge("yes", up=False), Judge("no")
    asyncio.run(combined(SharingJudges, one, two).ask(requests(20)))
    assert one.asked == [] and len(two.asked) == 20


@pytest.mark.parametrize(
    ("ballot", "verdict"),
    [
        (("yes", "yes", "no"), "yes"),
        (("no", "yes", "no"), "no"),
        (("yes", "no"), None),
        (("yes", None, None), "yes"),
        (("yes", "no", None), None),
        ((None, None), None),
    ],
)
def test_majority_counts_and_a_tie_is_missing(ballot: tuple[str | None, ...], verdict: str | None) -> None:
    voted = vote([reply(says) for says in ballot])
    assert (None if voted.content is None else voted.content["verdict"]) == verdict
    assert voted.usage.tries == len(ballot) and voted.usage.cost_usd == pytest.approx(0.1 * len(ballot))


def test_vote_goes_on_without_a_judge_that_fails_for_good() -> None:
    voting = combined(VotingJudges, Judge("yes"), Judge("yes", broken=True), Judge("no"), Judge("yes"))
    (voted,) = asyncio.run(voting.ask(requests(1)))
    assert voted.content is not None and voted.content["verdict"] == "yes"
    with pytest.raises(JudgeError):
        asyncio.run(combined(VotingJudges, Judge("yes", broken=True)).ask(requests(1)))
