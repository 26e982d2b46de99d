"""From the policy's text to plan and code. Nothing of a malformed reply is ever run."""

from __future__ import annotations

import re
import textwrap

from valor_ray.program.syntax_tree import syntax_tree
from valor_ray.records import ParsedReply

_TAG = re.compile(r"<(/?)(plan|answer)>")
# what a model may mean by a tag and is none: <PLAN>, < plan >, <answer lang="python">
_LIKE_A_TAG = r"<\s{{0,4}}/?\s{{0,4}}{name}\b[^<>\n]{{0,60}}>"
_THOUGHT = re.compile(r"</think(?:ing)?>|\[/think\]", re.IGNORECASE)
_THINKING = re.compile(r"<think(?:ing)?>|\[think\]", re.IGNORECASE)
_FENCE_LINE = re.compile(r"^[ \t]*+(?P<marks>`{3,}+|~{3,}+)(?P<info>[^`\n]*+)$", re.MULTILINE)


class _Malformed(Exception):
    """Why a reply is not well formed, in words."""


def parse_reply(text: str) -> ParsedReply:
    """Split a reply into its one plan block and its one answer block (REFERENCE §1, "format").

    What stands up to the last </think>, and text outside the blocks, is passed over; the outermost code fences inside
    the answer block are stripped, with prose around them. Anything else comes back with `error` saying what is wrong.
    Linear in the text, whatever it is.
    """
    try:
        plan, answer = _blocks(_after_thinking(text))
        return ParsedReply(plan=plan, code=_code(answer))
    except _Malformed as reason:
        return ParsedReply(plan="", code="", error=str(reason))


def without_thinking(text: str) -> str:
    """What stands behind the last </think>: chat templates may open the block themselves, so a lone one ends it too."""
    ends = [thought.end() for thought in _THOUGHT.finditer(text)]
    return text[ends[-1] :] if ends else text


def _after_thinking(text: str) -> str:
    """Drafts stay behind."""
    text = without_thinking(text)
    first = _TAG.search(text)
    if _THINKING.search(text, 0, first.start() if first else len(text)):
        raise _Malformed("the <think> block is not closed")
    return text


def _blocks(text: str) -> tuple[str, str]:
    tags = list(_TAG.finditer(text))
    for name in ("plan", "answer"):
        opened = sum(tag[0] == f"<{name}>" for tag in tags)
        closed = sum(tag[0] == f"</{name}>" for tag in tags)
        if not (opened and closed) and (near := _like_a_tag(name, text)):
            raise _Malformed(
                f"{near} is no tag: write <{name}> and </{name}>, in lower case and with nothing in them"
            )
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


def _like_a_tag(name: str, text: str) -> str | None:
    near = re.finditer(_LIKE_A_TAG.format(name=name), text, re.IGNORECASE)
    return next((tag[0] for tag in near if tag[0] not in (f"<{name}>", f"</{name}>")), None)


def _code(answer: str) -> str:
    fences = list(_FENCE_LINE.finditer(answer))
    if fences:
        answer = _inside(answer, fences)
    code = answer.strip("\r\n").rstrip()
    if code[:1].isspace():  # all of it may be indented; otherwise not a character of it is touched
        code = textwrap.dedent(code)
    if not code.strip():
        raise _Malformed("the <answer> block is empty")
    return code


def _inside(answer: str, fences: list[re.Match[str]]) -> str:
    """What stands between the first fence and the last that can close it.

    A program may hold such fences itself, in a text of several lines; two programs one after the other are no program.
    """
    marks = fences[0]["marks"]
    closing = [each for each in fences[1:] if each["marks"].startswith(marks) and not each["info"].strip()]
    if not closing:
        raise _Malformed("the code fence in the <answer> block is not closed")
    inner = answer[fences[0].end() : closing[-1].start()]
    if closing[-1] is not fences[-1] or (len(closing) > 1 and not _is_python(inner)):
        raise _Malformed("there is more than one code fence in the <answer> block")
    return inner


def _is_python(code: str) -> bool:
    try:
        syntax_tree(textwrap.dedent(code))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True
