"""What the judges bench asks, of which judge, and what it counts: the same on every side that it compares."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psutil

from valor_ray.config.judging import JudgeConfig
from valor_ray.config.tree import Config
from valor_ray.judges.plan_heads import verdict_requests
from valor_ray.ports import Judge
from valor_ray.records import JudgeRequest

TIMEOUT_S = 10.0  # per try, on all sides


def reply_requests(number: int) -> list[JudgeRequest]:
    """The four judges of one made-up reply; another number, another reply."""
    plan = f"1. Detect the cup {number} and the plate.\n2. If nothing is found, answer no.\n3. Compare the x."
    code = f'cups = gd_detect(img_pth, "cup {number}")\nfinal_answer = "yes" if cups else "no"'
    return list(verdict_requests(f"Is the cup {number} left of the plate?", plan, code).values())


def judge_config(base_url: str, **changes: Any) -> JudgeConfig:
    """Settings of a judge at a mock endpoint."""
    changes = {"base_url": base_url, "api_key_env": None, "timeout_s": TIMEOUT_S, "model": "mock", **changes}
    return Config.load().judge.model_copy(update=changes)


async def ask_all(judge: Judge, replies: list[list[JudgeRequest]]) -> dict[str, Any]:
    """Judge all replies at once; figures of it."""
    before, started = cpu_s(), time.perf_counter()
    answers = await asyncio.gather(*(judge.ask(requests) for requests in replies))
    wall, cpu = time.perf_counter() - started, cpu_s() - before
    lost = sum(answer.content is None for group in answers for answer in group)
    return figures(replies, wall, cpu, lost)


def figures(replies: list[list[JudgeRequest]], wall: float, cpu: float, lost: int) -> dict[str, Any]:
    """Of judged replies. wall, cpu: seconds that it took; lost: calls without an answer."""
    return {
        "replies_per_second": round(len(replies) / wall, 2),
        "cpu_ms_per_call": round(1000 * cpu / sum(map(len, replies)), 3),
        "lost": lost,
    }


def cpu_s() -> float:
    """CPU seconds of this process so far."""
    return float(sum(psutil.Process().cpu_times()[:2]))
