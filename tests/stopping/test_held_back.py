"""Signals through the real chain but for policy, eyes and judge, which are made up: who is asked what, how often."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from valor_ray.config.tree import Config
from valor_ray.errors import ServiceError, ToolError
from valor_ray.records import Detection, JudgeReply, JudgeRequest, Picture, Query, Reply, Sampling
from valor_ray.stopping import held_back
from valor_ray.stopping.held_back import HeldBackQuestions
from valor_ray.wiring import Eyes

SAME = '<plan>\n1. Count.\n</plan>\n<answer>\nfinal_answer = len(gd_detect(img_pth, "ball"))\n</answer>'
OTHER = SAME.replace("final_answer = len", "final_answer = 5 + len")


class Samples:
    """ports.Sampler: of a question two equal replies, one with another answer, and one without blocks."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, float]] = []

    async def sample(
        self, questions: Sequence[str], *, n: int, seed: int, sampling: Sampling
    ) -> list[list[Reply]]:
        self.calls.append((len(questions), sampling.temperature))
        return [
            [Reply(text, (1,), (0.0,), "", "stop") for text in (SAME, SAME, OTHER, "It is 2.")[:n]]
        ] * len(questions)


class Judge:
    """ports.Judge: text heads say yes; about scenes it knows nothing, so the head does not apply."""

    def __init__(self) -> None:
        self.heads: list[str] = []

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.heads += [request.head for request in requests]
        return [
            JudgeReply({"reason": "", "verdict": "yes"})
            if "verdict" in request.schema["properties"]
            else JudgeReply({})
            for request in requests
        ]


class Detector:
    def __init__(self, broken: bool = False) -> None:
        self.looks, self.broken = 0, broken

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: Any = None
    ) -> list[Detection]:
        self.looks += 1
        if self.broken:
            raise ToolError("the detector is gone")
        return [Detection((0.0, 0.0, 9.0, 9.0), "ball", 0.9)] * 2


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Measures versions in a folder; gives the records and who was asked."""
    queries = []
    for number in range(6):
        path = tmp_path / f"{number // 2}.png"
        Image.new("RGB", (64, 64), (number // 2, 0, 0)).save(path)
        queries.append(Query(f"q{number}", f"How many balls are there, {number}?", str(path)))

    def measure(
        *steps: int, broken: bool = False, overrides: Sequence[str] = ()
    ) -> tuple[list[dict], Samples, Judge, Detector]:
        config = Config.load("local", ["stopping.questions=4", *overrides])
        samples, judge, detector = Samples(), Judge(), Detector(broken)

        @asynccontextmanager
        async def judging(*_: Any) -> AsyncIterator[Judge]:
            yield judge

        @asynccontextmanager
        async def eyes() -> AsyncIterator[Eyes]:
            yield Eyes(detector, None)  # type: ignore[arg-type]

        monkeypatch.setattr(held_back, "judging", judging)
        records: list[Mapping[str, Any]] = []
        signals = HeldBackQuestions(config, tmp_path / "signals", queries)
        carried: list[int] = []
        asyncio.run(signals.measure(samples, eyes, steps, carried.append, records.append, lambda line: None))
        assert carried == list(steps)
        return [dict(record) for record in records], samples, judge, detector

    return measure


def test_signals_of_versions_are_those_of_their_replies(asked: Callable[..., Any]) -> None:
    records, samples, judge, detector = asked(0, 20)
    first, second = records
    assert [row["step"] for row in records] == [0, 20] and first["asked"] == second["asked"]
    figures = {
        name: first[name]
        for name in ("n", "agreement", "answered", "well_formed", "text", "reward", "unasked")
    }
    assert figures == {
        "n": 4, "agreement": 0.5, "answered": 0.75, "well_formed": 0.75, "text": 1.0, "reward": 1.0, "unasked": 0,
    }  # fmt: skip
    assert first["scenes"] in (None, 0.0) and len(first["questions"]) == 4
    assert samples.calls == [(4, 0.7)] * 2
    assert (
        judge.heads.count("logic") == 4
    )  # of the first reply to each question; remembered for the second version
    assert detector.looks <= 3  # once a picture


def test_a_second_start_judges_the_replies_that_were_kept(asked: Callable[..., Any], tmp_path: Path) -> None:
    before = asked(20)[0]
    records, samples, *_ = asked(20)
    assert samples.calls == [] and records[0]["questions"] == before[0]["questions"]
    changed, samples, *_ = asked(20, overrides=["stopping.samples=3"])
    assert samples.calls and changed[0]["asked"] != before[0]["asked"]
    kept = json.loads((tmp_path / "signals/step-000020/replies.json").read_text())
    assert kept["asked"] == changed[0]["asked"]


def test_eyes_that_fail_are_no_disagreement(asked: Callable[..., Any]) -> None:
    with pytest.raises(
        ServiceError, match=r"4 of 4 held-back questions could not be looked at \(.*the detector is gone"
    ):
        asked(20, broken=True)


def test_without_text_heads_and_pictures_what_is_left_is_measured(tmp_path: Path) -> None:
    signals = HeldBackQuestions(
        Config.load("local"), tmp_path, [Query(f"q{n}", "How many?") for n in range(200)]
    )
    assert len(signals.queries) == 96 and signals.queries[0].query_id != "q0"  # mixed
