"""The scenes head: which scenes of a question are kept, what a program's answers in them make of it, who pays."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from valor_ray.errors import JudgeError
from valor_ray.judges.scene_questions import read_things
from valor_ray.reasoning.scenes import check
from valor_ray.reasoning.scenes.check import SceneTests, SceneVerdict, beside, together
from valor_ray.reasoning.scenes.record import SceneTest
from valor_ray.records import (
    JudgeReply,
    JudgeRequest,
    SceneObject,
    SceneRun,
    SymbolicScene,
    Usage,
)

QUESTION = "Is the red box left of the ball?"
THINGS = {
    "things": [
        {"noun": "box", "attributes": [{"name": "colour", "value": "red"}], "several": False},
        {"noun": "ball", "attributes": [], "several": False},
    ],
    "attributes": [{"name": "colour", "values": ["red", "blue"]}],
    "others": ["cone"],
    "answer": "yes or no",
}
YES_NO = ["yes", "no"] * 4
ANSWERED = "answered"


def scene(number: int) -> SymbolicScene:
    box = SceneObject("box", {"colour": "red"}, (10.0 * number, 0, 10.0 * number + 5, 5), 2.0, 1.0, 1.0)
    return SymbolicScene((640, 480), (box, SceneObject("ball", {}, (300, 0, 310, 9), 3.0, 1.0, 1.0)))


SCENES = tuple(scene(number) for number in range(8))


class Judge:
    """Says what it is told to; None: it is down. `words`: what a phrase names."""

    def __init__(
        self,
        first: Sequence[Any] | None = YES_NO,
        second: Sequence[Any] | None = YES_NO,
        things: Mapping[str, Any] | None = THINGS,
        words: Callable[[str], list[str] | None] = lambda phrase: [],
    ) -> None:
        self.answers, self.things, self.words = [first, second], things, words
        self.asked: Counter[str] = Counter()
        self.batches: list[int] = []

    async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.batches.append(len(requests))
        await asyncio.sleep(0.01)
        return [self._reply(request) for request in requests]

    def _reply(self, request: JudgeRequest) -> JudgeReply:
        self.asked[request.head] += 1
        usage = Usage(0.5, 100, 10, 0.01, 1, model="a judge")
        content: Mapping[str, Any] | None
        if request.head == "scene_things":
            content = self.things
        elif request.head == "scene_answers":
            given = self.answers[(self.asked["scene_answers"] - 1) % 2]
            content = None if given is None else {"scenes": said(given)}
        else:
            named = self.words(str(request.messages[-1]["content"]))
            content = None if named is None else {"clear": True, "nouns": named}
        return JudgeReply(content, "" if content is not None else "the judge is down", usage)


def said(answers: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {"scene": n, "working": "", "answer": "cannot tell" if answer is None else str(answer)}
        for n, answer in enumerate(answers, 1)
    ]


class Runs:
    """Gives the run of each scene by its number; notes what it was called with."""

    def __init__(self, *runs: SceneRun | Callable[[Mapping[str, Sequence[str]]], SceneRun]) -> None:
        self.runs = runs
        self.calls: list[tuple[list[int], dict[str, Sequence[str]]]] = []

    async def __call__(
        self,
        code: str,
        question: str,
        scenes: Sequence[SymbolicScene],
        words: Mapping[str, Sequence[str]],
    ) -> list[SceneRun]:
        numbers = [SCENES.index(each) for each in scenes]
        self.calls.append((numbers, dict(words)))
        runs = [self.runs[number] for number in numbers]
        return [run if isinstance(run, SceneRun) else run(words) for run in runs]


def gives(*answers: Any) -> Runs:
    return Runs(*(SceneRun(ANSWERED, answer, level="fast") for answer in answers))


def open_(phrase: str = "", why: str = "what it is made of") -> SceneRun:
    return SceneRun("undecided", why=why, phrase=phrase, level="fast")


def known(answer: str, phrase: str) -> Callable[[Mapping[str, Sequence[str]]], SceneRun]:
    """The run of a program with a phrase that only a judge can read."""
    return lambda words: (
        SceneRun(ANSWERED, answer, level="fast") if phrase.casefold() in words else open_(phrase)
    )


@pytest.fixture(autouse=True)
def eight_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "sample_scenes", lambda question, things, count: SCENES[:count])


def verdict(judge: Judge, runs: Runs, question: str = QUESTION) -> SceneVerdict:
    return asyncio.run(SceneTests(judge, runs).verdict(question, "code"))


def test_program_that_gives_every_answer_is_right() -> None:
    judge, runs = Judge(), gives("yes", "no", True, False, "Yes", "no.", "yes", "no")
    given = verdict(judge, runs)
    assert (
        given.verdict is not None and given.verdict.value is True and "all 8 scenes" in given.verdict.reason
    )
    assert given.verdict.by == "a judge"
    assert judge.batches == [1, 2]  # what it names; then both askings together
    assert (given.usage.tries, given.usage.latency_s, given.usage.prompt_tokens) == (3, 1.0, 300)
    recorded = json.loads(given.test)
    assert recorded["kept"] == [1, 2, 3, 4, 5, 6, 7, 8] and recorded["marks"] == "++++++++"
    assert recorded["program"][:3] == ["yes", "no", True] and recorded["answers"] == [YES_NO, YES_NO]
    things = SceneTest.read(given.test).things
    assert things is not None and things == read_things(JudgeReply(THINGS))


def test_one_wrong_or_failed_scene_is_a_no_that_names_it() -> None:
    given = verdict(Judge(), gives("yes", "yes", *YES_NO[2:])).verdict
    assert given is not None and given.value is False
    assert given.reason == "scene 2: gave 'yes', the judge 'no'"
    runs = [SceneRun(ANSWERED, answer, level="fast") for answer in YES_NO]
    runs[4] = SceneRun("failed", why="IndexError: list index out of range", level="fast")
    given = verdict(Judge(), Runs(*runs)).verdict
    assert given is not None and given.value is False
    assert given.reason == "scene 5: failed (IndexError: list index out of range), the judge 'yes'"


def test_reason_names_three_scenes_and_counts_the_others() -> None:
    given = verdict(Judge(), gives(*["no", "yes"] * 4)).verdict
    assert given is not None and given.reason.endswith("and 5 more") and given.reason.count("scene ") == 3


def test_scenes_on_which_the_judge_differs_or_cannot_tell_are_dropped() -> None:
    second = ["no", None, "yes", "no", *YES_NO[4:]]
    runs = gives("wrong", "wrong", *YES_NO[2:])
    given = verdict(Judge(second=second), runs)
    assert given.verdict is not None and given.verdict.value is True
    assert json.loads(given.test)["kept"] == [3, 4, 5, 6, 7, 8] and runs.calls == [([2, 3, 4, 5, 6, 7], {})]


def test_fewer_than_four_agreeing_scenes_leave_the_head_out() -> None:
    runs = gives(*YES_NO)
    given = verdict(
        Judge(second=[*YES_NO[:3], *["yes" if one == "no" else "no" for one in YES_NO[3:]]]), runs
    )
    assert given.verdict is None and runs.calls == []
    assert "agree in 3 of 8" in json.loads(given.test)["why"] and given.usage.tries == 3


def test_answer_that_never_changes_tells_nothing_and_leaves_the_head_out() -> None:
    given = verdict(Judge(["yes"] * 8, ["yes"] * 8), gives(*["yes"] * 8))
    assert given.verdict is None and "'yes' in every scene" in json.loads(given.test)["why"]


def test_question_that_no_scene_can_hold_is_left_out() -> None:
    given = verdict(Judge(things=THINGS | {"things": []}), gives())
    assert given.verdict is None and "no made-up scene" in json.loads(given.test)["why"]
    assert given.usage.tries == 1


@pytest.mark.parametrize(
    "judge", [Judge(things=None), Judge(first=None), Judge(second=None)], ids=["things", "first", "second"]
)
def test_judge_that_is_down_gives_a_missing_verdict_and_is_asked_again(judge: Judge) -> None:
    tests = SceneTests(judge, gives(*YES_NO))
    given = asyncio.run(tests.verdict(QUESTION, "code"))
    assert given.verdict is not None and given.verdict.value is None and not given.verdict.undecided
    assert given.verdict.reason == "the judge is down" and given.test == ""
    judge.things, judge.answers = THINGS, [YES_NO, YES_NO]
    again = asyncio.run(tests.verdict(QUESTION, "code"))
    assert again.verdict is not None and again.verdict.value is True


@pytest.mark.parametrize(
    ("kind", "truth", "answers", "right"),
    [
        ("number", [1.0, 2.0] * 4, [1.19, 2.39] * 4, True),  # within the metric's 20 %
        ("number", [1.0, 2.0] * 4, [1.21, 2.0] * 4, False),
        ("count", [1, 2] * 4, [1.0, "2"] * 4, True),
        ("count", [1, 2] * 4, [1.1, 2] * 4, False),
        ("word", ["red", "blue"] * 4, ["Red", "the blue"] * 4, True),
        ("word", ["red", "blue"] * 4, ["red", "navy blue"] * 4, False),
    ],
)
def test_answers_are_marked_as_the_metric_marks_them(
    kind: str, truth: list[Any], answers: list[Any], right: bool
) -> None:
    given = verdict(Judge(truth, truth, THINGS | {"answer": kind}), gives(*answers)).verdict
    assert given is not None and given.value is right


@pytest.mark.parametrize(("second", "kept"), [(1.2, 8), (1.3, 0)])
def test_two_numbers_agree_within_the_metrics_tolerance(second: float, kept: int) -> None:
    first = [1.0, 10.0] * 4
    judge = Judge(first, [second, 10 * second] * 4, THINGS | {"answer": "number"})
    assert len(json.loads(verdict(judge, gives(*first)).test)["kept"]) == kept


def test_program_that_hands_the_question_on_is_wrong() -> None:
    handed = SceneRun("handed_on", why="Is the red box left of the ball?", level="fast")
    given = verdict(Judge(), Runs(handed, *gives(*YES_NO).runs[1:]))
    assert given.verdict is not None and given.verdict.value is False
    assert "hands the question on" in given.verdict.reason
    assert json.loads(given.test)["marks"] == "h+++++++"


def test_unknown_phrase_is_asked_for_once_and_its_scenes_run_again() -> None:
    """Two programs with the same phrase: one call; only the scenes that it left open run a second time."""

    judge = Judge(words=lambda phrase: ["box"])
    runs = Runs(*(known(answer, "Crimson Crate") for answer in YES_NO[:4]), *gives(*YES_NO).runs[4:])
    tests = SceneTests(judge, runs)

    async def both() -> list[SceneVerdict]:
        return list(await asyncio.gather(*(tests.verdict(QUESTION, code) for code in ("a", "b"))))

    given = asyncio.run(both())
    assert [one.verdict.value for one in given if one.verdict] == [True, True]
    assert judge.asked == {"scene_things": 1, "scene_answers": 2, "scene_words": 1}
    assert sorted(one.usage.tries for one in given) == [0, 4]  # the second reply finds all of it there
    assert [one.usage.cached for one in given].count(True) == 1
    assert [call[0] for call in runs.calls].count([0, 1, 2, 3]) == 2
    assert runs.calls[-1][1] == {"crimson crate": ("box",)}


def test_scenes_that_stay_undecided_are_dropped_and_never_a_no() -> None:
    runs = Runs(*(open_("gizmo") if n < 4 else run for n, run in enumerate(gives(*YES_NO).runs)))
    given = verdict(Judge(), runs)
    assert given.verdict is not None and given.verdict.value is True and "4 undecided" in given.verdict.reason
    assert json.loads(given.test)["marks"] == "????++++"
    wrong = Runs(*(open_("gizmo") if n < 4 else run for n, run in enumerate(gives(*["no", "yes"] * 4).runs)))
    assert verdict(Judge(), wrong).verdict.value is False


def test_fewer_than_four_decided_scenes_are_missing_and_asking_again_is_no_use() -> None:
    runs = Runs(*(open_() if n < 5 else run for n, run in enumerate(gives(*["no", "yes"] * 4).runs)))
    given = verdict(Judge(), runs)
    assert given.verdict is not None and given.verdict.value is None and given.verdict.undecided
    assert given.verdict.reason.startswith("undecided: 3 of 8 scenes") and "made of" in given.verdict.reason
    assert json.loads(given.test)["marks"] == "?????---"


def test_judge_that_fails_on_a_phrase_is_missing_and_asked_again() -> None:
    judge = Judge(words=lambda phrase: None)
    runs = Runs(*(known(answer, "gizmo") for answer in YES_NO))
    tests = SceneTests(judge, runs)
    given = asyncio.run(tests.verdict(QUESTION, "code"))
    assert given.verdict is not None and given.verdict.value is None and not given.verdict.undecided
    assert given.verdict.reason == "the judge is down" and given.usage.tries == 4
    judge.words = lambda phrase: ["box"]
    again = asyncio.run(tests.verdict(QUESTION, "code"))
    assert again.verdict is not None and again.verdict.value is True and again.usage.tries == 1


def test_sandbox_that_is_broken_is_no_fault_of_the_reply() -> None:
    given = verdict(Judge(), Runs(*(SceneRun("undecided", why="no sandbox") for _ in range(8)))).verdict
    assert given is not None and given.value is None and not given.undecided and "no sandbox" in given.reason


def test_question_is_prepared_once_for_all_its_replies_and_the_first_pays() -> None:
    judge, runs = Judge(), gives(*YES_NO)
    tests = SceneTests(judge, runs)

    async def many() -> list[SceneVerdict]:
        await asyncio.gather(tests.prepare(QUESTION), tests.prepare(QUESTION))
        first = list(await asyncio.gather(*(tests.verdict(QUESTION, f"code {n}") for n in range(8))))
        return [*first, await tests.verdict(QUESTION, "later")]

    given = asyncio.run(many())
    assert judge.asked == {"scene_things": 1, "scene_answers": 2}
    assert [one.usage.tries for one in given] == [3, *[0] * 8]
    assert [one.usage.cached for one in given] == [False, *[True] * 8]


def test_refused_key_ends_all_and_is_not_remembered() -> None:
    class Refusing(Judge):
        async def ask(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
            self.batches.append(0)
            raise JudgeError("refused key")

    judge = Refusing()
    tests = SceneTests(judge, gives(*YES_NO))
    for _ in range(2):
        with pytest.raises(JudgeError, match="refused"):
            asyncio.run(tests.verdict(QUESTION, "code"))
    assert len(judge.batches) == 2


def test_usage_of_calls_in_turn_and_side_by_side() -> None:
    paid, cached = Usage(2.0, 10, 1, 0.5, 1, model="m"), Usage(1.0, cached=True, model="m")
    assert together([paid, cached]) == Usage(3.0, 10, 1, 0.5, 1, False, "m")
    assert beside([paid, paid]) == Usage(2.0, 20, 2, 1.0, 2, False, "m")
    assert together([cached, cached]).cached


def test_record_comes_back_from_its_json_and_long_answers_are_cut() -> None:
    given = verdict(Judge(), gives("yes", "x" * 500, *YES_NO[2:]))
    test = SceneTest.read(given.test)
    assert SceneTest.read(test.as_json()) == test and len(test.program[1]) == 80
    assert test.marks == "+-++++++" and test.kept == tuple(range(1, 9))
    with pytest.raises((ValueError, KeyError, TypeError)):
        SceneTest.read('{"things": 3}')
