"""An HTTP reply as an HttpOutcome: the text of a completion, or what an error means, also under status 200."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from valor_ray.judges.gateway.call.complaint import DETAIL, Complaint, complaint, kind_of, plain
from valor_ray.judges.gateway.call.outcome import HttpKind, HttpOutcome
from valor_ray.judges.gateway.call.waiting import retry_after
from valor_ray.untrusted.decode import DecodeError, Limits, decode

MAX_REPLY = 1 << 20  # bytes of a reply that are read
EMPTY = "an empty reply"
_LIMITS = Limits(max_bytes=MAX_REPLY, half_pairs="replace", repeated_names="last")
_MOST_CHOICES = 256
_MOST_TOKENS = 10_000_000  # no model takes more: a larger number is none
_CUT = {"length", "max_tokens", "max_output_tokens", "model_length"}
_FILTERED = {
    "content_filter",
    "safety",
    "prohibited_content",
    "blocklist",
    "spii",
    "recitation",
    "image_safety",
}
_THINKING = ("reasoning_content", "reasoning", "thinking")


def outcome_of(status: int, headers: Mapping[str, str], data: bytes) -> HttpOutcome:
    """What an endpoint's reply is, whatever bytes it is made of. headers: by lower-case name."""
    if len(data) > MAX_REPLY:
        return HttpOutcome(HttpKind.BROKEN, f"a reply of more than {MAX_REPLY >> 20} MiB", status)
    if 300 <= status < 400:
        place = plain(headers.get("location", "another address"))[:DETAIL]
        return HttpOutcome(HttpKind.MISNAMED, f"it sends on to {place}", status)
    if status == 407:
        return HttpOutcome(HttpKind.MISNAMED, "the proxy wants a user and a password", status)
    try:
        reply = decode(data, _LIMITS)
    except DecodeError as error:
        if 200 <= status < 300:
            return HttpOutcome(HttpKind.BROKEN, f"a reply that is no chat completion ({error})", status)
        return _error(complaint(None, data.decode("utf-8", "replace")), status, headers)
    if 200 <= status < 300:
        return _completion(reply, headers)
    return _error(complaint(reply), status, headers)


def _error(
    said: Complaint,
    status: int,
    headers: Mapping[str, str],
    tokens: tuple[int | None, int | None] = (None, None),
) -> HttpOutcome:
    """status: HTTP's; a 2xx is as the body says."""
    if 200 <= status < 300:
        status = said.number or 200
    wait = retry_after(headers, said.error, said.words)
    kind = kind_of(said, status, told_to_wait=wait is not None)
    words = said.words or ("" if status != 200 else "an error without words")
    return HttpOutcome(kind, words, status, wait, *tokens)


def _completion(reply: Any, headers: Mapping[str, str]) -> HttpOutcome:
    if isinstance(reply, list) and len(reply) == 1:
        (reply,) = reply
    if not isinstance(reply, dict):
        return HttpOutcome(HttpKind.BROKEN, "a reply that is no chat completion (no JSON object)", 200)
    tokens = _tokens(reply.get("usage"))
    choices = reply.get("choices")
    first, *further = choices if isinstance(choices, list) and choices else ({},)
    outcome = _choice(reply, first if isinstance(first, dict) else {}, headers, tokens)
    others = [choice for choice in further[:_MOST_CHOICES] if isinstance(choice, dict)]
    if not others:
        return outcome
    return replace(outcome, others=tuple(_choice(reply, choice, headers, (None, None)) for choice in others))


def _choice(
    reply: Mapping[str, Any],
    choice: Mapping[str, Any],
    headers: Mapping[str, str],
    tokens: tuple[int | None, int | None],
) -> HttpOutcome:
    """One of a completion's; {}: it has none."""
    if choice.get("error") or (reply.get("error") and not choice):
        return _error(complaint(choice if choice.get("error") else reply), 200, headers, tokens)
    finish = {
        plain(str(choice.get(name))).lower()
        for name in ("finish_reason", "native_finish_reason")
        if choice.get(name)
    }
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {}
    if blocked := _blocked(reply, finish):
        return HttpOutcome(HttpKind.MODERATED, blocked, 200, None, *tokens)
    if "error" in finish:
        return HttpOutcome(HttpKind.FAILED, "the model ended with an error", 200, None, *tokens)
    if not choice:
        if "choices" in reply:
            return HttpOutcome(HttpKind.BROKEN, "a reply without choices", 200, None, *tokens)
        return _error(complaint(reply), 200, headers, tokens)
    return _answer(message, choice, bool(finish & _CUT), tokens)


def _answer(
    message: Mapping[str, Any], choice: Mapping[str, Any], cut: bool, tokens: tuple[int | None, int | None]
) -> HttpOutcome:
    place, text = next(_texts(message, choice), ("", ""))
    refusal = message.get("refusal")
    if refusal and (not text or place.split(".")[-1] in _THINKING):
        return HttpOutcome(HttpKind.REFUSED, plain(str(refusal))[:DETAIL], 200, None, *tokens)
    if not text:
        kind, words = (HttpKind.CUT, "nothing") if cut else (HttpKind.BROKEN, EMPTY)
        return HttpOutcome(kind, words, 200, None, *tokens)
    return HttpOutcome(HttpKind.ANSWERED, text, 200, None, *tokens, place, cut)


def _texts(message: Mapping[str, Any], choice: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, what) of the texts in a message, the likeliest first."""
    calls = "\n".join(_called(message))
    for place, value in (
        ("message.content", message.get("content")),
        ("message.tool_calls", calls),
        ("message.parsed", message.get("parsed")),
        ("text", choice.get("text")),
        *((f"message.{name}", message.get(name)) for name in _THINKING),
    ):
        text = _text(value)
        if place == "message.content" and text.strip() and calls:
            text += f"\n{calls}"
        if text.strip():
            yield place, text


def _text(value: Any) -> str:
    """A text, a list of parts of which some are texts, or the answer as an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, list):
        return ""
    parts = []
    for part in value:
        if isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
            inner = part.get("text")
            parts.append(_text(inner.get("value") if isinstance(inner, dict) else inner))
        elif isinstance(part, str):
            parts.append(part)
    return "".join(parts)


def _called(message: Mapping[str, Any]) -> Iterator[str]:
    """The arguments of calls of tools: some endpoints have models answer so."""
    calls = message.get("tool_calls")
    for call in [*(calls if isinstance(calls, list) else ()), {"function": message.get("function_call")}]:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield _text(function.get("arguments"))


def _blocked(reply: Mapping[str, Any], finish: set[str]) -> str:
    """Why the provider's filter took the prompt or the answer; "": it did not."""
    feedback = reply.get("promptFeedback") or reply.get("prompt_feedback")
    if isinstance(feedback, dict) and (reason := feedback.get("blockReason") or feedback.get("block_reason")):
        return plain(f"{reason} {feedback.get('blockReasonMessage') or ''}")[:DETAIL]
    for reason in finish:
        if reason in _FILTERED or reason.partition(":")[0] in _FILTERED:
            return f"finish_reason {reason[:DETAIL]}"
    return ""


def _tokens(usage: Any) -> tuple[int | None, int | None]:
    """Of prompt and completion; None for what is not said, or cannot be."""
    if not isinstance(usage, dict):
        return None, None
    return (
        _count(usage.get("prompt_tokens", usage.get("input_tokens"))),
        _count(usage.get("completion_tokens", usage.get("output_tokens"))),
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
