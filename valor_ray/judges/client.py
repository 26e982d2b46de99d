"""The judge behind any OpenAI-compatible endpoint, hosted or offline: one client for both."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from valor_ray.errors import JudgeError
from valor_ray.images import to_jpeg_uri
from valor_ray.judges.failures import explain
from valor_ray.records import Picture

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

    from valor_ray.config import JudgeConfig

_MALFORMED_TRIES = 2  # a reply that breaks the schema is asked for once more, then it is an error
VQA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "description": "the short answer, lower case"}},
    "required": ["answer"],
    "additionalProperties": False,
}


class JudgeClient:
    """ports.Judge over HTTP. Make and use it in one event loop; `close` ends its connections.

    A 429, a 5xx, a time-out and a lost connection are tried again `config.retries` times, with growing pauses and
    Retry-After obeyed (by the openai package).
    """

    def __init__(self, config: JudgeConfig, api_key: str | None = None) -> None:
        """`api_key`: what to send, None: what `config.api_key_env` names. Raises ConfigError when that is not set."""
        from openai import AsyncOpenAI

        if config.base_url is None:
            raise JudgeError("judge.base_url is not set: start the offline judge first and pass its URL.")
        self._config = config
        self._openai = AsyncOpenAI(
            base_url=config.base_url,
            api_key=api_key if api_key is not None else config.api_key(),
            timeout=config.timeout_s,
            max_retries=config.retries,
        )

    async def vqa(self, picture: Picture, question: str) -> str:
        """Short lower-case answer about the picture (a crop or a whole image). Raises JudgeError."""
        uri = to_jpeg_uri(picture, self._config.jpeg_quality, self._config.max_side)
        for _ in range(_MALFORMED_TRIES - 1):
            answer = _read_answer(await self._ask(uri, question))
            if answer is not None:
                return answer
        reply = await self._ask(uri, question)
        answer = _read_answer(reply)
        if answer is None:
            raise JudgeError(
                f"The judge {self._config.model!r} at {self._config.base_url} did not keep to the answer format: "
                f'wanted {{"answer": "…"}}, got {_excerpt(reply)}. Choose a model with structured output (judge.model).'
            )
        return answer

    async def _ask(self, uri: str, question: str) -> ChatCompletion:
        import openai

        try:
            return await self._openai.chat.completions.create(
                model=self._config.model,
                messages=[
                    {"role": "system", "content": _prompt("vqa")},
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": uri}},
                            {"type": "text", "text": question},
                        ],
                    },
                ],
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "vqa", "strict": True, "schema": VQA_SCHEMA},
                },
            )
        except openai.APIError as error:
            # Without the cause: an endpoint's own text and headers may repeat the key.
            raise JudgeError(explain(error, self._config)) from None
        except ValueError as error:
            raise JudgeError(
                f"The judge at {self._config.base_url} answered something other than JSON: is this an "
                "OpenAI-compatible endpoint? Check judge.base_url (it usually ends in /v1)."
            ) from error

    async def close(self) -> None:
        await self._openai.close()


@cache
def _prompt(name: str) -> str:
    return files("valor_ray").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8").strip()


def _content(reply: ChatCompletion) -> str | None:
    """The text of the first choice; None when an endpoint sent something that only looks like a completion."""
    choices = getattr(reply, "choices", None)
    return choices[0].message.content if choices and choices[0].message else None


def _read_answer(reply: ChatCompletion) -> str | None:
    """The answer, when the reply is exactly {"answer": non-empty string}."""
    try:
        data = json.loads(_content(reply) or "")
    except ValueError:
        return None
    if not isinstance(data, dict) or set(data) != {"answer"} or not isinstance(data["answer"], str):
        return None
    return data["answer"].strip().lower().removesuffix(".") or None


def _excerpt(reply: ChatCompletion) -> str:
    text = _content(reply)
    return "no text" if text is None else repr(text[:120])
