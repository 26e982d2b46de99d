"""One assignment of a training step: sample its groups, reward them, replace those that nothing can be learnt from."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from valor_ray.errors import JudgeError
from valor_ray.judges.audit import canaries
from valor_ray.ports import Sampler
from valor_ray.reasoning.reward import Rewarder, Rewarding, lasting, reward_record
from valor_ray.reasoning.score_row import canary_row, score_row
from valor_ray.reasoning.training.advantage import Use, advantages
from valor_ray.reasoning.training.schedule import Assignment
from valor_ray.records import Head, Query, Reply, Reward, Rollout, Sample, Sampling, Verdict

_MOST_MISSING = 0.5  # with a larger share of rewards that a judge owes it is taken for ill, and asked again
_ASK_AGAIN_S = (5.0, 30.0, 120.0)  # pauses before missing rewards are asked for again


class KeptSamples(Protocol):
    """Keeps samples before anybody is paid to judge them, so that a killed assignment goes on with the same ones.

    roll_out asks `kept` before it samples a part and calls `keep` before it judges one; both block until the storage
    has answered. What comes back is bit for bit what was kept, or None.
    """

    def kept(self, assignment_id: str, part: int) -> list[Sample] | None: ...

    def keep(self, assignment_id: str, part: int, samples: Sequence[Sample]) -> None:
        """Whole or not at all, whenever the process is killed. Raises StorageError."""
        ...


@dataclass(frozen=True)
class RolloutResult:
    """What an assignment gives."""

    step: int
    shard: int
    rollouts: list[Rollout]  # of all its groups, the useless ones too
    audit: list[dict[str, Any]]  # records of canaries (score_row)
    sample_s: float
    judge_s: float


async def roll_out(
    assignment: Assignment,
    samples_each: int,
    sampler: Sampler,
    sampling: Sampling,
    rewarder: Rewarding,
    kept_samples: KeptSamples,
    reward_patience_s: float,
) -> RolloutResult:
    """Rollouts of `assignment.groups` useful groups, or as many as queries and reserve give.

    Called by RolloutStep, in a rollout worker on Ray; waits for the policy, then for the judges of all its samples.
    reward_patience_s: after so long a reward is missing, whatever hangs. Raises PolicyError when there are no samples,
    JudgeError when the judge refuses every call, or has given few verdicts although it was asked again and again.
    """
    waiting: list[Query] = list(assignment.queries)
    rollouts: list[Rollout] = []
    useful, part, sample_s, judge_s = 0, 0, 0.0, 0.0
    auditing = asyncio.create_task(_audit(assignment, rewarder, reward_patience_s))
    try:
        while useful < assignment.groups and waiting:
            asked = waiting[: assignment.groups - useful]
            first_group = len(assignment.queries) - len(waiting)
            start = time.monotonic()
            if isinstance(rewarder, Rewarder):
                rewarder.prepare(query.question for query in asked)
            samples = _still_wanted(kept_samples.kept(assignment.assignment_id, part), asked, first_group)
            if not samples:
                seed = assignment.seed + 7919 * part
                questions = [query.question for query in asked]
                replies = await sampler.sample(questions, n=samples_each, seed=seed, sampling=sampling)
                samples = _samples(assignment, asked, first_group, replies)
                kept_samples.keep(assignment.assignment_id, part, samples)
            waiting = waiting[len({sample.group for sample in samples}) :]
            sampled = time.monotonic()
            rewards = await _rewards(samples, rewarder, reward_patience_s)
            missing = [reward for reward in rewards if not lasting(reward)]
            if part == 0 and len(missing) > _MOST_MISSING * len(rewards):
                raise JudgeError(_ill(missing, len(rewards)))  # a step without rewards would teach nothing
            judge_s, sample_s = judge_s + time.monotonic() - sampled, sample_s + sampled - start
            rewarded = _rewarded(samples, rewards, samples_each)
            useful += len({rollout.group for rollout in rewarded if rollout.fate == Use.USED})
            rollouts += rewarded
            part += 1
        return RolloutResult(assignment.step, assignment.shard, rollouts, await auditing, sample_s, judge_s)
    finally:
        auditing.cancel()


def _samples(
    assignment: Assignment, asked: Sequence[Query], first_group: int, replies: Sequence[Sequence[Reply]]
) -> list[Sample]:
    return [
        _sample(assignment, group, index, query, reply)
        for group, (query, mine) in enumerate(zip(asked, replies, strict=True), first_group)
        for index, reply in enumerate(mine)
    ]


def _sample(assignment: Assignment, group: int, index: int, query: Query, reply: Reply) -> Sample:
    return Sample(
        rollout_id=f"{assignment.assignment_id}-{group:02d}-{index}",
        step=assignment.step,
        shard=assignment.shard,
        group=group,
        sample=index,
        query_id=query.query_id,
        question=query.question,
        reply=reply.text,
        prompt_ids=reply.prompt_ids,
        token_ids=reply.token_ids,
        logprobs=reply.logprobs,
        versions=reply.versions or ((reply.policy_version, len(reply.token_ids)),),
        finish_reason=reply.finish_reason,
    )


def _still_wanted(kept: Sequence[Sample] | None, asked: Sequence[Query], first_group: int) -> list[Sample]:
    """Of samples that a killed assignment left: the first groups asked now; later verdicts change how many."""
    there = {(sample.group, sample.query_id) for sample in kept or ()}
    wanted = set[int]()
    for group, query in enumerate(asked, first_group):
        if (group, query.query_id) not in there:
            break
        wanted.add(group)
    return [sample for sample in kept or () if sample.group in wanted]


async def _rewards(samples: Sequence[Sample], rewarder: Rewarding, patience_s: float) -> list[Reward]:
    """One reward a sample. When a judge owes most of them it is ill, and those are asked for again, thrice.

    A reply that leaves its scene tests undecided has no reward either, but for that no judge is to blame.
    """

    async def one(sample: Sample) -> Reward:
        return await _in_time(rewarder, sample.question, sample.reply, patience_s)

    rewards = list(await asyncio.gather(*(one(sample) for sample in samples)))
    for pause in _ASK_AGAIN_S:
        missing = [i for i, reward in enumerate(rewards) if not lasting(reward)]
        if len(missing) <= _MOST_MISSING * len(samples):
            break
        await asyncio.sleep(pause)
        again = await asyncio.gather(*(one(samples[i]) for i in missing))
        for i, reward in zip(missing, again, strict=True):
            rewards[i] = reward
    return rewards


def _ill(missing: Sequence[Reward], asked: int) -> str:
    reasons = Counter(
        verdict.reason for reward in missing for verdict in reward.verdicts.values() if verdict.value is None
    )
    reason = reasons.most_common(1)[0][0] if reasons else "no reason given"
    return (
        f"{len(missing)} of {asked} replies have no reward although the judge was asked {len(_ASK_AGAIN_S) + 1} times; "
        f"most often: {reason}. Mend the judge; the same command goes on with the same replies."
    )


async def _in_time(rewarder: Rewarding, question: str, reply: str, patience_s: float) -> Reward:
    try:
        return await asyncio.wait_for(rewarder(question, reply), patience_s)
    except TimeoutError:
        reason = f"no reward after {patience_s:.0f} s"
        return Reward(None, {Head.FORMAT: Verdict(None, reason)}, seconds=patience_s)


def _rewarded(samples: Sequence[Sample], rewards: Sequence[Reward], samples_each: int) -> list[Rollout]:
    """Each sample with its reward, its fate, its advantage within its group."""
    rollouts = []
    for start in range(0, len(samples), samples_each):
        group = slice(start, start + samples_each)
        marks = advantages([reward.value for reward in rewards[group]])
        for sample, reward, (use, advantage) in zip(samples[group], rewards[group], marks, strict=True):
            record = sample.to_record() | reward_record(reward)
            rollouts.append(Rollout(**record, fate=use.value, advantage=advantage))
    return rollouts


async def _audit(assignment: Assignment, rewarder: Rewarding, patience_s: float) -> list[dict[str, Any]]:
    """Records of the assignment's canaries: each assignment takes other ones."""
    known = canaries()

    async def one(place: int) -> dict[str, Any]:
        row = canary_row(known[(assignment.seed + 19 * place) % len(known)])

        async def judged(question: str, reply: str) -> Reward:
            return await _in_time(rewarder, question, reply, patience_s)

        return await score_row(row, judged) | {"step": assignment.step, "shard": assignment.shard}

    return list(await asyncio.gather(*(one(place) for place in range(assignment.canaries))))
