"""VQA: a picture and a question for a judge model, through the gateway that all judges share."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from valor_ray.errors import JudgeError
from valor_ray.images import off_the_loop, to_jpeg_uri
from valor_ray.ports import Judge
from valor_ray.records import JudgeRequest, Picture

if TYPE_CHECKING:
    from valor_ray.config.judging import JudgeConfig, Part

VERSION = "1"  # of the request below, the prompt's text apart, which is part of the cache key as it is
VQA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "description": "the short answer, lower case"}},
    "required": ["answer"],
    "additionalProperties": False,
}


class VqaJudge:
    """ports.Vqa over any Judge: a checked short answer to a question about a picture, or JudgeError; never a guess.

    Called by LiveTools for each `vqa` of a program, and by the service's replicas.
    Waits for the judge, at most timeout_s × (retries + 1) of the settings: somebody is waiting for this answer.
    """

    def __init__(self, judge: Judge, config: JudgeConfig, part: Part = "judge") -> None:
        """config: of the endpoint behind `judge`; part: the section of the settings that it stands in, for messages."""
        self._judge = judge
        self._config = config
        self._part = part

    async def vqa(self, picture: Picture, question: str) -> str:
        """Short lower-case answer about the picture (a crop or a whole image). Raises JudgeError."""
        uri = await off_the_loop(
            picture.width * picture.height,
            to_jpeg_uri,
            *(picture, self._config.jpeg_quality, self._config.max_side),
        )
        request = JudgeRequest(
            head="vqa",
            version=VERSION,
            messages=(
                {"role": "system", "content": _prompt()},
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": uri}},
                        {"type": "text", "text": question},
                    ],
                },
            ),
            schema=VQA_SCHEMA,
            # someone waits for this answer: a judge that is down is an error soon, not in an hour
            patience_s=self._config.timeout_s * (self._config.retries + 1),
        )
        reply = (await self._judge.ask([request]))[0]
        answer = (
            "" if reply.content is None else str(reply.content["answer"]).strip().lower().removesuffix(".")
        )
        if not answer:
            raise JudgeError(
                reply.missing or f"The model gave an empty answer. Choose another {self._part}.model."
            )
        return answer


@cache
def _prompt() -> str:
    return files("valor_ray").joinpath("prompts", "vqa.txt").read_text(encoding="utf-8").strip()
