"""What a worker is given and what it gives back: an outcome for each query, picture or canary, whatever befalls that
one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from valor_ray.errors import ImageError, QuestionError, ToolError
from valor_ray.grounding.mine.step import Fetch, MineTask, PhrasesOf, mine_image, write_program
from valor_ray.judges.boxes.audit import audit_record, canary_images, variant
from valor_ray.ports import Detector, Judge, Policy
from valor_ray.records import Query

if TYPE_CHECKING:
    from valor_ray.config.tree import Config


COSTS = ("calls", "cache_hits", "prompt_tokens", "completion_tokens", "cost_usd")  # of a record


class Kind(StrEnum):
    PROGRAM = "program"
    MINED = "mined"
    CANARY = "canary"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """Of one query or order."""

    kind: Kind
    record: Mapping[str, Any]  # a line of phrases.jsonl, images.jsonl, audit.jsonl or failed.jsonl


@dataclass(frozen=True)
class CanaryOrder:
    """A canary in place of a picture."""

    number: int  # from 0, over all starts of a run


Order = MineTask | CanaryOrder


def failure(error: str, query_ids: Sequence[str], image: str = "") -> dict[str, Any]:
    """A row of failed.jsonl."""
    return {"image": image, "query_ids": list(query_ids), "error": error}


async def program_outcome(query: Query, policy: Policy, phrases_of: PhrasesOf, seed: int) -> Outcome:
    """`write_program`; a question that the policy cannot take is a failure of its own."""
    try:
        record = await write_program(query, policy, phrases_of, seed)
    except QuestionError as error:
        return Outcome(Kind.FAILED, failure(str(error), [query.query_id], query.image))
    return Outcome(Kind.PROGRAM, record.to_record())


async def picture_outcome(
    order: Order, detector: Detector, judge: Judge, config: Config, fetch: Fetch | None = None
) -> Outcome:
    """`mine_image`, or a canary. A picture that cannot be had, or on which the detector fails, is its own failure."""
    if isinstance(order, CanaryOrder):
        return Outcome(Kind.CANARY, await canary_record(order, judge, config))
    try:
        mined = await mine_image(order, detector, judge, config, fetch)
    except (ImageError, ToolError) as error:
        return Outcome(Kind.FAILED, failure(str(error), order.query_ids, order.image))
    return Outcome(Kind.MINED, mined.to_record())


async def canary_record(order: CanaryOrder, judge: Judge, config: Config) -> dict[str, Any]:
    """A line of audit.jsonl. Raises JudgeError.

    Each time round the canaries come in another variant, so that no stored answer stands in for the verifier.
    """
    known = canary_images()
    canary = variant(known[order.number % len(known)], order.number // len(known))
    record = await audit_record(judge, canary, config.grounding, config.vlm)
    return {"number": order.number, **record}


def with_canaries(tasks: Sequence[MineTask], every: int, first: int) -> list[Order]:
    """The tasks with a canary after each `every` of them; 0: none. first: number of the first canary."""
    orders: list[Order] = []
    for place, task in enumerate(tasks, start=1):
        orders.append(task)
        if every and place % every == 0:
            orders.append(CanaryOrder(first))
            first += 1
    return orders
