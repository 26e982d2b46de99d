"""The demo's page: one HTML file that needs nothing else, pictures included."""

from __future__ import annotations

import base64
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from valor_ray.demo.questions import AskedQuestion
from valor_ray.demo.report import short
from valor_ray.images import from_array, to_png
from valor_ray.report.kit.depth_colours import colour_depth
from valor_ray.report.kit.listing import listing
from valor_ray.report.kit.overlay import overlay
from valor_ray.report.kit.templates import render

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Family:
    """A kind of questions."""

    name: str
    asked: int
    right: int

    @property
    def percent(self) -> str:
        return f"{100 * self.right / self.asked:.0f}%"


@dataclass(frozen=True)
class Call:
    """A tool call of the trace, a row of its table."""

    line: int  # of the program
    said: str  # "gd_detect(prompt='red cube')"
    result: str
    error: str  # "" where it did not fail
    ms: str


@dataclass(frozen=True)
class Card:
    """One question, as page.html shows it. Pictures are PNG in base64."""

    outcome: AskedQuestion
    mark: str  # right or wrong
    answer: str
    truth: str
    picture: str
    boxes: Markup  # SVG over the picture
    depth: str  # "" where there is no map
    depth_span: str  # "0.80 to 2.31 m"
    listing: Markup | None  # of the program, where there is one
    trace: tuple[Call, ...]


def write_page(
    path: Path, outcomes: Sequence[AskedQuestion], depths: Mapping[Path, np.ndarray], settings: str = ""
) -> Path:
    """Write the page and return its path.

    depths: metres by picture, as `questions.depth_maps` gives them; a picture without one shows none.
    settings: a sentence about the models used.
    """
    page = render(
        "demo/page.html",
        settings=settings,
        right=sum(outcome.right for outcome in outcomes),
        count=len(outcomes),
        without=sum(bool(outcome.reply["error"]) for outcome in outcomes),
        median=f"{statistics.median(outcome.seconds for outcome in outcomes):.1f}",
        families=list(_families(outcomes)),
        cards=[_card(outcome, depths.get(outcome.question.image)) for outcome in outcomes],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _families(outcomes: Sequence[AskedQuestion]) -> Iterator[Family]:
    right = Counter(outcome.question.family for outcome in outcomes if outcome.right)
    for family, asked in Counter(outcome.question.family for outcome in outcomes).items():
        yield Family(family, asked, right[family])


def _card(outcome: AskedQuestion, depth: np.ndarray | None) -> Card:
    reply, question = outcome.reply, outcome.question
    return Card(
        outcome=outcome,
        mark="right" if outcome.right else "wrong",
        answer=short(reply["answer"]),
        truth=short(question.truth),
        picture=_base64(question.image.read_bytes()),
        boxes=overlay(question.image, reply["trace"]),
        depth="" if depth is None else _base64(to_png(from_array(colour_depth(depth)))),
        depth_span="" if depth is None else _span(depth),
        listing=listing(reply["code"]) if reply["code"] else None,
        trace=tuple(map(_call, reply["trace"])),
    )


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode("ascii")


def _span(depth: np.ndarray) -> str:
    seen = depth[np.isfinite(depth)]
    return f"{seen.min():.2f} to {seen.max():.2f} m" if seen.size else "nothing seen"


def _call(call: Mapping[str, Any]) -> Call:
    arguments = ", ".join(f"{name}={_value(value)}" for name, value in call["args"].items())
    return Call(
        line=call["line"],
        said=f"{call['tool']}({arguments})",
        result=_value(call["result"]),
        error=call["error"] or "",
        ms=f"{call['ms']:.0f}",
    )


def _value(value: Any) -> str:
    """A JSON value in one line, numbers to four digits."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    return repr(value) if isinstance(value, str) else short(value)
