"""Workers of an evaluation without Ray: handles that answer, pictures from a file or another machine, failed rows."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from deployments.evaluation.workers import AnswerWorker, Apps, Order, PictureReader
from valor_ray.asking.kept import Replied
from valor_ray.config.tree import Config
from valor_ray.errors import ImageError, PolicyError
from valor_ray.ports import Turn
from valor_ray.records import Detection, Query, Reply
from valor_ray.selecting.select import Select

CODE = 'final_answer = len(gd_detect(img_pth, "cup"))'
TEXT = f"<plan>Count.</plan><answer>{CODE}</answer>"


class Handle:
    """A Serve handle whose methods are these coroutines."""

    def __init__(self, **methods: Any) -> None:
        self.__dict__ = {name: SimpleNamespace(remote=method) for name, method in methods.items()}


async def generate(question: str, n: int, seed: int | None, turns: Sequence[Turn] = ()) -> list[Reply]:
    if "refused" in question:
        raise PolicyError("the policy does not answer")
    if "fail first" in question and not turns:
        return [Reply("no blocks", (1,), (0.0,), "v", "stop", (1, 2))]
    return [Reply(TEXT + " " * (seed or 0), (1,), (0.0,), "v", "stop", (1, 2))] * n


async def detect(picture: Any, phrases: Any, threshold: Any) -> list[Detection]:
    return [Detection((0, 0, 5, 5), "cup", 0.9)] * picture.width


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    parts = {"policy": Handle(generate=generate), "detector": Handle(detect=detect)}
    monkeypatch.setattr("ray.serve.get_deployment_handle", lambda name, app: parts.get(name, Handle()))

    def made(pictures: Any) -> AnswerWorker:
        return AnswerWorker(Config.load("local"), Apps("p", "d", "e", "v"), Select.VOTE, pictures)

    return made


def work(worker: AnswerWorker, *orders: Order) -> list[Replied]:
    async def go() -> list[bytes]:
        try:
            return await worker.work(pa.table({"order": [pickle.dumps(order) for order in orders]}))
        finally:
            await worker._sandbox.close()

    return [pickle.loads(each) for each in asyncio.run(go())]


def order(
    name: str, image: Path, question: str = "How many cups?", samples: int = 1, repairs: int = 0
) -> Order:
    return Order(Query(name, question, str(image)), 3, samples, Select.VOTE, repairs)


def picture(path: Path, width: int) -> Path:
    Image.new("RGB", (width, 40)).save(path)
    return path


def test_a_block_s_questions_are_answered_and_failures_stay_with_their_own(
    worker: Any, tmp_path: Path
) -> None:
    there = picture(tmp_path / "a.png", 40)
    replies = work(
        worker(Path),
        order("one", there),
        order("gone", tmp_path / "none.png"),
        order("refused", there, "refused?"),
        order("long", there, "?" * 5000),
        order("three", there, samples=3),
        order("mended", there, "fail first", repairs=1),
    )
    kept = {reply.query_id: reply.kept for reply in replies}
    assert kept["one"] is not None and kept["three"] is not None
    assert (kept["one"]["answer"], kept["one"]["tools"], kept["one"]["tokens"]) == (40, 1, [2, 1])
    assert [one["answer"] for one in kept["three"]["candidates"]] == [40, 40, 40]
    mended = kept["mended"]
    assert mended is not None and (mended["answer"], mended["attempts"][0]["status"]) == (40, "malformed")
    why = {reply.query_id: reply.why for reply in replies if reply.kept is None}
    assert list(why) == ["gone", "refused", "long"]
    assert (
        "none.png" in why["gone"]
        and "does not answer" in why["refused"]
        and "5,000 characters" in why["long"]
    )


def test_pictures_come_from_the_machine_of_who_evaluates(worker: Any, tmp_path: Path) -> None:
    """As on a cluster: the worker asks an actor, and looks at no disk of its own."""
    picture(tmp_path / "a.png", 17)

    def file(image: str) -> Path:
        if "bad" in image:
            raise ImageError("The picture could not be had")
        return tmp_path / "a.png"

    reader = PictureReader(file, Config.load("local").images)
    replies = work(
        worker(Handle(read=reader.read)), order("one", Path("/elsewhere/a.png")), order("bad", Path("bad"))
    )
    assert replies[0].kept is not None and replies[0].kept["answer"] == 17
    assert (replies[1].kept, replies[1].why) == (None, "The picture could not be had")
