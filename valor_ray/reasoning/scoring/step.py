"""Scoring one reply: the step behind `valor score`, without Ray and without files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any

from valor_ray.errors import JudgeError
from valor_ray.reasoning.reward import reward_record
from valor_ray.records import Reward

FIELDS = ("reply_id", "query_id", "content", "question", "reply", "canary")  # text; canary: "" or its name
Rewarding = Callable[[str, str], Awaitable[Reward]]  # (question, reply) -> its reward


class Fate(StrEnum):
    """What has become of a row."""

    SCORED = "scored"
    MISSING = "missing"  # a verdict is missing: judged again by the next run
    FAILED = "failed"  # the row itself, or scoring it, failed
    CANARY = "canary"


async def score_row(row: Mapping[str, Any], rewarder: Rewarding) -> dict[str, Any]:
    """The row's record: its FIELDS and the parts of its reward, or `error`.

    Raises JudgeError when every further row must fail too (a refused key).
    """
    record = {name: row[name] for name in FIELDS}
    try:
        return record | reward_record(await rewarder(row["question"], row["reply"]))
    except JudgeError:
        raise
    except Exception as error:  # noqa: BLE001  # one row's failure is a row of the output, never the end of the run
        return record | failure(f"{type(error).__name__}: {error}")


def failure(error: str) -> dict[str, Any]:
    """What stands in a record in place of a reward."""
    return {"value": None, "error": error}


def fate(record: Mapping[str, Any]) -> Fate:
    if record["canary"]:
        return Fate.CANARY
    if record.get("error"):
        return Fate.FAILED
    return Fate.MISSING if record["value"] is None else Fate.SCORED
