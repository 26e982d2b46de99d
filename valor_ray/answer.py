"""The inference step: one question about one picture, from the policy's reply to the program's answer (no Ray here)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from valor_ray.errors import QuestionError
from valor_ray.ports import Policy
from valor_ray.program.parse import parse_reply
from valor_ray.records import Answer, ParsedReply, Picture, ProgramResult, ProgramStatus, Reply, ToolCall
from valor_ray.repairs import NONE, Repairs, Tried, repaired
from valor_ray.tools import ToolHost

MALFORMED = "malformed"  # Answer.status of a reply without exactly one plan and one answer block
REFUSED = "refused"  # of one that a model declined to write, or a provider's filter took
_REFUSALS = ("refusal", "content_filter")  # Reply.finish_reason
# how errors begin
_MALFORMED, _REFUSED = "The policy's reply is malformed", "The policy refused"
_ENDED = "The program ended with status {}"


class ProgramRunner(Protocol):
    """What runs a program: `program.sandbox.Sandbox`."""

    async def run(self, code: str, tools: ToolHost, image_size: tuple[int, int]) -> ProgramResult: ...


def check_question(question: object, max_chars: int) -> str:
    """The question without surrounding space. Raises QuestionError when it is empty, too long or not text."""
    if not isinstance(question, str):
        raise QuestionError("The question must be text: send it as the string `question`.")
    question = question.strip()
    if not question:
        raise QuestionError("The question is empty. Ask something about the picture.")
    if len(question) > max_chars:
        raise QuestionError(
            f"The question has {len(question):,} characters; the limit is {max_chars:,}. Shorten it."
        )
    if "\0" in question or (
        not question.isascii() and any("\ud800" <= char <= "\udfff" for char in question)
    ):
        raise QuestionError(
            "The question holds characters that are no text (NUL or lone surrogates). Remove them."
        )
    return question


async def answer(
    question: str,
    picture: Picture,
    policy: Policy,
    sandbox: ProgramRunner,
    tools: ToolHost,
    *,
    seed: int | None = None,
    repairs: Repairs = NONE,
) -> Answer:
    """Sample one reply, parse it, run its program with live tools; as often as `repairs` allows, anew where it failed.

    A malformed reply runs nothing. What goes wrong in reply or program stands in `Answer.error`: it is a result, not
    an exception. Raises PolicyError when there is no reply at all.
    """
    start = time.monotonic()

    async def run(reply: Reply) -> Tried:
        return await tried(reply, picture, sandbox, tools, start)

    reply = (await policy.generate(question, n=1, seed=seed))[0]
    return await repaired(await run(reply), question, policy, run, repairs, seed)


async def answer_of(
    reply: Reply, picture: Picture, sandbox: ProgramRunner, tools: ToolHost, start: float
) -> Answer:
    """What a reply's program answers. start: time.monotonic() from which on its seconds count."""
    return (await tried(reply, picture, sandbox, tools, start)).answer


async def tried(
    reply: Reply, picture: Picture, sandbox: ProgramRunner, tools: ToolHost, start: float
) -> Tried:
    """`answer_of`, with what its writer can be told."""
    parsed = parse_reply(reply.text)
    if reply.nothing or not parsed.well_formed:
        return Tried(_malformed(reply, parsed, time.monotonic() - start), _wrong(reply, parsed))
    result = await sandbox.run(parsed.code, tools, (picture.width, picture.height))
    answer = Answer(
        answer=result.answer,
        plan=parsed.plan,
        code=parsed.code,
        trace=result.calls,
        error=_program_error(result),
        seconds=time.monotonic() - start,
        reply=reply.text,
        status=result.status.value,
        policy_version=reply.policy_version,
        tokens=tokens_of(reply),
        cost_usd=reply.cost_usd,
    )
    return Tried(answer, result.error or "", result.line)


def tokens_of(reply: Reply) -> tuple[int, int]:
    """Tokens of prompt and reply."""
    return reply.counted or (len(reply.prompt_ids), len(reply.token_ids))


def status_without_program(reply: Reply) -> str:
    """Answer.status of a reply that holds none."""
    return REFUSED if reply.finish_reason in _REFUSALS else MALFORMED


def to_json(answer: Answer) -> dict[str, Any]:
    """The public shape of an answer: the keys of `valor ask --json` and `/v1/answer`, where width and height of the
    picture come beside.

    `attempts` only of a reply that was written anew, `unrepaired` only of one that was to be and was not."""
    return {
        "answer": finite(answer.answer),
        "plan": answer.plan,
        "code": answer.code,
        "trace": [_call(call) for call in answer.trace],
        "error": answer.error,
        "seconds": round(answer.seconds, 3),
        **attempts_of(answer),
    }


def attempts_of(answer: Answer) -> dict[str, Any]:
    """`attempts` and `unrepaired`, where there are any."""
    attempts = [
        {
            "error": one.error,
            "reply": one.reply,
            "plan": one.plan,
            "code": one.code,
            "trace": [_call(call) for call in one.trace],
        }
        for one in answer.earlier
    ]
    said = {"attempts": attempts, "unrepaired": answer.unrepaired}
    return {key: value for key, value in said.items() if value}


def _call(call: ToolCall) -> dict[str, Any]:
    """A line of the trace; `version` only where the tool has one."""
    record: dict[str, Any] = finite(asdict(call))
    return {key: value for key, value in record.items() if key != "version" or value}


def finite(value: Any) -> Any:
    """A JSON value with NaN and infinities as text: JSON has no numbers for them."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _malformed(reply: Reply, parsed: ParsedReply, seconds: float) -> Answer:
    cut = " (it was cut at the policy's token limit)" if reply.finish_reason == "length" else ""
    status, why = status_without_program(reply), reply.nothing or f"{parsed.error}{cut}"
    began = _REFUSED if status == REFUSED else _MALFORMED
    return Answer(
        answer=None,
        plan="",
        code="",
        error=f"{began}: {why.removesuffix('.')}. Nothing was run; ask again or rephrase.",
        seconds=seconds,
        reply=reply.text,
        status=status,
        policy_version=reply.policy_version,
        tokens=tokens_of(reply),
        cost_usd=reply.cost_usd,
    )


def _wrong(reply: Reply, parsed: ParsedReply) -> str:
    """Of a malformed reply, for its writer; "" of one that was declined."""
    if status_without_program(reply) == REFUSED:
        return ""
    why = "the reply holds no text" if reply.nothing else str(parsed.error)
    cut = "; it was cut at the limit of tokens: write less" if reply.finish_reason == "length" else ""
    return f"{why}{cut}. Nothing was run"


def status_of(shown: Mapping[str, Any]) -> str:
    """Answer.status of an answer or a candidate in its public shape, which says it in the words of `error` alone.

    "error" where these are not ours.
    """
    if (error := shown.get("error")) is None:
        return ProgramStatus.OK
    if shown.get("status"):
        return str(shown["status"])
    for began, status in ((_MALFORMED, MALFORMED), (_REFUSED, REFUSED)):
        if str(error).startswith(began):
            return status
    said = re.match(_ENDED.format(f"({'|'.join(ProgramStatus)})"), str(error))
    return said[1] if said else ProgramStatus.ERROR


def _program_error(result: ProgramResult) -> str | None:
    if result.error is None:
        return None
    where = f" in line {result.line}" if result.line is not None else ""
    return f"{_ENDED.format(result.status.value)}{where}: {result.error}"
