"""One assignment of a training step: sample its groups, reward them, replace those that nothing can be learnt from."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from valor_ray.errors import JudgeError
from valor_ray.judges.audit import canaries
from valor_ray.ports import Sampler
from valor_ray.reasoning.reward import Rewarder, Rewarding, lasting, reward_record
from valor_ray.reasoning.scenes.check import together
from valor_ray.reasoning.score_row import canary_row, score_row
from valor_ray.reasoning.training.advantage import Use, advantages
from valor_ray.reasoning.training.schedule import Assignment
from valor_ray.records import Head, Query, Reply, Reward, Rollout, Sample, Sampling, Verdict

_GROUPS = 100_000  # more than an assignment has
_Begun = dict[str, "asyncio.Future[Reward]"]  # by rollout_id
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
    *,
    group_by_group: bool = False,
) -> RolloutResult:
    """Rollouts of `assignment.groups` useful groups, or as many as queries and reserve give.

    Called by RolloutStep, in a rollout worker on Ray; waits for the policy, then for the judges of all its samples.
    group_by_group: a call of the sampler a group, all at once, and the judges begin with the first that is there; else
    one call, whose replies are the same whenever they are asked for. reward_patience_s: after so long a reward is
    missing, whatever hangs. Raises PolicyError when there are no samples, JudgeError when the judge refuses every call,
    or has given few verdicts although it was asked again and again.
    """
    waiting: list[Query] = list(assignment.queries)
    rollouts: list[Rollout] = []
    useful, part, sample_s, judge_s = 0, 0, 0.0, 0.0
    begun: _Begun = {}
    auditing = asyncio.create_task(_audit(assignment, rewarder, reward_patience_s))
    auditing.add_done_callback(_heard)
    try:
        while useful < assignment.groups and waiting:
            asked = waiting[: assignment.groups - useful]
            first_group = len(assignment.queries) - len(waiting)
            start = time.monotonic()
            if isinstance(rewarder, Rewarder):
                rewarder.prepare(query.question for query in asked)
            ask = _Ask(assignment, asked, first_group, part, samples_each, sampling)
            if group_by_group:
                judge = partial(_begin, begun, rewarder, reward_patience_s)
                samples = await _group_by_group(ask, sampler, kept_samples, judge)
            else:
                samples = await _in_one_call(ask, sampler, kept_samples)
            waiting = waiting[len({sample.group for sample in samples}) :]
            sampled = time.monotonic()
            rewards = await _rewards(samples, rewarder, reward_patience_s, begun)
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
        for reward in begun.values():
            reward.cancel()


@dataclass(frozen=True)
class _Ask:
    """A part of an assignment: groups that are sampled together."""

    assignment: Assignment
    queries: Sequence[Query]
    first_group: int
    part: int
    samples_each: int
    sampling: Sampling

    @property
    def seed(self) -> int:
        return self.assignment.seed + 7919 * self.part


async def _in_one_call(ask: _Ask, sampler: Sampler, kept_samples: KeptSamples) -> list[Sample]:
    name = ask.assignment.assignment_id
    samples = _still_wanted(kept_samples.kept(name, ask.part), ask.queries, ask.first_group)
    if not samples:
        questions = [query.question for query in ask.queries]
        replies = await sampler.sample(questions, n=ask.samples_each, seed=ask.seed, sampling=ask.sampling)
        samples = _samples(ask.assignment, ask.queries, ask.first_group, replies)
        kept_samples.keep(name, ask.part, samples)
    return samples


async def _group_by_group(
    ask: _Ask, sampler: Sampler, kept_samples: KeptSamples, judge: Callable[[Sequence[Sample]], None]
) -> list[Sample]:
    """Each group is kept by itself, before its judging begins."""

    async def one(group: int, query: Query) -> list[Sample]:
        name, number = ask.assignment.assignment_id, _GROUPS * (ask.part + 1) + group
        samples = await asyncio.to_thread(kept_samples.kept, name, number)
        if not samples or samples[0].query_id != query.query_id:
            (replies,) = await sampler.sample(
                [query.question], n=ask.samples_each, seed=ask.seed + 104729 * group, sampling=ask.sampling
            )
            samples = _samples(ask.assignment, [query], group, [replies])
            await asyncio.to_thread(kept_samples.keep, name, number, samples)
        judge(samples)
        return samples

    groups = await asyncio.gather(*(one(n, query) for n, query in enumerate(ask.queries, ask.first_group)))
    return [sample for group in groups for sample in group]


def _begin(begun: _Begun, rewarder: Rewarding, patience_s: float, samples: Sequence[Sample]) -> None:
    for sample in samples:
        reward = _in_time(rewarder, sample.question, sample.reply, patience_s)
        begun[sample.rollout_id] = asyncio.ensure_future(reward)
        begun[sample.rollout_id].add_done_callback(_heard)


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


async def _rewards(
    samples: Sequence[Sample], rewarder: Rewarding, patience_s: float, begun: _Begun
) -> list[Reward]:
    """One reward a sample. When a judge owes most of them it is ill, and those are asked for again, thrice.

    begun: rewards that are being worked out already.

    A reply that leaves its scene tests undecided has no reward either, but for that no judge is to blame.
    """

    async def one(sample: Sample) -> Reward:
        return await _in_time(rewarder, sample.question, sample.reply, patience_s)

    rewards = list(await asyncio.gather(*(begun.get(sample.rollout_id) or one(sample) for sample in samples)))
    for pause in _ASK_AGAIN_S:
        missing = [i for i, reward in enumerate(rewards) if not lasting(reward)]
        if len(missing) <= _MOST_MISSING * len(samples):
            break
        await asyncio.sleep(pause)
        again = await asyncio.gather(*(one(samples[i]) for i in missing))
        for i, reward in zip(missing, again, strict=True):
            rewards[i] = _after(rewards[i], reward)
    return rewards


def _after(before: Reward, again: Reward) -> Reward:
    """The later of two rewards of a reply, with what the earlier one took: that was paid, too."""
    usage = {
        head: together([each.usage[head] for each in (before, again) if head in each.usage])
        for head in [*before.usage, *again.usage]
    }
    return replace(again, usage=usage)


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


def _heard(task: asyncio.Future[Any]) -> None:
    """An error reaches whoever waits; where another one has ended the assignment, nobody does."""
    if not task.cancelled():
        task.exception()


async def _audit(assignment: Assignment, rewarder: Rewarding, patience_s: float) -> list[dict[str, Any]]:
    """Records of the assignment's canaries: each assignment takes other ones."""
    known = canaries()

    async def one(place: int) -> dict[str, Any]:
        row = canary_row(known[(assignment.seed + 19 * place) % len(known)])

        async def judged(question: str, reply: str) -> Reward:
            return await _in_time(rewarder, question, reply, patience_s)

        return await score_row(row, judged) | {"step": assignment.step, "shard": assignment.shard}

    return list(await asyncio.gather(*(one(place) for place in range(assignment.canaries))))
