"""From the policy's text to plan and code. Nothing of a malformed reply is ever run."""

from __future__ import annotations

import re
import textwrap

from valor_ray.records import ParsedReply

_TAG = re.compile(r"<(/?)(plan|answer)>")
_FENCE_LINE = re.compile(r"^[ \t]*```[^\n`]*$", re.MULTILINE)


class _Malformed(Exception):
    """Why a reply is not well formed, in words."""


def parse_reply(text: str) -> ParsedReply:
    """Split a reply into its one plan block and its one answer block (REFERENCE §1, "format").

    A <think>…</think> prefix and text outside the blocks are passed over; code fences inside the answer block are
    stripped, with prose around them. Anything else comes back with `error` saying what is wrong.
    """
    try:
        plan, answer = _blocks(_after_thinking(text))
        return ParsedReply(plan=plan, code=_code(answer))
    except _Malformed as reason:
        return ParsedReply(plan="", code="", error=str(reason))


def _after_thinking(text: str) -> str:
    """Chat templates may open the thinking block themselves, so a lone </think> before the plan counts too."""
    thought, closed, rest = text.partition("</think>")
    if closed and (thought.lstrip().startswith("<think>") or "<plan>" not in thought):
        return rest
    if text.lstrip().startswith("<think>"):
        raise _Malformed("the <think> block is not closed")
    return text


def _blocks(text: str) -> tuple[str, str]:
    tags = list(_TAG.finditer(text))
    for name in ("plan", "answer"):
        opened = sum(tag[0] == f"<{name}>" for tag in tags)
        closed = sum(tag[0] == f"</{name}>" for tag in tags)
        if opened == 0 and closed == 0:
            raise _Malformed(f"there is no <{name}> block")
        if opened > 1 or closed > 1:
            raise _Malformed(f"there is more than one <{name}> block")
        if not closed:
            raise _Malformed(f"the <{name}> block is not closed")
        if not opened:
            raise _Malformed(f"</{name}> closes a block that was never opened")
    at = {tag[0]: tag for tag in tags}
    if any(at[f"<{name}>"].start() > at[f"</{name}>"].start() for name in ("plan", "answer")):
        raise _Malformed("a block is closed before it is opened")
    if [tag[1] for tag in tags] != ["", "/", "", "/"]:
        raise _Malformed("the <plan> and <answer> blocks are nested")
    if tags[0][2] != "plan":
        raise _Malformed("the <answer> block comes before the <plan> block")
    plan = text[tags[0].end() : tags[1].start()].strip()
    answer = text[tags[2].end() : tags[3].start()]
    if not plan:
        raise _Malformed("the <plan> block is empty")
    if not answer.strip():
        raise _Malformed("the <answer> block is empty")
    return plan, answer


def _code(answer: str) -> str:
    fences = list(_FENCE_LINE.finditer(answer))
    if len(fences) == 1:
        raise _Malformed("the code fence in the <answer> block is not closed")
    if len(fences) > 2:
        raise _Malformed("there is more than one code fence in the <answer> block")
    if fences:
        answer = answer[fences[0].end() : fences[1].start()]
    code = answer.strip("\n").rstrip()
    if code[:1].isspace():  # all of it may be indented; otherwise not a character of it is touched
        code = textwrap.dedent(code)
    if not code.strip():
        raise _Malformed("the <answer> block is empty")
    return code
