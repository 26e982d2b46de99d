"""The plain way to judge: threads that each take a reply and make its four calls in sequence with the sync client."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from valor_ray.perf.judge_load import TIMEOUT_S, cpu_s, figures
from valor_ray.perf.mock_judge import MockJudge
from valor_ray.records import JudgeRequest

THREADS = 24  # as the reference runs it


def judge_plainly(replies: list[list[JudgeRequest]], faults: dict[str, float]) -> dict[str, Any]:
    """Figures of judging all replies at a mock endpoint with these shares of faults."""
    import openai

    with MockJudge(**faults) as mock:
        client = openai.OpenAI(base_url=mock.base_url, api_key="none", timeout=TIMEOUT_S)

        def one(requests: list[JudgeRequest]) -> int:
            """Calls without an answer."""
            lost = 0
            for request in requests:
                schema: Any = {"name": request.head, "strict": True, "schema": dict(request.schema)}
                messages: Any = list(request.messages)
                try:
                    client.chat.completions.create(
                        model="mock",
                        messages=messages,
                        response_format={"type": "json_schema", "json_schema": schema},
                    )
                except openai.APIError:
                    lost += 1
            return lost

        before, started = cpu_s(), time.perf_counter()
        with ThreadPoolExecutor(THREADS) as threads:
            lost = sum(threads.map(one, replies))
        wall, cpu = time.perf_counter() - started, cpu_s() - before
        return {**figures(replies, wall, cpu, lost), "calls": mock.stats()["calls"]}
