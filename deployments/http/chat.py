"""The OpenAI-compatible way in: model `valor`, a picture and a question in the messages, the answer as content."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi.responses import Response, StreamingResponse

from deployments.http.errors import Json, RequestError
from deployments.http.input import read_object
from deployments.http.schema.chat_fields import ROLES, ChatRequest
from deployments.http.schema.fields import checked
from valor_ray.records import Answer

MODEL = "valor"
_CARD = {"id": MODEL, "object": "model", "created": 0, "owned_by": "valor_ray"}


@dataclass(frozen=True)
class Chat:
    question: str  # all text of the last user message
    image: str | None  # the picture of the last user message that has one: data URI, or URL
    seed: int | None
    trace: bool  # add the whole answer record as `message.valor`
    stream: bool
    usage: bool  # end a stream with the tokens
    samples: int | None = None
    select: str | None = None
    repairs: int | None = None


def models() -> dict[str, Any]:
    return {"object": "list", "data": [_CARD]}


def model(name: object) -> dict[str, Any]:
    """The model of this name. Raises RequestError (404)."""
    if name != MODEL:
        shown = repr(name[:60]) if isinstance(name, str) else "of no name"
        message = f"There is no model {shown} here; ask for {MODEL!r}."
        raise RequestError(404, "model_not_found", message, param="model")
    return _CARD


def read(body: bytes) -> Chat:
    """Check a body, whatever its media type says. What each field of OpenAI's does here: ChatRequest.

    Raises RequestError: 404 for another model, 400 for anything that is not one question.
    """
    fields = read_object(body)
    model(fields.get("model"))
    asked = checked(ChatRequest, fields)
    question, image = _user_content(asked.messages)
    usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
    return Chat(
        question,
        image,
        asked.seed,
        bool(asked.trace),
        bool(asked.stream),
        usage,
        asked.samples,
        asked.select,
        asked.repairs,
    )


def _user_content(messages: list[dict[str, Any]]) -> tuple[str, str | None]:
    question, image = None, None
    for message in messages:
        role = message.get("role")
        if role not in ROLES:
            raise _refused(f"A message's `role` must be one of {', '.join(ROLES)}.")
        if role != "user":
            continue
        texts, pictures = _split(message.get("content"))
        question, image = "\n".join(texts), pictures or image
    if question is None:
        raise _refused("There is no message with role `user` in `messages`.")
    if image is not None and len(image) > 1:
        raise _refused(f"One picture a question: the last message with pictures has {len(image)}.")
    return question, image and image[0]


def _split(content: object) -> tuple[list[str], list[str]]:
    """Texts and picture addresses of one message's content, as chat completions or as responses spell them."""
    if isinstance(content, str):
        return [content], []
    texts: list[str] = []
    pictures: list[str] = []
    for part in content if isinstance(content, list) else [None]:
        match part:
            case {"type": "text" | "input_text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url" | "input_image", "image_url": str(url) | {"url": str(url)}}:
                pictures.append(url)
            case _:
                raise _refused(
                    'A user message\'s content is text, or a list of {"type": "text", "text": …} and '
                    '{"type": "image_url", "image_url": {"url": …}}.'
                )
    return texts, pictures


def _refused(message: str) -> RequestError:
    return RequestError(400, "request", message, param="messages")


def respond(asked: Chat, answer: Answer, shown: dict[str, Any]) -> Response:
    """A `chat.completion`, or its stream in one piece. A question that failed has empty content and a `refusal`.

    shown: as the reply of /v1/answer. `usage` is of the policy's prompt and replies, as its engine counted them.
    """
    text = "" if answer.error else as_text(answer.answer)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": answer.error}
    if asked.trace:
        message["valor"] = shown
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": MODEL}
    prompt, completion = answer.tokens
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if asked.stream:
        events = _events(head, message, usage if asked.usage else None)
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return Json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def as_text(answer: object) -> str:
    """An answer as a chat message: text as it is, booleans as yes or no, all else as JSON."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _events(head: dict[str, Any], message: dict[str, Any], usage: dict[str, int] | None) -> Iterator[str]:
    """usage: for a last chunk of its own, without choices; None: nobody has asked for it."""
    chunk = {**head, "object": "chat.completion.chunk"} | ({"usage": None} if usage else {})
    for delta, reason in ((message, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        yield f"data: {json.dumps(chunk | {'choices': [choice]})}\n\n"
    if usage:
        yield f"data: {json.dumps(chunk | {'choices': [], 'usage': usage})}\n\n"
    yield "data: [DONE]\n\n"
