"""Self-repair: a reply whose program failed goes back to its writer with error and trace, up to k times. Ours.

    reply ─► run ─► answer ─────────────────────────────────────────────► taken
               └──► it failed by its own doing ─► question, replies so far, requests ─► policy ─► reply ─► run ─► …

A part that failed (policy, tool, judge) is nothing that a program could mend. No label is met: what runs to an answer
is taken, right or wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from string import Template
from typing import Any

from valor_ray.errors import QuestionError
from valor_ray.ports import Policy, Turn
from valor_ray.program.parse import without_thinking
from valor_ray.records import Answer, Reply, ToolCall

_MOST_CALLS = (8, 2, 0)  # calls of a trace that a request shows; the next, where the conversation is too long
_LONGEST = 300  # characters of an error
_LONGEST_LINE, _LONGEST_VALUE = 160, 80
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")  # another one in each process
_NOTHING = "(no text)"  # what a writer that wrote nothing is shown: some endpoints take no empty message


@dataclass(frozen=True)
class Repairs:
    """What is done about replies that fail."""

    most: int = 0  # times that a reply is written anew
    failed_part: Callable[[], str | None] = lambda: (
        None
    )  # why a part behind the tools has failed; None: none has


@dataclass(frozen=True)
class Tried:
    """A reply that was run, and what its writer can be told of it."""

    answer: Answer
    wrong: str = ""  # what went wrong; "": nothing, or nothing that another reply would mend
    line: int | None = None  # of the program, 1-based


NONE = Repairs()
Run = Callable[[Reply], Awaitable[Tried]]


async def repaired(
    first: Tried, question: str, policy: Policy, run: Run, repairs: Repairs, seed: int | None
) -> Answer:
    """The answer of `first`, or of the last of at most `repairs.most` replies that were written after it.

    Waits for the policy and for each program. Where a reply is not repaired, `unrepaired` says why. Raises PolicyError
    when the policy cannot be asked.
    """
    tries = [first]
    why = ""
    while tries[-1].answer.error is not None and len(tries) <= repairs.most:
        if why := _beyond_repair(tries[-1], repairs):
            break
        try:
            reply = await _written_anew(question, tries, policy, seed)
        except QuestionError as error:
            why = f"the conversation was refused, also without its tool calls: {error}"
            break
        tries.append(await run(reply))
    answers = [each.answer for each in tries]
    return replace(
        answers[-1],
        tokens=(sum(each.tokens[0] for each in answers), sum(each.tokens[1] for each in answers)),
        cost_usd=sum(each.cost_usd for each in answers),
        earlier=tuple(answers[:-1]),
        unrepaired=why,
    )


def _beyond_repair(tried: Tried, repairs: Repairs) -> str:
    if not tried.wrong:
        return "the writer declined, and is not asked again"
    if (failed := repairs.failed_part()) is not None:
        return f"a part failed, not the program: {failed}"
    return ""


async def _written_anew(question: str, tries: Sequence[Tried], policy: Policy, seed: int | None) -> Reply:
    """Raises QuestionError when the conversation is too long whatever is left out; PolicyError."""
    refused: QuestionError | None = None
    for turns in dict.fromkeys(tuple(turn(each, calls) for each in tries) for calls in _MOST_CALLS):
        try:
            return (await policy.generate(question, n=1, seed=seed, turns=turns))[0]
        except QuestionError as error:
            refused = error
    assert refused is not None
    raise refused


def turn(tried: Tried, calls: int) -> Turn:
    """The reply as its writer sees it again, and the request: status, error, failing line, the last `calls` tool calls.

    The same in every run of the same program, so that a reply to it that was kept is found."""
    where = [*_source(tried), *_calls(tried.answer.trace, calls)]
    request = _template().substitute(
        status=tried.answer.status,
        error=_one_line(tried.wrong, _LONGEST),
        where="".join(f"\n{line}" for line in where),
    )
    return Turn(without_thinking(tried.answer.reply).strip() or _NOTHING, request)


def _template() -> Template:
    text = files("valor_ray").joinpath("prompts", "repair", "request.txt").read_text(encoding="utf-8")
    return Template(text.strip())


def _source(tried: Tried) -> list[str]:
    lines = tried.answer.code.split("\n")
    if tried.line is None or not 1 <= tried.line <= len(lines):
        return []
    return [f"Line {tried.line} of the program: {_one_line(lines[tried.line - 1], _LONGEST_LINE)}"]


def _calls(trace: Sequence[ToolCall], most: int) -> list[str]:
    if not trace or not most:
        return []
    left_out = max(len(trace) - most, 0)
    head = f"The last {most} of its {len(trace)} tool calls:" if left_out else "Its tool calls:"
    return [head, *map(_call, trace[left_out:])]


def _call(call: ToolCall) -> str:
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in call.args.items() if value is not None)
    outcome = _short(call.result) if call.error is None else f"failed: {_one_line(call.error, _LONGEST_LINE)}"
    return f"  line {call.line}: {call.tool}({arguments}) -> {outcome}"


def _short(value: Any) -> str:
    """A JSON value in a few words: boxes in whole pixels, metres to the centimetre."""
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        shown = [f"{each.get('label', '')} {_short(each.get('bbox'))}".strip() for each in value[:3]]
        more = f", {len(value) - 3} more" if len(value) > 3 else ""
        return f"{len(value)} found: " + _one_line(", ".join(shown) + more, 2 * _LONGEST_VALUE)
    if isinstance(value, list) and all(isinstance(each, int | float) for each in value):
        return _one_line("[" + ", ".join(f"{each:.0f}" for each in value) + "]", _LONGEST_VALUE)
    if isinstance(value, float):
        return f"{value:.2f}"
    return _one_line(json.dumps(value, ensure_ascii=False), _LONGEST_VALUE)


def _one_line(text: str, longest: int) -> str:
    line = _ADDRESS.sub("0x…", " ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"
