"""The OpenAI chat protocol as the offline judge speaks it: checked requests in, replies and error objects out."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from valor_ray.tabletop.judge.boxes.request import PICTURES as BOX_PICTURES
from valor_ray.tabletop.judge.scenes.oracle import HEADS as SCENE_HEADS
from valor_ray.tabletop.judge.text.judged import Judged
from valor_ray.tabletop.judge.text.verdict import HEADS

MAX_PIXELS = 40_000_000
_FORMATS = {"image/jpeg": "JPEG", "image/jpg": "JPEG", "image/png": "PNG"}


class RequestRefused(Exception):
    """A request that the protocol answers with an error object."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def body(self) -> dict[str, Any]:
        kinds = {401: "authentication_error", 404: "not_found_error", 500: "server_error"}
        kind = kinds.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class JudgeRequest:
    question: str  # text of the last user message
    rgb: np.ndarray | None  # uint8 (height, width, 3); None: a judge of texts or of boxes is asked
    head: str  # name of the schema: which judge is asked
    schema: dict[str, Any] | None  # the JSON schema asked for, None for plain text
    prompt_tokens: int  # estimate: text at 4 characters a token, picture at 85 + 170 per 512-px tile
    pictures: tuple[str, ...] = ()  # data URIs, where boxes are asked about: not decoded yet


def parse_request(body: bytes, model: str) -> JudgeRequest:
    """Check one chat completion request. Raises RequestRefused."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestRefused(
            400, f"The request body is not valid JSON: {error}", code="invalid_json"
        ) from error
    if not isinstance(data, dict):
        raise RequestRefused(400, "The request body must be a JSON object.")
    asked = data.get("model")
    if not isinstance(asked, str):
        raise RequestRefused(400, "You must provide a model parameter.", "model")
    if asked != model:
        message = f"The model {asked!r} does not exist here. This server offers {model!r}."
        raise RequestRefused(404, message, "model", "model_not_found")
    if data.get("stream"):
        raise RequestRefused(
            400, "Streaming is not supported: leave out stream.", "stream", "unsupported_value"
        )
    if data.get("n", 1) not in (1, None):
        raise RequestRefused(400, "This judge gives one choice: leave out n.", "n", "unsupported_value")
    texts, question, uris = _read_messages(data.get("messages"))
    name, schema = _schema(data.get("response_format"))
    if name in (*HEADS, *SCENE_HEADS) and not uris:
        return JudgeRequest(question, None, name, schema, _tokens(texts))
    wanted = BOX_PICTURES.get(name, 1)
    if len(uris) != wanted:
        count = "exactly one picture (an image_url part)" if wanted == 1 else f"exactly {wanted} pictures"
        message = f"The last user message must hold {count}, not {len(uris)}."
        missing = len(uris) < wanted
        raise RequestRefused(400, message, "messages", "missing_image" if missing else "too_many_images")
    if name in BOX_PICTURES:
        sizes = [_picture_size(uri) for uri in uris]
        if len(set(sizes)) > 1:
            message = (
                f"The clean and the annotated picture must be of one size, not {sizes[0]} and {sizes[1]}."
            )
            raise RequestRefused(400, message, "messages", "invalid_boxes")
        tokens = _tokens(texts) + sum(_picture_tokens(*size) for size in sizes)
        return JudgeRequest(question, None, name, schema, tokens, tuple(uris))
    rgb = decode_data_uri(uris[0])
    tokens = _tokens(texts) + _picture_tokens(rgb.shape[1], rgb.shape[0])
    return JudgeRequest(question, rgb, name, schema, tokens)


def _read_messages(messages: Any) -> tuple[str, str, list[str]]:
    """All text (for counting), the last user message's text, and its pictures' URIs."""
    if not isinstance(messages, list) or not messages:
        raise RequestRefused(400, "messages must be a non-empty list.", "messages")
    texts: list[str] = []
    question, uris = "", []
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RequestRefused(
                400, f"messages[{number}] must be an object with a role.", f"messages[{number}]"
            )
        text, pictures = _read_content(message.get("content"), f"messages[{number}].content")
        texts.append(text)
        if message["role"] == "user":
            question, uris = text, pictures
    if not question.strip():
        raise RequestRefused(400, "The last user message has no text: ask a question.", "messages")
    return "".join(texts), question, uris


def _read_content(content: Any, where: str) -> tuple[str, list[str]]:
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list):
        raise RequestRefused(400, f"{where} must be a string or a list of parts.", where)
    texts, uris = [], []
    for number, part in enumerate(content):
        here = f"{where}[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url" and isinstance(part.get("image_url"), dict):
            url = part["image_url"].get("url")
            if not isinstance(url, str):
                raise RequestRefused(400, f"{here}.image_url.url must be a string.", here)
            uris.append(url)
        else:
            message = f"{here} must be a text part with a string or an image_url part with an object."
            raise RequestRefused(400, message, here)
    return "\n".join(texts), uris


def decode_data_uri(uri: str) -> np.ndarray:
    """Pixels of a JPEG or PNG data URI, uint8 (height, width, 3). Raises RequestRefused."""
    with _opened(uri) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def _picture_size(uri: str) -> tuple[int, int]:
    """Width and height, px, from the file's head alone. Raises RequestRefused."""
    with _opened(uri) as picture:
        return picture.size


@contextmanager
def _opened(uri: str) -> Iterator[Image.Image]:
    """The picture file of a data URI. Raises RequestRefused, also for what goes wrong while it is read."""
    head, comma, payload = uri.partition(",")
    media, _, coding = head.removeprefix("data:").partition(";")
    if not uri.startswith("data:") or not comma or coding != "base64" or media not in _FORMATS:
        message = "The picture must be a data URI: data:image/jpeg;base64,… or data:image/png;base64,…"
        raise RequestRefused(400, message, "image_url", "invalid_image_url")
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestRefused(
            400, f"The picture's base64 is broken: {error}", "image_url", "invalid_base64"
        ) from error
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                size = f"{picture.width}x{picture.height}"
                message = f"The picture has {size} pixels, the limit is {MAX_PIXELS} in all."
                raise RequestRefused(400, message, "image_url", "image_too_large")
            yield picture
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RequestRefused(
            400, f"Not a readable JPEG or PNG: {error}", "image_url", "invalid_image"
        ) from error


def _picture_tokens(width: int, height: int) -> int:
    return 85 + 170 * math.ceil(width / 512) * math.ceil(height / 512)


def _schema(response_format: Any) -> tuple[str, dict[str, Any] | None]:
    """Name and JSON schema of the form that is asked for."""
    if response_format is None:
        return "", None
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "text":
        return "", None
    if kind == "json_object":
        return "", {}
    named = response_format.get("json_schema") if kind == "json_schema" else None
    if (
        not isinstance(named, dict)
        or not isinstance(named.get("name"), str)
        or not isinstance(named.get("schema"), dict)
    ):
        message = (
            "response_format must be text, json_object, or json_schema with json_schema.name and "
            "json_schema.schema."
        )
        raise RequestRefused(400, message, "response_format")
    return named["name"], dict(named["schema"])


def allowed_answers(schema: dict[str, Any] | None) -> tuple[str, ...]:
    """The values that the schema allows for `answer`, () when any string will do. Raises RequestRefused."""
    if not schema:
        return ()
    properties = schema.get("properties")
    answer = properties.get("answer") if isinstance(properties, dict) else None
    others = set(schema.get("required", ())) - {"answer"}
    if not isinstance(answer, dict) or answer.get("type", "string") != "string" or others:
        message = "This judge fills schemas with one string property named 'answer'."
        raise RequestRefused(400, message, "response_format", "unsupported_schema")
    return tuple(str(value) for value in answer.get("enum", ()))


def completion(model: str, request: JudgeRequest, answer: str) -> dict[str, Any]:
    """The reply to a question about a picture, in the form that was asked for."""
    return _reply(model, request, answer if request.schema is None else json.dumps({"answer": answer}))


def verdict_completion(model: str, request: JudgeRequest, judged: Judged) -> dict[str, Any]:
    """The reply of a judge of texts; one that cannot tell declines, as models do."""
    if judged.verdict is None:
        return _reply(model, request, None, f"cannot tell: {judged.reason}")
    said = {"reason": judged.reason, "verdict": "yes" if judged.verdict else "no"}
    return _reply(model, request, json.dumps(said))


def filled_completion(model: str, request: JudgeRequest, filled: dict[str, Any] | None) -> dict[str, Any]:
    """The reply about boxes or made-up scenes; what the oracle's rules cannot read is declined."""
    if filled is None:
        return _reply(model, request, None, "cannot tell: the rules do not read this")
    return _reply(model, request, json.dumps(filled))


def _reply(model: str, request: JudgeRequest, text: str | None, refusal: str | None = None) -> dict[str, Any]:
    written = _tokens(text or refusal or "")
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": refusal},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": request.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": request.prompt_tokens + written,
        },
    }


def _tokens(text: str) -> int:
    return math.ceil(len(text) / 4)
