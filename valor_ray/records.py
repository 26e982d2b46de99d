"""The records that flow between steps: frozen, plain, without behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

BBox = tuple[float, float, float, float]  # x1, y1, x2, y2 in pixels of the upright image, x right, y down


class ProgramStatus(StrEnum):
    """How a program ended (DESIGN §5)."""

    OK = "ok"  # ran to its end and set final_answer
    ERROR = "error"  # raised, or left final_answer unset
    TIMEOUT = "timeout"  # wall-clock or CPU limit
    KILLED = "killed"  # a resource limit or the system-call filter ended it
    REJECTED = "rejected"  # not run: does not parse, or too large


@dataclass(frozen=True)
class Picture:
    """An upright RGB image and the hash of its pixels."""

    rgb: np.ndarray  # uint8, (height, width, 3), not writeable
    key: str  # sha256 (hex) of shape and pixels: the cache key of everything derived from the image

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])


@dataclass(frozen=True)
class Detection:
    bbox: BBox
    label: str  # the phrase exactly as it was asked for
    score: float  # 0..1


@dataclass(frozen=True)
class DepthMap:
    depth: (
        np.ndarray
    )  # float32 metres, (height, width) of the picture; np.inf where the model masks the pixel
    focal_px: float  # estimated focal length in pixels of the picture


@dataclass(frozen=True)
class Reply:
    """What the policy wrote for one query."""

    text: str
    token_ids: tuple[int, ...]  # of the completion, as the engine sampled them
    logprobs: tuple[float, ...]  # behaviour log-probability of each completion token
    policy_version: str
    finish_reason: str  # "stop" or "length"


@dataclass(frozen=True)
class ParsedReply:
    """The two blocks of a well-formed reply; `error` says why a reply is malformed (then both are empty)."""

    plan: str
    code: str
    error: str | None = None

    @property
    def well_formed(self) -> bool:
        return self.error is None


@dataclass(frozen=True)
class ToolCall:
    """One line of a program's trace."""

    tool: str  # canonical name: gd_detect, depth or vqa
    args: dict[str, Any]  # canonical argument names, JSON values
    result: Any  # JSON value, or None when `error` is set
    ms: float
    line: int  # line of the program (1-based)
    error: str | None = None


@dataclass(frozen=True)
class ProgramResult:
    status: ProgramStatus
    answer: Any = None  # JSON value of final_answer
    error: str | None = None  # what went wrong, for the user
    line: int | None = None  # line of the failure (1-based) when known
    calls: tuple[ToolCall, ...] = ()
    seconds: float = 0.0  # wall-clock
    output: str = ""  # what the program printed, cut at the limit


@dataclass(frozen=True)
class Answer:
    """The result of one question: the record behind `valor ask` and `/v1/answer`."""

    answer: Any
    plan: str
    code: str
    trace: tuple[ToolCall, ...] = field(default_factory=tuple)
    error: str | None = None
    seconds: float = 0.0
    reply: str = ""  # the policy's text as it came
    status: str = ""  # ProgramStatus, or "malformed" when the reply was not well formed
    policy_version: str = ""
