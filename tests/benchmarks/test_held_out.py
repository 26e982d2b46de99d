"""The held-out questions of a training run, asked through the real chain: sandbox and local vision models; no vLLM."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from valor_ray.benchmarks import held_out
from valor_ray.benchmarks.held_out import HeldOut
from valor_ray.config.tree import Config
from valor_ray.errors import ConfigError, JudgeError, PolicyError, ServiceError
from valor_ray.ports import Depth, Detector
from valor_ray.records import DepthMap, Detection, Picture, Reply
from valor_ray.wiring import VisionParts, vision

QUESTIONS = 12  # about 6 pictures
COUNT = (
    "<plan>\n1. Detect the boxes.\n2. See how far away the first one is.\n3. Count them.\n</plan>\n<answer>\n"
    'boxes = gd_detect(img_pth, "box")\nfar = [depth(img_pth, box["bbox"]) for box in boxes]\n'
    "final_answer = len(boxes)\n</answer>"
)


@dataclass
class Counts:
    """ports.Policy with one program for all questions; colours are answered without blocks."""

    refuses: str = "no question says this"
    asked: list[tuple[str, int | None]] = field(default_factory=list)

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        self.asked.append((question, seed))
        if self.refuses in question:
            raise PolicyError("the policy does not answer")
        text = "It is red." if "colour" in question else COUNT
        return [Reply(text, (1,), (0.0,), "step-000000", "stop")]


class Watched:
    """Detector and depth which count the looks they take."""

    def __init__(self, detector: Detector, depth: Depth, looks: Counter[Any]) -> None:
        self._detector, self._depth, self._looks = detector, depth, looks

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        self._looks["detect", picture.key] += 1
        return await self._detector.detect(picture, phrases, box_threshold=box_threshold)

    async def depth(self, picture: Picture) -> DepthMap:
        self._looks["depth", picture.key] += 1
        return await self._depth.depth(picture)


@dataclass
class Asked:
    """Two versions asked one after the other in one run folder."""

    folder: Path
    records: list[dict[str, Any]]
    policies: list[Counts]
    looks: list[Counter[Any]]  # that each version has caused


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    found = Asked(tmp_path_factory.mktemp("run") / "evaluation", [], [], [])
    with pytest.MonkeyPatch.context() as patch:

        @asynccontextmanager
        async def watched(config: Config, answers: Path) -> AsyncIterator[VisionParts]:
            async with vision(config, answers) as parts:
                eyes = Watched(parts.detector, parts.depth, found.looks[-1])
                yield VisionParts(eyes, eyes, parts.judge)

        patch.setattr(held_out, "vision", watched)
        held = HeldOut(Config.load("local"), found.folder, QUESTIONS)
        for step in (0, 3):
            found.looks.append(Counter())
            found.policies.append(Counts())
            found.records.append(asyncio.run(held.ask(found.policies[-1], step, lambda line: None)))
    return found


def answers(folder: Path, step: int) -> list[dict[str, Any]]:
    path = folder / f"step-{step:06d}" / "answers.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_record_has_the_figures_of_a_version_and_no_row(asked: Asked) -> None:
    for step, record in zip((0, 3), asked.records, strict=True):
        assert set(record) == {
            "step",
            "n",
            "accuracy",
            "ci",
            "well_formed",
            "by_family",
            "unasked",
            "seconds",
        }
        rows = answers(asked.folder, step)
        right = sum(row["right"] for row in rows)
        assert (record["step"], record["n"], len(rows)) == (step, QUESTIONS, QUESTIONS)
        assert record["accuracy"] == pytest.approx(right / QUESTIONS, abs=1e-4)
        assert record["ci"][0] <= record["accuracy"] <= record["ci"][1]
        families = record["by_family"].values()
        assert (
            sum(one["n"] for one in families) == QUESTIONS and sum(one["right"] for one in families) == right
        )
        assert json.loads(json.dumps(record)) == record


def test_count_question_is_answered_by_what_the_detector_sees(asked: Asked) -> None:
    rows = [row for row in answers(asked.folder, 0) if row["well_formed"]]
    assert all(row["error"] is None and isinstance(row["answer"], int) for row in rows)
    assert any(row["answer"] > 0 for row in rows)


def test_replies_without_their_blocks_are_not_well_formed(asked: Asked) -> None:
    questions = [question for question, _ in asked.policies[0].asked]
    colours = sum("colour" in question for question in questions)
    assert 0 < colours < QUESTIONS
    assert asked.records[0]["well_formed"] == pytest.approx(1 - colours / QUESTIONS, abs=1e-4)
    assert sum(row["well_formed"] for row in answers(asked.folder, 0)) == QUESTIONS - colours


def test_every_version_is_asked_the_same_with_the_same_seeds(asked: Asked) -> None:
    first, second = (sorted(policy.asked) for policy in asked.policies)
    assert first == second and len(first) == QUESTIONS
    assert len({seed for _, seed in first}) == QUESTIONS and all(seed is not None for _, seed in first)


def test_every_picture_is_looked_at_once_for_all_questions_and_versions(asked: Asked) -> None:
    first, second = asked.looks
    assert set(first.values()) == {1} and {name for name, _ in first} == {"detect", "depth"}
    assert not second


def test_questions_that_got_no_reply_are_asked_again_and_only_they(tmp_path: Path, asked: Asked) -> None:
    sick, well = Counts(refuses="ball"), Counts()
    for policy in (sick, well):
        held = HeldOut(Config.load("local"), tmp_path, QUESTIONS, asked.folder / "data")
        try:
            record = asyncio.run(held.ask(policy, 0, lambda line: None))
        except ServiceError as error:
            assert policy is sick and "held-out questions could not be asked (the policy" in str(error)
    again = {question for question, _ in well.asked}
    assert again == {question for question, _ in sick.asked if "ball" in question} and len(again) > 1
    assert {name: record[name] for name in ("n", "accuracy", "well_formed", "by_family")} == {
        name: asked.records[0][name] for name in ("n", "accuracy", "well_formed", "by_family")
    }


class Looks:
    """ports.Policy with one program for all questions: it asks the judge, and lives with its failure."""

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        code = 'final_answer = "none"\nwhat = vqa(img_pth, None, "What colour is the ball?")\nfinal_answer = what'
        text = f"<plan>\n1. Look.\n</plan>\n<answer>\n{code}\n</answer>"
        return [Reply(text, (1,), (0.0,), "step-000000", "stop")]


def test_judge_that_fails_makes_no_answer_wrong(
    tmp_path: Path, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [True]

    class Broken:
        async def vqa(self, picture: Picture, question: str) -> str:
            if broken[0]:
                raise JudgeError("the judge is down")
            return "red"

    @asynccontextmanager
    async def without_judge(config: Config, answers: Path) -> AsyncIterator[VisionParts]:
        async with vision(config, answers) as parts:
            yield VisionParts(parts.detector, parts.depth, Broken())

    monkeypatch.setattr(held_out, "vision", without_judge)
    held = HeldOut(Config.load("local"), tmp_path, QUESTIONS, asked.folder / "data")
    with pytest.raises(ServiceError, match=r"12 of 12 held-out questions.*the judge is down"):
        asyncio.run(held.ask(Looks(), 0, lambda line: None))
    broken[0] = False
    record = asyncio.run(held.ask(Looks(), 0, lambda line: None))
    assert record["unasked"] == 0 and record["n"] == QUESTIONS


def test_held_out_scenes_are_rendered_once(asked: Asked) -> None:
    data = asked.folder / "data"
    written = (data / "truth.jsonl").stat().st_mtime_ns
    again = HeldOut(Config.load("local"), asked.folder, QUESTIONS)
    assert len(again.queries) == QUESTIONS and (data / "truth.jsonl").stat().st_mtime_ns == written


def test_more_questions_than_are_there_are_refused_with_the_setting(asked: Asked) -> None:
    with pytest.raises(ConfigError, match=rf"grpo\.eval_questions=13.*{QUESTIONS} questions"):
        HeldOut(Config.load("local"), asked.folder, QUESTIONS + 1)


def test_data_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="valor tabletop render"):
        HeldOut(Config.load("local"), tmp_path, 5, tmp_path / "none")
