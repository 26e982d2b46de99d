"""From what a judge wrote to the one JSON object that was asked for: taken out of fences and words, never put together.

An object counts when it fits the schema exactly, stood in the text as it is, and nothing else there says otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from valor_ray.judges.gateway.call.outcome import HttpOutcome
from valor_ray.judges.gateway.call.schema import fits, misfit
from valor_ray.untrusted.decode import REPLACED, DecodeError, Limits, decode

MOST_TEXT = 1 << 16  # characters of an answer, thinking apart: hundreds of boxes are 20,000
_LIMITS = Limits(max_bytes=8 * MOST_TEXT, half_pairs="replace")
_REASON = "reason"  # the field that nothing is decided by
_THOUGHT = re.compile(r"</(?:think|thinking|thought|reasoning)>|<\|channel\|>final<\|message\|>", re.I)
_BEGINS = re.compile(r"\s*<(?:think|thinking|thought|reasoning)>", re.I)
_ANSWERS = re.compile(r"\s*(?:```|\{)")
_OBJECT = re.compile(r'\{\s*"')
_MOST_OBJECTS = 32  # that are looked at
_DEPTH = 3  # of wrappers around an object
_SHOWN = 60  # characters of a text that cannot be read
_SCAN = json.JSONDecoder(strict=False)

Content = Mapping[str, Any]


def read_answer(outcome: HttpOutcome, schema: Mapping[str, Any]) -> tuple[Content | None, str]:
    """The object, or None with what stood where instead. Half a character is no answer; in a reason it is replaced."""
    content, why = _read(outcome, schema)
    for name, value in (content or {}).items():
        if name != _REASON and REPLACED in json.dumps(value, ensure_ascii=False):
            return None, f"{outcome.place} holds half a character in {name}"
    return content, why


def _read(outcome: HttpOutcome, schema: Mapping[str, Any]) -> tuple[Content | None, str]:
    """The object, or None with what stood where instead.

    What was cut, or stood where a model thinks, counts only as a whole: there what follows, or came before, may say
    something else. Takes time in proportion to the text.
    """
    text, thought = outcome.text, ""
    whole, why = _decoded(text)
    if why:
        text, thought = _without_thinking(text)
        if thought:
            whole, why = _decoded(text)
    if isinstance(whole, dict) and fits(whole, schema):
        return whole, ""
    if len(text) > MOST_TEXT:
        return None, f"{outcome.place} holds {len(text):,} characters; an answer has at most {MOST_TEXT:,}"
    if outcome.cut or outcome.place not in ("", "message.content", "message.tool_calls"):
        return None, f"{outcome.place} holds {_beginning(text, why)}"
    objects = [(0, whole)] if isinstance(whole, dict | list) else list(_objects(text))
    fitting = [found for _, value in objects for found in _fitting(value, schema)]
    if not fitting:
        return None, f"{outcome.place}{thought} holds {_nothing(text, objects, schema, why)}"
    if any(other != fitting[0] for other in fitting) or _contradicted(fitting[0], objects):
        return (
            None,
            f"{outcome.place}{thought} holds different answers, from character {objects[0][0] + 1} on",
        )
    return fitting[0], ""


def _decoded(text: str) -> tuple[Any, str]:
    """The text as one JSON value, or why it is none."""
    try:
        return _unquoted(decode(text.encode("utf-8", "replace"), _LIMITS)), ""
    except DecodeError as error:
        return None, str(error)


def _without_thinking(text: str) -> tuple[str, str]:
    """What stands after it. Thinking that has not ended holds no answer; an answer may quote its marks."""
    ends = [match.end() for match in _THOUGHT.finditer(text)]
    if ends and not _ANSWERS.match(text):
        return text[ends[-1] :], " after the thinking"
    return ("", " after the thinking, which has no end,") if _BEGINS.match(text) else (text, "")


def _unquoted(value: Any) -> Any:
    """JSON in a JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return decode(value.encode("utf-8", "replace"), _LIMITS)
    except DecodeError:
        return value


def _objects(text: str) -> Iterator[tuple[int, Any]]:
    """(where, value) of each JSON object in a text that is more than JSON, the outermost ones. value: None where one
    begins that is no JSON: what stands in it may be a part of something else."""
    at, left, budget = text.find("{"), _MOST_OBJECTS, 4 * len(text)
    while at >= 0 and left and budget > 0:
        end = at + 1
        try:
            _, stop = _SCAN.raw_decode(text, at)
        except (RecursionError, ValueError) as error:
            budget -= error.pos - at if isinstance(error, json.JSONDecodeError) else len(text) - at
            if _OBJECT.match(text, at):
                yield at, None
                left -= 1
        else:
            budget -= stop - at
            try:
                yield at, decode(text[at:stop].encode("utf-8", "replace"), _LIMITS)
            except DecodeError:
                yield at, None
            end, left = stop, left - 1
        at = text.find("{", end)
    if at >= 0:
        yield at, None  # more than is looked at


def _fitting(value: Any, schema: Mapping[str, Any], depth: int = _DEPTH) -> Iterator[Content]:
    """The value, or what fits in an object or list of one around it."""
    if isinstance(value, dict) and fits(value, schema):
        yield value
    elif depth and isinstance(value, dict | list) and len(value) == 1:
        (inner,) = value.values() if isinstance(value, dict) else value
        yield from _fitting(_unquoted(inner), schema, depth - 1)
    elif depth and isinstance(value, dict) and "arguments" in value:  # a call of a tool, written as text
        yield from _fitting(_unquoted(value["arguments"]), schema, depth - 1)


def _contradicted(content: Content, objects: list[tuple[int, Any]]) -> bool:
    """Whether an object that does not fit says something else of what was asked, or cannot be read at all."""
    return (
        any(
            value is None
            or (
                isinstance(value, dict)
                and any(name in value and value[name] != content[name] for name in content)
            )
            for _, value in objects
        )
        and len(objects) > 1
    )


def _nothing(text: str, objects: list[tuple[int, Any]], schema: Mapping[str, Any], why: str) -> str:
    values = [(at, value) for at, value in objects if isinstance(value, dict)]
    if not values:
        return _beginning(text, why)
    at, value = values[-1]
    return f"an object at character {at + 1} that is not what was asked for: {misfit(value, schema)}"


def _beginning(text: str, why: str) -> str:
    if not text.strip():
        return "nothing"
    return (
        f"{len(text):,} characters and no such JSON object ({why or 'other JSON'}): {text.strip()[:_SHOWN]!r}"
    )
