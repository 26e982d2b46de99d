"""A judge that fails a third of the time: verdicts are missing, never no, and groups are made of what is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from valor_ray.config.judging import RewardConfig
from valor_ray.reasoning.reward import Rewarder
from valor_ray.reasoning.training import rollout
from valor_ray.reasoning.training.advantage import advantages
from valor_ray.reasoning.training.folder import FolderSamples
from valor_ray.reasoning.training.rollout import RolloutResult, roll_out
from valor_ray.reasoning.training.schedule import Assignment
from valor_ray.records import JUDGED, Head, JudgeReply, JudgeRequest, Query, Reply, Sampling, Verdict

V = "step-000002"
QUERIES = tuple(Query(f"q{n}", f"How many balls, {n}?") for n in range(6))


class Policy:
    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        return [
            [
                Reply(
                    f"<plan>Count them, {question} {j}.</plan><answer>final_answer = {j}</answer>",
                    (1, 2), (-0.1, -0.2), V, "stop", (7,), ((V, 2),),
                )
                for j in range(n)
            ]
            for question in questions
        ]  # fmt: skip


class Failing:
    """ports.Judge: every third request fails; what it has answered it keeps, as the gateway does."""

    def __init__(self) -> None:
        self.kept: dict[str, JudgeReply] = {}
        self.requests = 0

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        return [self._one(request) for request in requests]

    def _one(self, request: JudgeRequest) -> JudgeReply:
        key = repr(request)
        if key not in self.kept:
            self.requests += 1
            if self.requests % 3 == 0:
                return JudgeReply(None, "HTTP 503")
            verdict = "no" if sum(key.encode()) % 2 else "yes"
            self.kept[key] = JudgeReply({"verdict": verdict, "reason": "said so"}, "")
        return self.kept[key]


async def runs(code: str) -> Verdict:
    return Verdict(True, "it runs")


@pytest.fixture
def outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RolloutResult:
    monkeypatch.setattr(rollout, "_ASK_AGAIN_S", (0.0, 0.0, 0.0))
    rewarder = Rewarder(runs, Failing(), RewardConfig())
    work = Assignment(3, 0, len(QUERIES), QUERIES, seed=5, canaries=0)
    sampling = Sampling(1.0, 1.0, 100)
    return asyncio.run(roll_out(work, 4, Policy(), sampling, rewarder, FolderSamples(tmp_path), 60.0))


def test_what_the_judge_owes_is_missing_and_never_no(outcome: RolloutResult) -> None:
    missing = [row for row in outcome.rollouts if row.value is None]
    assert 0 < len(missing) <= len(outcome.rollouts) / 2  # with more it would have been asked again
    for row in outcome.rollouts:
        failed = [head for head in JUDGED if row.reasons[head.value] == "HTTP 503"]
        assert all(getattr(row, head.value) is None for head in failed)
        assert (row.value is None) == bool(failed) and (row.fate == "missing") == bool(failed)
        said = {head for head in JUDGED if row.reasons[head.value] == "said so"}
        assert said | set(failed) == set(JUDGED) and all(
            getattr(row, head.value) in (True, False) for head in said
        )
        assert row.format is True and getattr(row, Head.SYNTAX.value) is True


def test_groups_are_made_of_known_rewards_alone(outcome: RolloutResult) -> None:
    groups = {row.group for row in outcome.rollouts}
    lacking = 0
    for number in groups:
        group = [row for row in outcome.rollouts if row.group == number]
        known = [row for row in group if row.value is not None]
        lacking += len(known) < len(group)
        marks = advantages([row.value for row in known])
        assert [(row.fate, row.advantage) for row in known] == [(use.value, mark) for use, mark in marks]
        assert all(row.advantage is None for row in group if row.value is None)
        used = [row.advantage for row in known if row.advantage is not None]
        assert sum(used) == pytest.approx(0, abs=1e-9)
    assert lacking and any(row.fate == "used" for row in outcome.rollouts)
