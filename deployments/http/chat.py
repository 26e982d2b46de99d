"""The OpenAI-compatible way in: model `valor`, a picture and a question in the messages, the answer as content."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from deployments.http.errors import Json, RequestError
from deployments.http.input import read_object
from valor_ray.answer import to_json
from valor_ray.records import Answer

MODEL = "valor"


@dataclass(frozen=True)
class ChatRequest:
    question: str  # all text of the last user message
    image: str | None  # the last picture of the user's messages: data URI, or URL
    seed: int | None
    trace: bool  # add the whole answer record as `message.valor`
    stream: bool


def models() -> dict[str, Any]:
    return {
        "object": "list",
        "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "valor_ray"}],
    }


async def read(request: Request) -> ChatRequest:
    """Check the body. Sampling settings that clients send along are passed over: the server's own apply.

    Raises RequestError: 404 for another model, 400 for anything that is not one question.
    """
    body = await read_object(request)
    model = body.get("model")
    if model != MODEL:
        raise RequestError(404, "model_not_found", f"There is no model {model!r} here; ask for {MODEL!r}.")
    if body.get("n") not in (None, 1):
        raise RequestError(400, "request", "One question has one answer here: leave `n` out or set it to 1.")
    seed, trace, stream = body.get("seed"), body.get("trace", False), body.get("stream", False)
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**31):
        raise RequestError(400, "request", "`seed` must be a whole number from 0 to 2147483647.")
    question, image = _user_content(body.get("messages"))
    return ChatRequest(question, image, seed, bool(trace), bool(stream))


def _user_content(messages: object) -> tuple[str, str | None]:
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise RequestError(400, "request", "`messages` must be a list of objects with `role` and `content`.")
    question, image = None, None
    for message in messages:
        if message.get("role") != "user":
            continue
        texts, pictures = _split(message.get("content"))
        question = "\n".join(texts)
        image = pictures[-1] if pictures else image
    if question is None:
        raise RequestError(400, "request", "There is no message with role `user` in `messages`.")
    return question, image


def _split(content: object) -> tuple[list[str], list[str]]:
    """Texts and picture addresses of one message's content."""
    if isinstance(content, str):
        return [content], []
    texts: list[str] = []
    pictures: list[str] = []
    for part in content if isinstance(content, list) else [None]:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                pictures.append(url)
            case _:
                raise RequestError(
                    400,
                    "request",
                    'A user message\'s content is text, or a list of {"type": "text", "text": …} and '
                    '{"type": "image_url", "image_url": {"url": …}}.',
                )
    return texts, pictures


def respond(asked: ChatRequest, answer: Answer) -> Response:
    """A `chat.completion`, or its stream in one piece. A question that failed has empty content and a `refusal`."""
    text = "" if answer.error else as_text(answer.answer)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": answer.error}
    if asked.trace:
        message["valor"] = to_json(answer)
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": MODEL}
    if asked.stream:
        return StreamingResponse(_events(head, message), media_type="text/event-stream")
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return Json({**head, "object": "chat.completion", "choices": [choice]})


def as_text(answer: object) -> str:
    """An answer as a chat message: text as it is, booleans as yes or no, all else as JSON."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _events(head: dict[str, Any], message: dict[str, Any]) -> Iterator[str]:
    for delta, reason in ((message, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        yield f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"
    yield "data: [DONE]\n\n"
