"""What each POST endpoint does with its checked fields, over the steps behind the door."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from deployments.http import chat
from deployments.http.errors import Json, RequestError
from deployments.http.guard import Gate
from deployments.http.input import read_fields, read_picture
from deployments.http.schema.chat_fields import ChatReply, ChatRequest
from deployments.http.schema.fields import (
    MAX_PHRASE_CHARS,
    AnswerReply,
    AnswerRequest,
    DepthReply,
    DepthRequest,
    DetectReply,
    DetectRequest,
    VqaReply,
    VqaRequest,
)
from valor_ray import images
from valor_ray.answer import ProgramRunner, answer, check_question, to_json
from valor_ray.asking.watched import Watched
from valor_ray.config.tree import Config
from valor_ray.errors import ServiceError
from valor_ray.ports import Depth, Detector, Policy, Vqa, version_of
from valor_ray.reasoning.reward import Rewarding
from valor_ray.records import Answer, DepthMap, Picture
from valor_ray.repairs import Repairs
from valor_ray.report.kit.depth_colours import colour_depth
from valor_ray.selecting.select import Select, answer_selected
from valor_ray.selecting.select import to_json as selected_to_json
from valor_ray.tools import MAX_PHRASES, LiveTools, ToolHost, split_phrases


@dataclass(frozen=True)
class Parts:
    """What the front door stands before."""

    policy: Policy
    detector: Detector
    depth: Depth
    judge: Vqa
    sandbox: ProgramRunner
    status: Callable[[], Awaitable[dict[str, dict[str, Any]]]]  # of each part: {"status": "ok" | why not, …}
    rewarding: Mapping[Select, Rewarding] = field(default_factory=dict)  # how candidates are judged


class _Reached:
    """A ToolHost that remembers when a part could not be reached: what a program makes of that is no answer."""

    def __init__(self, tools: ToolHost) -> None:
        self._tools = tools
        self._failure: ServiceError | RequestError | None = None

    async def __call__(self, tool: str, args: dict[str, Any]) -> Any:
        try:
            return await self._tools(tool, args)
        except (ServiceError, RequestError) as error:
            self._failure = error
            raise

    def check(self) -> None:
        """Raises ServiceError, or RequestError where too many wait for the part."""
        if self._failure is not None:
            raise self._failure


class Wish(Protocol):
    """What a caller may say of how the answer comes about; None: as the settings say."""

    @property
    def seed(self) -> int | None: ...

    @property
    def samples(self) -> int | None: ...

    @property
    def select(self) -> str | None: ...

    @property
    def repairs(self) -> int | None: ...


@dataclass(frozen=True)
class Door:
    """The checked steps behind the routes."""

    config: Config
    parts: Parts
    gate: Gate

    async def picture(self, image: object) -> Picture:
        return await read_picture(image, self.config.images, self.gate.hold)

    def question(self, question: object) -> str:
        return check_question(question, self.config.server.max_question_chars)

    async def ask(self, picture: Picture, question: str, wish: Wish) -> tuple[Answer, dict[str, Any]]:
        """The answer, and what is shown of it. Raises RequestError, and ServiceError where a part cannot be reached."""
        samples, select = self._selection(wish)
        most = self._repairs(wish)
        parts = self.parts
        patience_s = self.config.sandbox.tool_seconds / 2
        watched = Watched(parts.detector, parts.depth, parts.judge, patience_s)
        tools = _Reached(LiveTools(picture, watched, watched, watched))
        size = _size(picture)
        repairs = Repairs(most, lambda: watched.failure)
        if samples == 1:
            one = await answer(
                question, picture, parts.policy, parts.sandbox, tools, seed=wish.seed, repairs=repairs
            )
            tools.check()
            return one, to_json(one) | size
        selected = await answer_selected(
            question, picture, parts.policy, parts.sandbox, tools,
            samples=samples, select=select, rewarding=parts.rewarding.get(select), seed=wish.seed,
            repairs=repairs,
        )  # fmt: skip
        tools.check()
        return selected.answer, selected_to_json(selected) | size

    def _repairs(self, wish: Wish) -> int:
        own = self.config.answer
        repairs = own.repairs if wish.repairs is None else wish.repairs
        if repairs > own.max_repairs:
            message = f"`repairs` must be at most {own.max_repairs} here (answer.max_repairs)."
            raise RequestError(400, "request", message, param="repairs")
        return repairs

    def _selection(self, wish: Wish) -> tuple[int, Select]:
        own = self.config.answer
        samples = own.samples if wish.samples is None else wish.samples
        select = Select(own.select if wish.select is None else wish.select)
        if samples > own.max_samples:
            message = f"`samples` must be at most {own.max_samples} here (answer.max_samples)."
            raise RequestError(400, "request", message, param="samples")
        if samples > 1 and select is not Select.VOTE and select not in self.parts.rewarding:
            message = (
                "`select` must be vote here: this server has no judge of replies. Start it with "
                f"--set answer.select={select.value}."
            )
            raise RequestError(400, "request", message, param="select")
        return samples, select


@dataclass(frozen=True)
class Endpoint:
    """A POST route: what it does, and how OpenAPI tells of it."""

    path: str
    work: Callable[[Door, Request, bytes], Awaitable[Response]]
    summary: str
    asks: type[BaseModel]
    replies: type[BaseModel]
    example: dict[str, Any]  # of a request, beside its picture
    forms: bool = True  # multipart as well as JSON


async def _answer(door: Door, request: Request, body: bytes) -> Response:
    asked = await read_fields(request, body, AnswerRequest)
    question = door.question(asked.question)
    return Json((await door.ask(await door.picture(asked.image), question, asked))[1])


async def _detect(door: Door, request: Request, body: bytes) -> Response:
    asked = await read_fields(request, body, DetectRequest)
    phrases = _phrases(asked.phrases)
    picture = await door.picture(asked.image)
    detections = await door.parts.detector.detect(picture, phrases, box_threshold=asked.box_threshold)
    found = [{"bbox": list(d.bbox), "label": d.label, "score": round(d.score, 4)} for d in detections]
    return Json({"detections": found, **_size(picture), "version": version_of(detections)})


async def _depth(door: Door, request: Request, body: bytes) -> Response:
    asked = await read_fields(request, body, DepthRequest)
    result = await door.parts.depth.depth(await door.picture(asked.image))
    written = _depth_png if asked.format == "png" else _depth_npy
    return await asyncio.to_thread(written, result)  # seconds for the largest pictures


def _depth_png(result: DepthMap) -> Response:
    return Response(images.to_png(images.from_array(colour_depth(result.depth))), media_type="image/png")


def _depth_npy(result: DepthMap) -> Response:
    buffer = io.BytesIO()
    np.save(buffer, result.depth.astype(np.float32))
    encoded = base64.b64encode(buffer.getbuffer()).decode("ascii")
    return Json({"depth": encoded, "focal_px": float(result.focal_px)})


async def _vqa(door: Door, request: Request, body: bytes) -> Response:
    asked = await read_fields(request, body, VqaRequest)
    question = door.question(asked.question)
    return Json({"answer": await door.parts.judge.vqa(await door.picture(asked.image), question)})


async def _chat(door: Door, _: Request, body: bytes) -> Response:
    asked = chat.read(body)
    question = door.question(asked.question)
    return chat.respond(asked, *await door.ask(await door.picture(asked.image), question, asked))


def _size(picture: Picture) -> dict[str, int]:
    """Of what boxes are in the pixels of: not of the file, where the picture was turned or scaled."""
    return {"width": picture.width, "height": picture.height}


def _phrases(asked: list[str] | str) -> tuple[str, ...]:
    """A list of phrases, or one text with commas between them."""
    text = "\n".join(asked) if isinstance(asked, list) else asked
    short = len(text) <= MAX_PHRASES * (MAX_PHRASE_CHARS + 10)  # with what stands between them
    phrases = split_phrases(text) if short else ()
    if not 1 <= len(phrases) <= MAX_PHRASES or any(len(phrase) > MAX_PHRASE_CHARS for phrase in phrases):
        must = DetectRequest.model_fields["phrases"].description
        raise RequestError(400, "request", f"`phrases` must be {must}.", param="phrases")
    return phrases


_ASKED = {"question": "How many red cubes are there?"}
ENDPOINTS = (
    Endpoint(
        "/v1/answer", _answer, "A program answers a question about a picture",
        AnswerRequest, AnswerReply, {**_ASKED, "seed": 1},
    ),
    Endpoint(
        "/v1/detect", _detect, "Boxes of what phrases name",
        DetectRequest, DetectReply, {"phrases": ["red cube", "sofa"], "box_threshold": 0.3},
    ),
    Endpoint("/v1/depth", _depth, "Metres per pixel", DepthRequest, DepthReply, {"format": "npy"}),
    Endpoint("/v1/vqa", _vqa, "The judge answers in a word or two", VqaRequest, VqaReply, _ASKED),
    Endpoint(
        "/v1/chat/completions", _chat, "The way in for OpenAI clients",
        ChatRequest, ChatReply, {"model": chat.MODEL}, forms=False,
    ),
)  # fmt: skip
