"""The demo's page: one HTML file that needs nothing else, pictures included."""

from __future__ import annotations

import base64
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from valor_ray.demo.questions import AskedQuestion, DemoTurn, Question
from valor_ray.demo.report import RESULTS, change, mark, short
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
    right: tuple[int, ...]  # in each turn

    @property
    def percents(self) -> list[str]:
        return [f"{100 * right / self.asked:.0f}%" for right in self.right]


@dataclass(frozen=True)
class Call:
    """A tool call of the trace, a row of its table."""

    line: int  # of the program
    said: str  # "gd_detect(prompt='red cube')"
    result: str
    error: str  # "" where it did not fail
    ms: str


@dataclass(frozen=True)
class Told:
    """What came of a question in one turn."""

    turn: str  # its name; "" where there is one turn alone
    outcome: AskedQuestion
    mark: str  # right or wrong
    answer: str
    boxes: Markup  # SVG over the picture
    listing: Markup | None  # of the program, where there is one
    trace: tuple[Call, ...]


@dataclass(frozen=True)
class Card:
    """One question, as page.html shows it. Pictures are PNG in base64."""

    question: Question
    mark: str  # right or wrong; where turns differ, fixed or broken
    truth: str
    picture: str
    depth: str  # "" where there is no map
    depth_span: str  # "0.80 to 2.31 m"
    told: tuple[Told, ...]  # a turn each


@dataclass(frozen=True)
class Total:
    """A turn's figures."""

    name: str
    right: int
    without: int  # an answer
    median: str  # seconds


def write_page(
    path: Path,
    turns: Sequence[DemoTurn],
    depths: Mapping[Path, np.ndarray],
    settings: str = "",
    worth: str = "",
) -> Path:
    """Write the page and return its path.

    turns: one, or base and trained. depths: metres by picture, as `questions.depth_maps` gives them; a picture without
    one shows none. settings: a sentence about the models used. worth: one about what two turns prove.
    """
    asked = list(zip(*(turn.outcomes for turn in turns), strict=True))
    names = [turn.name for turn in turns]
    cards = [_card(names, outcomes, depths.get(outcomes[0].question.image)) for outcomes in asked]
    page = render(
        "demo/page.html",
        settings=settings,
        change=change(*turns) if len(turns) > 1 else "",
        worth=worth,
        results=_results(path),
        count=len(cards),
        totals=list(map(_total, turns)),
        shows=list(_shows(cards, compared=len(turns) > 1)),
        families=list(_families(asked)),
        cards=cards,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _results(page: Path) -> str:
    """The way from the page to the measured figures; "" where the repository is not there."""
    results = Path(__file__).parents[2] / RESULTS
    return os.path.relpath(results, page.resolve().parent) if results.is_file() else ""


def _total(turn: DemoTurn) -> Total:
    without = sum(bool(outcome.reply["error"]) for outcome in turn.outcomes)
    median = statistics.median(outcome.seconds for outcome in turn.outcomes)
    return Total(turn.name, turn.right, without, f"{median:.1f}")


def _shows(cards: Sequence[Card], *, compared: bool) -> Iterator[tuple[str, str, int]]:
    """Which cards can be shown alone: their mark, what the button says, how many they are."""
    names = {"right": "Right", "wrong": "Wrong"}
    if compared:
        names = {"fixed": "Wrong → right", "broken": "Right → wrong", "right": "Right", "wrong": "Wrong"}
    yield "all", "All", len(cards)
    for which, said in names.items():
        yield which, said, sum(card.mark == which for card in cards)


def _families(asked: Sequence[tuple[AskedQuestion, ...]]) -> Iterator[Family]:
    kinds: dict[str, list[tuple[bool, ...]]] = {}
    for outcomes in asked:
        kinds.setdefault(outcomes[0].question.family, []).append(tuple(one.right for one in outcomes))
    for family, marks in kinds.items():
        yield Family(family, len(marks), tuple(map(sum, zip(*marks, strict=True))))


def _card(names: Sequence[str], outcomes: Sequence[AskedQuestion], depth: np.ndarray | None) -> Card:
    question, first, last = outcomes[0].question, outcomes[0].right, outcomes[-1].right
    return Card(
        question=question,
        mark=mark(outcomes[0]) if first == last else "fixed" if last else "broken",
        truth=short(question.truth),
        picture=_base64(question.image.read_bytes()),
        depth="" if depth is None else _base64(to_png(from_array(colour_depth(depth)))),
        depth_span="" if depth is None else _span(depth),
        told=tuple(map(_told, names, outcomes)),
    )


def _told(turn: str, outcome: AskedQuestion) -> Told:
    reply = outcome.reply
    return Told(
        turn=turn,
        outcome=outcome,
        mark=mark(outcome),
        answer=short(reply["answer"]),
        boxes=overlay(reply["trace"], reply["width"], reply["height"]),
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
