"""A reply as a row to be scored, and its record: what `valor score` writes, and what training writes of canaries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from valor_ray.errors import JudgeError
from valor_ray.reasoning.reward import Rewarding, reward_record

if TYPE_CHECKING:
    from valor_ray.judges.audit import Canary

FIELDS = ("reply_id", "query_id", "content", "question", "reply", "canary")  # text; canary: "" or its name


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


def canary_row(canary: Canary) -> dict[str, str]:
    """A canary in the shape of a reply: nothing that scores it can tell it from one."""
    return {
        "reply_id": f"canary:{canary.canary_id}",
        "query_id": "",
        "content": content_hash(canary.question, canary.reply),
        "question": canary.question,
        "reply": canary.reply,
        "canary": canary.canary_id,
    }


def content_hash(question: str, reply: str) -> str:
    """16 hex digits of sha256 over both texts."""
    return hashlib.sha256(f"{len(question)} {question}{reply}".encode()).hexdigest()[:16]
