"""One question of a run, through ports: sampled, run, chosen, and told apart from a failure of the parts."""

from __future__ import annotations

from dataclasses import dataclass

from valor_ray.answer import ProgramRunner, answer
from valor_ray.asking.kept import Kept, kept_answer, kept_selected
from valor_ray.asking.watched import Watched
from valor_ray.errors import ServiceError
from valor_ray.ports import Depth, Detector, Policy, Vqa
from valor_ray.reasoning.reward import Rewarding
from valor_ray.records import Picture
from valor_ray.repairs import Repairs
from valor_ray.selecting.select import Select, answer_selected
from valor_ray.tools import LiveTools


@dataclass(frozen=True)
class Chain:
    """All that answering needs."""

    policy: Policy
    detector: Detector
    depth: Depth
    vqa: Vqa
    sandbox: ProgramRunner
    patience_s: (
        float  # a look that is cut off after so long has failed, and not the program that waited for it
    )
    rewarding: Rewarding | None = None  # of selecting.reward_for; None: votes choose


async def ask(
    question: str,
    picture: Picture,
    chain: Chain,
    *,
    seed: int,
    samples: int = 1,
    select: Select = Select.VOTE,
    repairs: int = 0,
) -> Kept:
    """What is kept of the answer. repairs: times that a reply whose program failed is written anew.

    Called by the workers of `valor eval` and by held-out evaluation. Waits for policy, tools and judges. A failure of
    reply or program stands in the record. Raises PolicyError when there is no reply, ServiceError when detector, depth
    or VQA failed: that is no answer, also where a program has gone on without.
    """
    watched = Watched(chain.detector, chain.depth, chain.vqa, chain.patience_s)
    tools = LiveTools(picture, watched, watched, watched)
    mending = Repairs(repairs, lambda: watched.failure)
    if samples == 1:
        one = await answer(question, picture, chain.policy, chain.sandbox, tools, seed=seed, repairs=mending)
        record = kept_answer(one)
    else:
        record = kept_selected(
            await answer_selected(
                question, picture, chain.policy, chain.sandbox, tools,
                samples=samples, select=select, rewarding=chain.rewarding, seed=seed, repairs=mending,
            )
        )  # fmt: skip
    if watched.failure is not None:
        raise ServiceError(watched.failure)
    return record
