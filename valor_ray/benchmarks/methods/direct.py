"""The VLM alone: one picture, one question, one answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from valor_ray.benchmarks.methods.method import Answers, Method, Setup, load
from valor_ray.benchmarks.methods.writer import prompt
from valor_ray.errors import JudgeError
from valor_ray.images import to_jpeg_uri
from valor_ray.records import JudgeRequest, Picture, Query
from valor_ray.wiring import judging, vlm_cache

if TYPE_CHECKING:
    from valor_ray.config.judging import JudgeConfig

VERSION = "1"  # of the request below, the prompt's text apart, which is part of the cache key as it is
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "description": "the answer alone"}},
    "required": ["answer"],
    "additionalProperties": False,
}
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)


@asynccontextmanager
async def _open(setup: Setup) -> AsyncIterator[Answers]:
    """One call of `vlm` a question, through this process's gateway; answers are kept in OUT."""
    endpoint, part = setup.config.vlm, setup.config.vlm_part
    async with judging(endpoint, vlm_cache(setup.out), part) as vlm:

        async def answer(query: Query) -> Mapping[str, Any]:
            reply = (await vlm.ask([request(query.question, load(setup, query), endpoint)]))[0]
            if reply.content is None:
                raise JudgeError(reply.missing)
            return {
                "answer": extracted(str(reply.content["answer"])),
                "error": None,
                "status": "ok",
            }

        yield answer


def request(question: str, picture: Picture, endpoint: JudgeConfig) -> JudgeRequest:
    """The whole picture and the question, as they are."""
    uri = to_jpeg_uri(picture, endpoint.jpeg_quality, endpoint.max_side)
    shown = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": question}]
    return JudgeRequest(
        head="direct",
        version=VERSION,
        messages=({"role": "system", "content": prompt("direct")}, {"role": "user", "content": shown}),
        schema=SCHEMA,
        patience_s=endpoint.timeout_s * (endpoint.retries + 1),
    )


def extracted(said: str) -> str:
    """The last answer in tags, else all of it; for every VLM the same."""
    tagged = _TAGGED.findall(said)
    return (tagged[-1] if tagged else said).strip()


METHOD = Method(
    "direct",
    "the VLM answers",
    _open,
    ("GPT-4o, GPT-5-mini, Gemini by their own prompts: the model of `vlm`, by one prompt of ours",),
    sees=False,
    writes=False,
)
