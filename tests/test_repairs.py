"""Self-repair: who is asked again, what he is told, and that nothing else changes; scripted writers, a real sandbox."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from writers_of_tests import Says

from valor_ray.answer import answer, to_json
from valor_ray.config.service import SandboxConfig
from valor_ray.errors import PolicyError, QuestionError
from valor_ray.images import from_array
from valor_ray.ports import Turn
from valor_ray.program.inside.placeholders import PlaceholderTools
from valor_ray.program.sandbox import Sandbox
from valor_ray.records import Answer, Reply, ToolCall
from valor_ray.repairs import Repairs, Tried, turn
from valor_ray.selecting.select import Select, answer_selected
from valor_ray.selecting.select import to_json as selected_to_json

PICTURE = from_array(np.zeros((48, 64, 3), np.uint8))
QUESTION = "How many?"


def says(code: str) -> str:
    return f"<plan>Look.</plan><answer>\n{code}\n</answer>"


GOOD, OTHER = says("final_answer = 3"), says("final_answer = 4")
BROKEN = says('found = gd_detect(img_pth, "ball")\nfinal_answer = fond')


class Chain:
    """The whole step with a real sandbox and placeholder tools."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner, self.sandbox = runner, Sandbox(SandboxConfig(wall_seconds=10))

    def __call__(self, policy: Any, most: int, *, failed: str | None = None, **selecting: Any) -> Any:
        repairs, tools = Repairs(most, lambda: failed), PlaceholderTools((64, 48))
        step = answer_selected if selecting else answer
        asked = step(QUESTION, PICTURE, policy, self.sandbox, tools, seed=5, repairs=repairs, **selecting)
        return self._runner.run(asked)


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with asyncio.Runner() as runner:
        made = Chain(runner)
        yield made
        runner.run(made.sandbox.close())


def test_a_program_that_failed_is_told_why_and_the_reply_after_it_counts(chain: Chain) -> None:
    policy = Says(BROKEN, GOOD)
    got = chain(policy, 2)
    assert (got.answer, got.error, got.status, got.unrepaired) == (3, None, "ok", "")
    (first,) = got.earlier
    assert first.reply == BROKEN and "NameError" in str(first.error) and len(first.trace) == 1
    (said,) = policy.turns[1]
    assert policy.turns[0] == () and said.reply == BROKEN
    assert "Status: error" in said.request and "NameError: name 'fond' is not defined" in said.request
    assert "Line 2 of the program: final_answer = fond" in said.request
    assert 'line 1: gd_detect(prompt="ball") -> ' in said.request and "<plan>" in said.request


@pytest.mark.parametrize(
    ("bad", "status", "words"),
    [
        ("final_answer = 3", "malformed", "there is no <plan> block"),
        (says("final_answer = (3"), "rejected", "does not parse"),
        (says("1 / 0"), "error", "ZeroDivisionError"),
        (says('depth(img_pth, "ball")'), "error", "bbox must be four numbers"),
        (says("x = 1"), "error", "without setting final_answer"),
        (says("exit(3)"), "error", "gave up with exit(3)"),
    ],
)
def test_whatever_reply_or_program_did_wrong_goes_back_in_one_line(
    chain: Chain, bad: str, status: str, words: str
) -> None:
    policy = Says(bad, GOOD)
    got = chain(policy, 1)
    assert got.answer == 3 and got.earlier[0].status == status
    lines = policy.turns[1][0].request.splitlines()
    assert lines[1] == f"Status: {status}" and words in lines[2]


def test_each_repair_sees_all_that_went_before_and_there_are_no_more_than_allowed(chain: Chain) -> None:
    policy = Says(BROKEN, says("1 / 0"), "nothing", GOOD)
    got = chain(policy, 2)
    assert got.answer is None and got.status == "malformed" and len(policy.turns) == 3
    assert [each.reply for each in policy.turns[2]] == [BROKEN, says("1 / 0")]
    assert [one.status for one in got.earlier] == ["error", "error"] and got.unrepaired == ""


def test_an_answer_is_never_written_anew_and_without_repairs_nothing_is(chain: Chain) -> None:
    assert chain(Says(GOOD), 3).earlier == ()
    got = chain(Says(BROKEN), 0)
    assert got.error is not None and (got.earlier, got.unrepaired) == ((), "")
    assert "attempts" not in to_json(got) and "unrepaired" not in to_json(got)


def test_a_part_that_failed_is_not_the_programs_doing(chain: Chain) -> None:
    policy = Says(BROKEN)
    got = chain(policy, 2, failed="The detector failed: gone")
    assert len(policy.turns) == 1 and "The detector failed: gone" in got.unrepaired


def test_a_policy_that_fails_in_a_repair_is_an_error_and_no_answer(chain: Chain) -> None:
    with pytest.raises(PolicyError, match="the engine died"):
        chain(Says(BROKEN, PolicyError("the engine died")), 1)


def test_a_writer_that_declined_is_not_asked_again_and_an_empty_reply_is(chain: Chain) -> None:
    declined = Reply("", (), (), "m", "refusal", nothing="the writer 'm' declined: no")
    got = chain(Says(declined), 2)
    assert got.status == "refused" and "declined" in got.unrepaired
    policy = Says(replace(declined, finish_reason="length"), GOOD)
    assert chain(policy, 2).answer == 3
    (said,) = policy.turns[1]
    assert said.reply == "(no text)" and "holds no text" in said.request and "write less" in said.request
    assert "declined" not in said.request


def test_where_the_conversation_is_too_long_calls_are_left_out_and_then_it_says_so(chain: Chain) -> None:
    long = QuestionError("The conversation takes 999 tokens")
    looks = says("\n".join(['gd_detect(img_pth, "ball")'] * 10 + ["1 / 0"]))
    policy = Says(looks, long, long, GOOD)
    assert chain(policy, 1).answer == 3
    shown = [said.request.count("-> ") for (said,) in policy.turns[1:]]
    assert shown == [8, 2, 0]
    policy = Says(looks, long, long, long)
    got = chain(policy, 1)
    assert got.status == "error" and "999 tokens" in got.unrepaired and got.earlier == ()
    policy = Says(says("1 / 0"), long)  # there is nothing to leave out: asked once
    assert "999 tokens" in chain(policy, 1).unrepaired


def test_tokens_and_cost_are_of_all_replies_and_each_attempts_are_its_own(chain: Chain) -> None:
    bad, good = (Reply(text, (1, 2), (), "m", "stop", (1,), cost_usd=0.5) for text in (BROKEN, GOOD))
    got = chain(Says(bad, good), 1)
    assert (got.tokens, got.cost_usd) == ((2, 4), 1.0)
    assert (got.earlier[0].tokens, got.earlier[0].cost_usd) == ((1, 2), 0.5)


def test_the_public_shape_tells_of_each_attempt(chain: Chain) -> None:
    shown = to_json(chain(Says(BROKEN, GOOD), 1))
    (first,) = shown["attempts"]
    assert list(first) == ["error", "reply", "plan", "code", "trace"]
    assert first["reply"] == BROKEN and first["trace"][0]["tool"] == "gd_detect" and shown["error"] is None


def test_thinking_is_not_shown_again(chain: Chain) -> None:
    policy = Says(f"<think>Hm, <plan>?</think>{BROKEN}", GOOD)
    assert chain(policy, 1).answer == 3 and policy.turns[1][0].reply == BROKEN


def tried(error: str, trace: Sequence[ToolCall] = (), line: int | None = None, code: str = "x") -> Tried:
    return Tried(Answer(None, "p", code, tuple(trace), error, reply="r", status="error"), error, line)


def test_a_request_is_the_same_in_every_run_and_holds_in_a_line_what_is_long() -> None:
    """Replies are kept under it: neither addresses nor milliseconds belong in it."""
    first, again = (
        tried(f"TypeError: <function f at {at}> is\n\nno box") for at in ("0x7f12ab34cd", "0x7fffff00aa")
    )
    assert turn(first, 8) == turn(again, 8)
    assert "Error: TypeError: <function f at 0x…> is no box\n" in turn(first, 8).request
    call = ToolCall("vqa", {"bbox": None, "prompt": "p" * 500}, "w" * 500, 3.1, 1)
    assert turn(tried("e", [call]), 8) == turn(tried("e", [replace(call, ms=99.0)]), 8)
    request = turn(tried("E" * 5000, [call] * 50, 1, "x" * 5000), 8).request
    assert len(request) < 3000 and "The last 8 of its 50 tool calls:" in request


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ([], "[]"),
        (
            [{"bbox": [1.2, 2.7, 3, 4], "label": "ball"}] * 5,
            "5 found: ball [1, 3, 3, 4], ball [1, 3, 3, 4], ball [1, 3, 3, 4], 2 more",
        ),
        (1.23456, "1.23"),
        (math.inf, "inf"),
        ("red", '"red"'),
    ],
)
def test_results_are_short(result: Any, shown: str) -> None:
    call = ToolCall("gd_detect", {"prompt": "ball"}, result, 1.0, 7)
    assert f'  line 7: gd_detect(prompt="ball") -> {shown}\n' in turn(tried("e", [call]), 8).request + "\n"


def test_what_a_program_says_fills_no_place_of_ours() -> None:
    request = turn(tried("KeyError: '$where ${status} {{STATUS}}'", line=99), 8).request
    assert "'$where ${status} {{STATUS}}'" in request and "Line" not in request


class Sampler(Says):
    """Samples first, and repairs by what the conversation holds."""

    async def generate(
        self, question: str, *, n: int = 1, seed: int | None = None, turns: Sequence[Turn] = ()
    ) -> list[Reply]:
        if not turns:
            said = super().generate
            return [(await said(question, seed=seed))[0] for _ in range(n)]
        self.turns.append(tuple(turns))
        self.seeds.append(seed)
        return [Reply(OTHER, (1,), (), "v", "stop", (1, 2))]


def test_each_sample_that_failed_is_repaired_by_a_seed_of_its_own_and_then_they_vote(chain: Chain) -> None:
    policy = Sampler(GOOD, BROKEN, BROKEN)
    selected = chain(policy, 1, samples=3, select=Select.VOTE)
    assert [one.answer.answer for one in selected.candidates] == [3, 4, 4]
    assert (selected.answer.answer, selected.why) == (4, "2 of 3 replies answer so")
    assert policy.seeds[-2:] == [6, 7] and selected.answer.tokens == (4, 2)
    shown = selected_to_json(selected)
    assert [len(one.get("attempts", ())) for one in shown["candidates"]] == [0, 1, 1]
    assert len(shown["attempts"]) == 1


def test_judges_see_a_repaired_reply_as_it_is_in_the_end(chain: Chain) -> None:
    heard: list[str] = []

    async def rewarding(question: str, reply: str) -> Any:
        from valor_ray.records import Reward

        heard.append(reply)
        return Reward(float(reply == OTHER), {}, {})

    selected = chain(Sampler(GOOD, BROKEN), 1, samples=2, select=Select.JUDGE, rewarding=rewarding)
    assert sorted(heard) == sorted([GOOD, OTHER]) and selected.answer.answer == 4
