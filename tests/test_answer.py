"""The inference step: from question to answer record, without Ray and without models."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import numpy as np
import pytest

from valor_ray.answer import MALFORMED, REFUSED, answer, check_question, finite, status_of, to_json
from valor_ray.errors import QuestionError
from valor_ray.images import from_array
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.records import ProgramResult, ProgramStatus, Reply, ToolCall
from valor_ray.tools import ToolHost

PICTURE = from_array(np.zeros((10, 20, 3), np.uint8))
GOOD = "<plan>Count.</plan><answer>final_answer = 3</answer>"


class Policy:
    def __init__(self, text: str, finish_reason: str = "stop") -> None:
        self._reply = Reply(text, (), (), "v7", finish_reason)

    async def generate(self, question: str, *, n: int = 1, seed: int | None = None) -> list[Reply]:
        return [self._reply] * n


class Runner:
    """Gives a fixed result and remembers what it was asked to run."""

    def __init__(self, result: ProgramResult | None = None) -> None:
        self._result = result or ProgramResult(ProgramStatus.OK, answer=3)
        self.ran: list[tuple[str, tuple[int, int]]] = []

    async def run(self, code: str, tools: ToolHost, image_size: tuple[int, int]) -> ProgramResult:
        self.ran.append((code, image_size))
        return self._result


def ask(policy: Policy, runner: Runner):
    return asyncio.run(answer("How many?", PICTURE, policy, runner, PlaceholderTools((20, 10))))


def test_answer_holds_plan_code_status_and_policy_version() -> None:
    runner = Runner()
    got = ask(Policy(GOOD), runner)
    assert (got.answer, got.plan, got.code) == (3, "Count.", "final_answer = 3")
    assert (got.status, got.error, got.policy_version, got.reply) == ("ok", None, "v7", GOOD)
    assert runner.ran == [("final_answer = 3", (20, 10))] and got.seconds >= 0


@pytest.mark.parametrize("text", ["", "final_answer = 3", GOOD + GOOD, "<plan>a</plan><answer></answer>"])
def test_malformed_reply_runs_nothing_and_keeps_the_text(text: str) -> None:
    runner = Runner()
    got = ask(Policy(text), runner)
    assert runner.ran == [] and got.status == MALFORMED and got.answer is None and got.reply == text
    assert got.error and "malformed" in got.error


def test_reply_cut_at_the_token_limit_says_so() -> None:
    assert "token limit" in str(ask(Policy("<plan>a", "length"), Runner()).error)


def test_failed_program_names_status_line_and_cause() -> None:
    result = ProgramResult(ProgramStatus.TIMEOUT, error="took longer than 30 s", line=2)
    got = ask(Policy(GOOD), Runner(result))
    assert got.error == "The program ended with status timeout in line 2: took longer than 30 s"
    assert got.status == "timeout" and got.answer is None


def test_json_shape_has_the_documented_keys_and_only_numbers_json_knows() -> None:
    call = ToolCall("depth", {"bbox": [0, 0, 1, 1]}, math.inf, 1.5, 1)
    got = to_json(ask(Policy(GOOD), Runner(ProgramResult(ProgramStatus.OK, answer=math.nan, calls=(call,)))))
    assert list(got) == ["answer", "plan", "code", "trace", "error", "seconds"]
    assert got["answer"] == "nan" and got["trace"][0]["result"] == "inf"
    assert list(got["trace"][0]) == ["tool", "args", "result", "ms", "line", "error"]


def test_finite_leaves_everything_else_alone() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": {}}
    assert finite(value) == value


@pytest.mark.parametrize("question", ["", "  ", None, 7, ["x"], "x" * 21, "a\0b", "\ud800"])
def test_bad_questions_are_refused(question: object) -> None:
    with pytest.raises(QuestionError):
        check_question(question, 20)


def test_good_questions_lose_only_surrounding_space() -> None:
    assert check_question("  Wie viele Würfel?\n", 20) == "Wie viele Würfel?"


@pytest.mark.parametrize("status", [status for status in ProgramStatus if status is not ProgramStatus.OK])
@pytest.mark.parametrize("line", [None, 3])
def test_public_shape_tells_the_status_of_a_failed_program(status: ProgramStatus, line: int | None) -> None:
    got = ask(Policy(GOOD), Runner(ProgramResult(status, error="it ended with status ok", line=line)))
    assert status_of(to_json(got)) == got.status == status


def test_public_shape_tells_a_malformed_reply_and_an_answer() -> None:
    assert status_of(to_json(ask(Policy("no blocks"), Runner()))) == MALFORMED
    assert status_of(to_json(ask(Policy(GOOD), Runner()))) == ProgramStatus.OK
    assert status_of({"answer": None, "error": "another server's words"}) == ProgramStatus.ERROR


def test_a_writer_that_declined_or_wrote_nothing_runs_nothing_and_its_words_are_the_error() -> None:
    for finish, status in (("refusal", REFUSED), ("content_filter", REFUSED), ("length", MALFORMED)):
        runner, policy = Runner(), Policy("", finish)
        policy._reply = replace(policy._reply, nothing="the writer 'm' said: no.", counted=(100, 7))
        got = ask(policy, runner)
        assert runner.ran == [] and got.answer is None and (got.status, got.tokens) == (status, (100, 7))
        assert got.error is not None and "the writer 'm' said: no. Nothing was run" in got.error
        assert status_of(to_json(got)) == status
