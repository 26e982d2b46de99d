"""What requests may hold and what is answered: one model each, which checks it and describes it in OpenAPI.

A field's description goes on from "`name` must be", also in the message that refuses another value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from deployments.http.errors import RequestError
from valor_ray.tools import MAX_PHRASES

MAX_PHRASE_CHARS = 100
M = TypeVar("M", bound=BaseModel)

# checked where it is decoded (input.read_picture), which says more
Image = Annotated[
    Any,
    WithJsonSchema({"type": "string"}),
    Field(description="a picture as data URI or base64, or its URL where images.url_schemes allows that"),
]
Question = Annotated[str, Field(description="text that asks something about the picture", min_length=1)]
Seed = Annotated[
    int | None,
    Field(
        ge=0, le=2**31 - 1, description="a whole number from 0 to 2147483647; the same seed, the same reply"
    ),
]

Samples = Annotated[
    int | None,
    Field(ge=1, le=1000, description="a whole number from 1: so many replies, of whose answers one is taken"),
]
Select = Annotated[
    Literal["vote", "judge", "scenes"] | None,
    Field(description="vote, judge or scenes: how the answer is taken of several samples"),
]
Repairs = Annotated[
    int | None,
    Field(
        ge=0,
        le=1000,
        description="a whole number from 0: so many times a reply whose program failed is written anew",
    ),
]

Width = Annotated[
    int,
    Field(description="px, of the picture that the boxes are in: upright, and scaled where it was too large"),
]


class Request(BaseModel):
    """Fields that are not here are refused."""

    model_config = ConfigDict(extra="forbid")


class AnswerRequest(Request):
    image: Image
    question: Question
    seed: Seed = None
    samples: Samples = None
    select: Select = None
    repairs: Repairs = None


class DetectRequest(Request):
    image: Image
    phrases: list[str] | str = Field(
        description=f"1 to {MAX_PHRASES} texts of at most {MAX_PHRASE_CHARS} characters each, as a list or as one text "
        "with commas between them"
    )
    box_threshold: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1: the lowest score of a box"
    )


class DepthRequest(Request):
    image: Image
    format: Literal["npy", "png"] = Field(
        "npy", description="npy (metres, the default) or png (coloured, to look at)"
    )


class VqaRequest(Request):
    image: Image
    question: Question


class Call(BaseModel):
    tool: Literal["gd_detect", "depth", "vqa"]
    args: dict[str, Any]
    result: Any
    ms: float
    line: int
    error: str | None
    version: str = Field("", description="weights of the detector that answered")


class Selection(BaseModel):
    select: Literal["vote", "judge", "scenes"]
    samples: int
    chosen: int = Field(description="number of the candidate that is taken, from 0")
    why: str
    calls: int = Field(description="of judges")
    cost_usd: float
    unjudged: str | None = Field(
        None, description="why a candidate has no verdict, where asking again could give one"
    )


class Attempt(BaseModel):
    error: str = Field(description="why there was no answer")
    reply: str = Field(description="the policy's text")
    plan: str
    code: str
    trace: list[Call]


class Repaired(BaseModel):
    attempts: list[Attempt] | None = Field(
        None, description="only with `repairs`: replies that failed and were written anew, in order"
    )
    unrepaired: str | None = Field(
        None, description="only with `repairs`: why a failed reply was not repaired"
    )


class Candidate(Repaired):
    answer: Any
    votes: int = Field(description="candidates that answer the same, itself included; 0 without an answer")
    score: float | None = Field(
        description="by judges or scenes, 0 to 1; null: not asked, or a verdict is missing"
    )
    reasons: str = Field(description="what they said against it")
    error: str | None
    plan: str
    code: str


class AnswerReply(Repaired):
    answer: Any = Field(description="what the program answers: any JSON value; null with `error`")
    plan: str
    code: str
    trace: list[Call]
    error: str | None = Field(description="why there is no answer")
    seconds: float
    width: Width
    height: int
    selection: Selection | None = Field(None, description="only of several samples: how the answer was taken")
    candidates: list[Candidate] | None = Field(None, description="only of several samples: in their order")


class Found(BaseModel):
    bbox: Annotated[list[float], Field(min_length=4, max_length=4, description="x1, y1, x2, y2 in pixels")]
    label: str = Field(description="the phrase as asked")
    score: float


class DetectReply(BaseModel):
    detections: list[Found]
    width: Width
    height: int
    version: str = Field(description="weights of the detector")


class DepthReply(BaseModel):
    depth: str = Field(description="base64 of a .npy: float32 metres, height x width, infinite where masked")
    focal_px: float


class VqaReply(BaseModel):
    answer: str


class Part(BaseModel):
    """Further fields are the part's own figures."""

    model_config = ConfigDict(extra="allow")
    status: str = Field(description="ok, or unavailable")
    busy: bool = Field(False, description="it answers calls, and has too many to say more of itself")


class HealthReply(BaseModel):
    status: Literal["ok", "degraded"]
    in_work: int = Field(description="requests that hold a place")
    waiting: int = Field(description="requests that wait for a part that is being restarted")
    parts: dict[str, Part]


class LiveReply(BaseModel):
    status: Literal["ok"]


class Error(BaseModel):
    code: str
    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None = Field(description="the field that it is about")


class ErrorReply(BaseModel):
    error: Error


def checked(model: type[M], fields: Mapping[str, Any], *, texts: bool = False) -> M:
    """The fields of a request as `model`. texts: every value may be the text of it, as forms have them.

    Raises RequestError (400), which names the first field that is wrong and what it must be.
    """
    try:
        return model.model_validate(fields, strict=not texts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _refusal(model, str(first["loc"][0])[:60], first["type"]) from None


def _refusal(model: type[BaseModel], name: str, kind: str) -> RequestError:
    if name not in model.model_fields:
        there = ", ".join(model.model_fields)
        return RequestError(400, "request", f"Unknown field {name!r}. Fields here: {there}.", param=name)
    code = name if name in ("image", "question") else "request"
    if kind == "missing":
        code = "request" if name == "question" else code
        return RequestError(400, code, f"The field `{name}` is missing.", param=name)
    must = model.model_fields[name].description
    return RequestError(400, code, f"`{name}` must be {must}.", param=name)
