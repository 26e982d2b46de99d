"""Ask a running app about rendered scenes and mark the answers."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from valor_ray.client.ask import ask, post
from valor_ray.errors import ServiceError
from valor_ray.measure.answers import is_right

IN_FLIGHT = 3  # questions at a time
SEEDS = 2**31  # the API takes smaller ones


@dataclass(frozen=True)
class Question:
    image: Path
    text: str
    truth: Any  # JSON value
    family: str
    look: str


@dataclass(frozen=True)
class AskedQuestion:
    """What came back for one question."""

    question: Question
    reply: dict[str, Any]  # the keys of /v1/answer
    seconds: float  # as the caller waited, with IN_FLIGHT questions at a time
    failed: bool = False  # the service gave no reply at all

    @property
    def right(self) -> bool:
        return not self.reply["error"] and is_right(self.reply["answer"], self.question.truth)


@dataclass(frozen=True)
class DemoTurn:
    """All questions, asked of the same weights."""

    name: str  # "base", "trained"; "" where there is one turn alone
    outcomes: tuple[AskedQuestion, ...]  # in the order of the questions

    @property
    def right(self) -> int:
        return sum(outcome.right for outcome in self.outcomes)


def read_questions(folder: Path) -> list[Question]:
    """The questions of a folder written by `tabletop.dataset.write_dataset`, with their truth."""
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    truths = {
        row["query_id"]: row for row in map(json.loads, (folder / "truth.jsonl").read_text().splitlines())
    }
    return [
        Question(folder / query["image"], query["question"], truth["answer"], truth["family"], truth["look"])
        for query in queries
        for truth in [truths[query["query_id"]]]
    ]


def ask_all(
    questions: Sequence[Question],
    url: str,
    token: str | None,
    seed: int,
    progress: Callable[[int, AskedQuestion], None],
) -> tuple[AskedQuestion, ...]:
    """Every question over HTTP, IN_FLIGHT at a time; outcomes in the order of the questions.

    seed: question i is sampled with seed + i. progress: called with the number done and the newest outcome.
    """
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        waiting = [
            pool.submit(_ask_one, question, url, token, (seed + number) % SEEDS)
            for number, question in enumerate(questions)
        ]
        for done, finished in enumerate(as_completed(waiting), start=1):
            progress(done, finished.result())
        return tuple(one.result() for one in waiting)


def _ask_one(question: Question, url: str, token: str | None, seed: int) -> AskedQuestion:
    start = time.monotonic()
    try:
        reply, failed = ask(question.image, question.text, url=url, token=token, seed=seed), False
    except ServiceError as error:
        nothing: dict[str, Any] = {
            "answer": None,
            "plan": "",
            "code": "",
            "trace": [],
            "width": 0,
            "height": 0,
        }
        reply, failed = nothing | {"error": str(error)}, True
    return AskedQuestion(question, reply, time.monotonic() - start, failed)


def depth_maps(images: Iterator[Path], url: str, token: str | None) -> dict[Path, np.ndarray]:
    """Depth of each picture: float32 metres (height, width), inf where the model masks. Raises ServiceError."""
    maps = {}
    for image in images:
        encoded = base64.b64encode(image.read_bytes()).decode("ascii")
        answer = post(url, "/v1/depth", {"image": encoded}, token=token)
        maps[image] = np.load(io.BytesIO(base64.b64decode(answer["depth"])), allow_pickle=False)
    return maps
