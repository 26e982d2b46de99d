"""The held-out questions of a training run, asked through the real chain: sandbox and local vision models; no vLLM."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from bases import BASES
from rough_endpoint import endpoint, said

from valor_ray.benchmarks import held_out
from valor_ray.benchmarks.held_out import HeldOut
from valor_ray.config.tree import Config
from valor_ray.errors import CheckpointError, ConfigError, JudgeError, PolicyError, ServiceError, ToolError
from valor_ray.records import DepthMap, Detection, Picture, Reply
from valor_ray.wiring import Eyes, eyes

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


def local_eyes() -> AbstractAsyncContextManager[Eyes]:
    return eyes(Config.load("local", BASES))


@dataclass
class Looks:
    """Opens eyes which count the looks they take, and how often they were opened."""

    opened: int = 0
    taken: Counter[Any] = field(default_factory=Counter)

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Eyes]:
        self.opened += 1
        async with local_eyes() as seeing:
            watched = Watched(seeing, self.taken)
            yield Eyes(watched, watched)


@dataclass
class Watched:
    """ports.Detector and ports.Depth which count the looks they take."""

    eyes: Eyes
    taken: Counter[Any]

    async def detect(
        self, picture: Picture, phrases: Sequence[str], *, box_threshold: float | None = None
    ) -> list[Detection]:
        self.taken["detect", picture.key] += 1
        return await self.eyes.detector.detect(picture, phrases, box_threshold=box_threshold)

    async def depth(self, picture: Picture) -> DepthMap:
        self.taken["depth", picture.key] += 1
        return await self.eyes.depth.depth(picture)


def never() -> Any:
    raise AssertionError("the models are loaded although nothing is asked")


@dataclass
class TwoVersions:
    """Asked one after the other in one run folder."""

    folder: Path
    records: list[dict[str, Any]] = field(default_factory=list)
    policies: list[Counts] = field(default_factory=list)
    looks: list[Looks] = field(default_factory=list)  # that each version has caused


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> TwoVersions:
    both = TwoVersions(tmp_path_factory.mktemp("run") / "evaluation")
    held = HeldOut(Config.load("local", BASES), both.folder, QUESTIONS)
    for step in (0, 3):
        both.looks.append(Looks())
        both.policies.append(Counts())
        both.records.append(ask(held, both.policies[-1], both.looks[-1], step))
    return both


def ask(held: HeldOut, policy: Any, open_eyes: Any = local_eyes, step: int = 0) -> dict[str, Any]:
    return asyncio.run(held.ask(policy, open_eyes, step, lambda line: None))


def answers(folder: Path, step: int) -> list[dict[str, Any]]:
    path = folder / f"step-{step:06d}" / "answers.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_record_has_the_figures_of_a_version_and_no_row(asked: TwoVersions) -> None:
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


def test_count_question_is_answered_by_what_the_detector_sees(asked: TwoVersions) -> None:
    rows = [row for row in answers(asked.folder, 0) if row["well_formed"]]
    assert all(row["error"] is None and isinstance(row["answer"], int) for row in rows)
    assert any(row["answer"] > 0 for row in rows)


def test_replies_without_their_blocks_are_not_well_formed(asked: TwoVersions) -> None:
    questions = [question for question, _ in asked.policies[0].asked]
    colours = sum("colour" in question for question in questions)
    assert 0 < colours < QUESTIONS
    assert asked.records[0]["well_formed"] == pytest.approx(1 - colours / QUESTIONS, abs=1e-4)
    assert sum(row["well_formed"] for row in answers(asked.folder, 0)) == QUESTIONS - colours


def test_every_version_is_asked_the_same_with_the_same_seeds(asked: TwoVersions) -> None:
    first, second = (sorted(policy.asked) for policy in asked.policies)
    assert first == second and len(first) == QUESTIONS
    assert len({seed for _, seed in first}) == QUESTIONS and all(seed is not None for _, seed in first)


def test_every_picture_is_looked_at_once_for_all_questions_and_versions(asked: TwoVersions) -> None:
    first, second = asked.looks
    assert set(first.taken.values()) == {1} and {name for name, _ in first.taken} == {"detect", "depth"}
    assert not second.taken


def test_models_are_loaded_once_a_version_and_not_when_all_is_answered(asked: TwoVersions) -> None:
    assert [looks.opened for looks in asked.looks] == [1, 1]
    held = HeldOut(Config.load("local", BASES), asked.folder, QUESTIONS)
    again = ask(held, Counts(), never)
    first = asked.records[0]
    assert again | {"seconds": first["seconds"]} == first


def test_models_that_do_not_load_end_the_evaluation_without_a_row(tmp_path: Path, asked: TwoVersions) -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[Eyes]:
        raise CheckpointError("no weights")
        yield

    held = HeldOut(Config.load("local", BASES), tmp_path, QUESTIONS, asked.folder / "data")
    with pytest.raises(CheckpointError, match="no weights"):
        ask(held, Counts(), broken)
    assert not list(tmp_path.rglob("answers.jsonl"))


def test_questions_that_got_no_reply_are_asked_again_and_only_they(
    tmp_path: Path, asked: TwoVersions
) -> None:
    sick, well = Counts(refuses="ball"), Counts()
    for policy in (sick, well):
        held = HeldOut(Config.load("local", BASES), tmp_path, QUESTIONS, asked.folder / "data")
        try:
            record = ask(held, policy)
        except ServiceError as error:
            assert policy is sick and "held-out questions could not be asked (the policy" in str(error)
    again = {question for question, _ in well.asked}
    assert again == {question for question, _ in sick.asked if "ball" in question} and len(again) > 1
    assert {name: record[name] for name in ("n", "accuracy", "well_formed", "by_family")} == {
        name: asked.records[0][name] for name in ("n", "accuracy", "well_formed", "by_family")
    }


class AsksTheJudge:
    """ports.Policy with one program for all questions: it asks the judge, and lives with its failure."""

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        code = 'final_answer = "none"\nwhat = vqa(img_pth, None, "What colour is the ball?")\nfinal_answer = what'
        text = f"<plan>\n1. Look.\n</plan>\n<answer>\n{code}\n</answer>"
        return [Reply(text, (1,), (0.0,), "step-000000", "stop")]


def test_judge_that_fails_makes_no_answer_wrong(
    tmp_path: Path, asked: TwoVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [True]

    class Broken:
        def __init__(self, *given: object) -> None: ...

        async def vqa(self, picture: Picture, question: str) -> str:
            if broken[0]:
                raise JudgeError("the judge is down")
            return "red"

    monkeypatch.setattr(held_out, "VqaJudge", Broken)
    held = HeldOut(Config.load("local", BASES), tmp_path, QUESTIONS, asked.folder / "data")
    with pytest.raises(ServiceError, match=r"12 of 12 held-out questions.*the judge is down"):
        ask(held, AsksTheJudge())
    broken[0] = False
    record = ask(held, AsksTheJudge())
    assert record["unasked"] == 0 and record["n"] == QUESTIONS


def test_pictures_are_asked_of_the_vlm_and_its_answers_are_kept(tmp_path: Path, asked: TwoVersions) -> None:
    async def red(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return said('{"answer": "red"}')

    with endpoint() as judge, endpoint(red) as vlm:
        settings = [
            f"judge.base_url={judge.url}",
            f"vlm.base_url={vlm.url}",
            "vlm.model=eyes",
            "vlm.api_key_env=null",
        ]
        held = HeldOut(Config.load("local", settings), tmp_path, QUESTIONS, asked.folder / "data")
        first = ask(held, AsksTheJudge())
        pictures = vlm.calls
        ask(held, AsksTheJudge(), step=3)
    assert first["unasked"] == 0 and judge.calls == 0
    assert {body["model"] for body in vlm.bodies} == {"eyes"} and 0 < pictures == vlm.calls
    assert (tmp_path / "vlm_cache" / "answers.sqlite").exists()


class Guesses:
    """ports.Policy with one program for all questions: it looks, and has a guess when that fails."""

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        code = 'final_answer = 0\nfinal_answer = len(gd_detect(img_pth, "ball"))'
        text = f"<plan>\n1. Look.\n</plan>\n<answer>\n{code}\n</answer>"
        return [Reply(text, (1,), (0.0,), "step-000000", "stop")]


@pytest.mark.parametrize("failure", ["lost", "ill", "hangs"])
def test_eyes_that_fail_make_no_answer_wrong(tmp_path: Path, asked: TwoVersions, failure: str) -> None:
    class Eye:
        async def detect(self, *given: object, **more: object) -> list[Detection]:
            if failure == "hangs":
                await asyncio.sleep(60)
            raise {"lost": ServiceError, "ill": ToolError}[failure]("the detector is gone")

    @asynccontextmanager
    async def blind() -> AsyncIterator[Eyes]:
        yield Eyes(Eye(), Eye())  # type: ignore[arg-type]

    config = Config.load("local", ["sandbox.tool_seconds=5"] if failure == "hangs" else [])
    held = HeldOut(config, tmp_path, QUESTIONS, asked.folder / "data")
    reason = r"gave no answer for \d s" if failure == "hangs" else "the detector is gone"
    with pytest.raises(ServiceError, match=rf"12 of 12 held-out questions.*The detector .*{reason}"):
        ask(held, Guesses(), blind)
    assert ask(held, Guesses())["unasked"] == 0  # the same command asks them again


def test_program_that_is_slow_by_itself_is_wrong(tmp_path: Path, asked: TwoVersions) -> None:
    class Loops(Guesses):
        async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
            code = 'gd_detect(img_pth, "ball")\nwhile True:\n    pass'
            text = f"<plan>\n1. Look.\n</plan>\n<answer>\n{code}\n</answer>"
            return [Reply(text, (1,), (0.0,), "step-000000", "stop")]

    config = Config.load("local", ["sandbox.wall_seconds=3", "sandbox.cpu_seconds=1"])
    held = HeldOut(config, tmp_path, 4, asked.folder / "data")
    record = ask(held, Loops())
    assert (record["unasked"], record["accuracy"], record["n"]) == (0, 0.0, 4)


def test_held_out_scenes_are_rendered_once(asked: TwoVersions) -> None:
    data = asked.folder / "data"
    written = (data / "truth.jsonl").stat().st_mtime_ns
    again = HeldOut(Config.load("local", BASES), asked.folder, QUESTIONS)
    assert len(again.queries) == QUESTIONS and (data / "truth.jsonl").stat().st_mtime_ns == written


def test_more_questions_than_are_there_are_refused_with_the_setting(asked: TwoVersions) -> None:
    with pytest.raises(ConfigError, match=rf"grpo\.eval_questions=13.*{QUESTIONS} questions"):
        HeldOut(Config.load("local", BASES), asked.folder, QUESTIONS + 1)


def test_data_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="valor tabletop render"):
        HeldOut(Config.load("local", BASES), tmp_path, 5, tmp_path / "none")
