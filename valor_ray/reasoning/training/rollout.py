"""One assignment of a training step: sample its groups, reward them, replace those that nothing can be learnt from."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from valor_ray.errors import JudgeError
from valor_ray.judges.audit import canaries
from valor_ray.ports import Sampler
from valor_ray.reasoning.reward import reward_record
from valor_ray.reasoning.scoring.step import score_row
from valor_ray.reasoning.scoring.work import canary_row
from valor_ray.reasoning.training.advantage import Use, advantages
from valor_ray.reasoning.training.schedule import Assignment
from valor_ray.records import Head, Reply, Reward, Sampling, Verdict

if TYPE_CHECKING:
    from valor_ray.queries.read import Query

Rewarding = Callable[[str, str], Awaitable[Reward]]
_MOST_MISSING = 0.5  # with a larger share of missing rewards the judge is taken for ill, and asked again
_ASK_AGAIN_S = (5.0, 30.0, 120.0)  # pauses before missing rewards are asked for again


@dataclass(frozen=True)
class Sample:
    """One reply of the policy in its place in the run."""

    rollout_id: str  # s000012-0-03-2: step, shard, group, sample
    step: int
    shard: int
    group: int
    sample: int
    query_id: str
    question: str
    reply: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]  # behaviour log-probability of each token of token_ids
    versions: tuple[tuple[str, int], ...]  # (version, tokens) in order
    finish_reason: str


class KeptSamples(Protocol):
    """Keeps samples before anybody is paid to judge them, so that a killed assignment goes on with the same ones."""

    def kept(self, assignment_id: str, part: int) -> list[Sample] | None: ...

    def keep(self, assignment_id: str, part: int, samples: Sequence[Sample]) -> None: ...


@dataclass(frozen=True)
class RolloutResult:
    """What an assignment gives."""

    step: int
    shard: int
    rollouts: list[dict[str, Any]]  # of all its groups, the useless ones too
    audit: list[dict[str, Any]]  # records of canaries
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

    reward_patience_s: after so long a reward is missing, whatever hangs. Raises PolicyError when there are no samples,
    JudgeError when the judge refuses every call, or has given few verdicts although it was asked again and again.
    """
    waiting, rollouts = list(assignment.queries), []
    useful, part, sample_s, judge_s = 0, 0, 0.0, 0.0
    auditing = asyncio.create_task(_audit(assignment, rewarder, reward_patience_s))
    try:
        while useful < assignment.groups and waiting:
            asked = waiting[: assignment.groups - useful]
            first_group = len(assignment.queries) - len(waiting)
            start = time.monotonic()
            samples = _still_wanted(kept_samples.kept(assignment.assignment_id, part), asked, first_group)
            if samples:
                asked = asked[: len({sample.group for sample in samples})]
            else:
                replies = await sampler.sample(
                    [query.question for query in asked],
                    n=samples_each,
                    seed=assignment.seed + 7919 * part,
                    sampling=sampling,
                )
                samples = [
                    _sample(assignment, first_group + i, j, asked[i].query_id, asked[i].question, reply)
                    for i, group in enumerate(replies)
                    for j, reply in enumerate(group)
                ]
                kept_samples.keep(assignment.assignment_id, part, samples)
            waiting = waiting[len(asked) :]
            sampled = time.monotonic()
            rewards = await _rewards(samples, rewarder, reward_patience_s)
            missing = [reward for reward in rewards if reward.value is None]
            if part == 0 and len(missing) > _MOST_MISSING * len(rewards):
                raise JudgeError(_ill(missing, len(rewards)))  # a step without rewards would teach nothing
            judge_s, sample_s = judge_s + time.monotonic() - sampled, sample_s + sampled - start
            found = _records(samples, rewards, samples_each)
            useful += len({row["group"] for row in found if row["fate"] == Use.USED})
            rollouts += found
            part += 1
        return RolloutResult(assignment.step, assignment.shard, rollouts, await auditing, sample_s, judge_s)
    finally:
        auditing.cancel()


def _sample(
    assignment: Assignment, group: int, index: int, query_id: str, question: str, reply: Reply
) -> Sample:
    return Sample(
        rollout_id=f"{assignment.assignment_id}-{group:02d}-{index}",
        step=assignment.step,
        shard=assignment.shard,
        group=group,
        sample=index,
        query_id=query_id,
        question=question,
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
    """One reward a sample. When most are missing the judge is ill, and those are asked for again, thrice."""

    async def one(sample: Sample) -> Reward:
        return await _in_time(rewarder, sample.question, sample.reply, patience_s)

    rewards = list(await asyncio.gather(*(one(sample) for sample in samples)))
    for pause in _ASK_AGAIN_S:
        missing = [i for i, reward in enumerate(rewards) if reward.value is None]
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


def _records(samples: Sequence[Sample], rewards: Sequence[Reward], samples_each: int) -> list[dict[str, Any]]:
    """A record a sample: what it is, its reward, its fate, its advantage within its group."""
    records = []
    for start in range(0, len(samples), samples_each):
        group = slice(start, start + samples_each)
        marks = advantages([reward.value for reward in rewards[group]])
        for sample, reward, (use, advantage) in zip(samples[group], rewards[group], marks, strict=True):
            records.append(
                asdict(sample) | reward_record(reward) | {"fate": use.value, "advantage": advantage}
            )
    return records


async def _audit(assignment: Assignment, rewarder: Rewarding, patience_s: float) -> list[dict[str, Any]]:
    """Records of the assignment's canaries: each assignment takes other ones."""
    known = canaries()

    async def one(place: int) -> dict[str, Any]:
        canary = known[(assignment.seed + 19 * place) % len(known)]
        row = canary_row(canary.canary_id, canary.question, canary.reply)

        async def judged(question: str, reply: str) -> Reward:
            return await _in_time(rewarder, question, reply, patience_s)

        return await score_row(row, judged) | {"step": assignment.step, "shard": assignment.shard}

    return list(await asyncio.gather(*(one(place) for place in range(assignment.canaries))))


def sample_from(record: Mapping[str, Any]) -> Sample:
    """A sample as it was kept (JSON)."""
    fields = {name: record[name] for name in Sample.__dataclass_fields__}
    for name in ("prompt_ids", "token_ids", "logprobs"):
        fields[name] = tuple(fields[name])
    fields["versions"] = tuple((version, count) for version, count in fields["versions"])
    return Sample(**fields)
