"""What an error of an endpoint means: providers agree on little, so codes count first, then status, then words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from valor_ray.judges.gateway.call.outcome import HttpKind

DETAIL = 200  # characters of the endpoint's own words that are shown
_BEGINNING = 100  # characters in which a 400 says what it is about; further on it may repeat the request
_FAILED_STATUS = (408, 409, 425)

_SPENT_CODES = {
    "insufficient_quota", "insufficient_credits", "insufficient_balance", "insufficient_funds", "payment_required",
    "billing_hard_limit_reached", "billing_not_active", "credit_balance_too_low", "exceeded_current_quota_error",
    "arrearage", "out_of_credits", "billing_error",
}  # fmt: skip
_MODERATED_CODES = {
    "content_filter", "content_policy_violation", "content_policy", "moderation_blocked", "moderation", "safety",
    "responsibleaipolicyviolation", "data_inspection_failed", "datainspectionfailed", "prompt_blocked",
    "prohibited_content", "sensitive_words_detected", "input_moderation", "output_moderation", "invalid_prompt",
}  # fmt: skip
_THROTTLED_CODES = {
    "rate_limit_exceeded", "rate_limit_error", "rate_limited", "throttling", "throttlingexception",
    "too_many_requests", "toomanyrequests", "resource_exhausted",
}  # fmt: skip
_KEY_CODES = {"invalid_api_key", "api_key_invalid", "authentication_error", "unauthenticated", "unauthorized"}
_MODEL_CODES = {"model_not_found", "invalid_model", "model_not_supported", "modelnotfound"}
_FAILED_CODES = {
    "server_error", "internal_server_error", "internal_error", "overloaded_error", "overloaded", "unavailable",
    "service_unavailable", "api_error", "internal", "timeout", "bad_gateway", "engine_overloaded_error",
}  # fmt: skip

_SPENT = re.compile(
    r"insufficient (?:account )?(?:quota|balance|credits?|funds)|credit balance is too low|billing (?:hard )?limit|"
    r"check your plan and billing|(?:more|out of|no|no remaining|any) credits|payment (?:is )?required|"
    r"exceeded your (?:current|monthly) (?:quota|spend|usage)|(?:spend(?:ing)?|usage) limit (?:has been |was )?"
    r"(?:reached|exceeded)|in arrears|overdue|add (?:funds|credits)|billing (?:is )?not active",
    re.I,
)
_MODERATED = re.compile(
    r"\bflagged\b|content[ _-]?(?:management )?(?:policy|polic|filter|risk|moderation)|\bmoderation\b|"
    r"safety (?:system|filter|policy|settings|reasons)|inappropriate content|sensitive content|"
    r"prohibited (?:content|use)|usage polic(?:y|ies)|violat\w+ .{0,40}polic|exists risk",
    re.I,
)
_REGION = re.compile(
    r"(?:country|region|territory|location).{0,30}(?:not|un)\W{0,2}(?:supported|available|allowed)", re.I
)
_DENIED = re.compile(
    r"not (?:supported|available|permitted|allowed) in (?:your|this)|permission|not authori[sz]ed|"
    r"access (?:is )?denied|(?:do|does) not have access|not allowed to (?:access|use|sample|call)|"
    r"model.{0,40}not.{0,3}(?:allowed|permitted|enabled)|suspended|deactivated|disabled|api has not been used",
    re.I,
)
_KEY = re.compile(
    r"(?:incorrect|invalid|missing|no|expired|unknown) api[ _-]?key|"
    r"api[ _-]?key (?:is )?(?:not valid|invalid|missing|expired|not found)|invalid authentication",
    re.I,
)
_TOKEN = re.compile(
    r"(?:incorrect|invalid|missing|no|expired) (?:auth\w*|credentials?|(?:access )?token)", re.I
)
_MODEL = re.compile(
    r"model .{0,80}(?:not exist|not found|no such)|not a valid model|unknown model|no such model", re.I
)
_FORMAT = re.compile(
    r"response[ _]?format|json[ _]?schema|json[ _]?object|json mode|structured[ _]?outputs?|guided|grammar|"
    r"schema.{0,40}not supported|responseschema",
    re.I,
)
_THROTTLED = re.compile(r"rate.?limit|too many requests|throttl|requests per (?:second|minute|day)", re.I)
_FAILED = re.compile(
    r"overloaded|unavailable|internal (?:server )?error|server error|timed? ?out|upstream|bad gateway|at capacity|"
    r"try again later|temporarily",
    re.I,
)


@dataclass(frozen=True)
class Complaint:
    words: str  # for the user, at most DETAIL characters of one line
    codes: frozenset[str]  # lower case: what stood in code, type, status, reason
    number: int | None  # a status that stood in the body
    error: Any  # the error object, or what stood for it


def complaint(reply: Any, text: str = "") -> Complaint:
    """reply: the body, decoded; text: the body where it is no JSON."""
    if isinstance(reply, list) and len(reply) == 1:  # Google's compatible endpoint
        reply = reply[0]
    error = _error_of(reply)
    found = " ".join(dict.fromkeys(_messages(error)))
    codes, number = set(), None
    for value in _codes(error):
        if isinstance(value, str) and not value.isdecimal():
            codes.add(value.lower())
        elif number is None and (status := _status(value)) is not None:
            number = status
    return Complaint(plain(found or text)[:DETAIL], frozenset(codes), number, error)


def plain(text: str) -> str:
    """One line that can be printed and stored: without halves of surrogate pairs, escapes and the like."""
    whole = text[: 20 * DETAIL].encode("utf-8", "replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in whole).split())


def kind_of(said: Complaint, status: int, *, told_to_wait: bool) -> HttpKind:
    """What an error means. status: HTTP's; 200: that of an error body under it is not known.

    Words of a 400 count at their beginning only: further on an endpoint may repeat what it was asked, and what was
    asked may be anybody's text.
    """
    words = said.words[:_BEGINNING] if status in (400, 422) else said.words
    if _is_spent(said, words, status, told_to_wait):
        return HttpKind.SPENT
    if status == 401 or said.codes & _KEY_CODES or (status in (200, 400, 403) and _KEY.search(words)):
        return HttpKind.FORBIDDEN
    if status == 403 and _TOKEN.search(words):
        return HttpKind.FORBIDDEN
    if status == 429 or said.codes & _THROTTLED_CODES or (status == 200 and _THROTTLED.search(words)):
        return HttpKind.THROTTLED
    if said.codes & _MODERATED_CODES or _has_reasons(said.error):
        return HttpKind.MODERATED
    if status in (400, 404, 422, 500, 501) and _FORMAT.search(said.words):
        return HttpKind.UNSTRUCTURED
    if status == 404 or said.codes & _MODEL_CODES or (status == 400 and _MODEL.match(words)):
        return HttpKind.UNKNOWN
    if status == 451 or (status in (200, 400, 403) and _REGION.search(words)):
        return HttpKind.DENIED
    if status == 403 and _DENIED.search(words):
        return HttpKind.DENIED
    if status in (200, 400, 403, 422) and _MODERATED.search(words):
        return HttpKind.MODERATED
    if status >= 500 or status in _FAILED_STATUS:
        return HttpKind.FAILED
    if status == 200:
        down = said.codes & _FAILED_CODES or _FAILED.search(words)
        return HttpKind.FAILED if down else HttpKind.BROKEN
    return HttpKind.REJECTED


def _is_spent(said: Complaint, words: str, status: int, told_to_wait: bool) -> bool:
    if status == 402 or said.codes & _SPENT_CODES:
        return True
    if (
        status == 429
    ):  # Google says "exceeded your current quota" of a minute's limit, too, and how long to wait
        return not told_to_wait and bool(_SPENT.search(words))
    return status in (200, 400, 401, 403) and bool(_SPENT.search(words))


def _has_reasons(error: Any) -> bool:
    """OpenRouter: why a text was flagged."""
    metadata = error.get("metadata") if isinstance(error, Mapping) else None
    return isinstance(metadata, Mapping) and bool(metadata.get("reasons") or metadata.get("flagged_input"))


def _error_of(reply: Any) -> Any:
    if not isinstance(reply, Mapping):
        return reply if isinstance(reply, str) else None
    for name in ("error", "errors", "base_resp"):
        if reply.get(name):
            inner = reply[name]
            return inner[0] if isinstance(inner, list) else inner
    return reply


def _messages(error: Any) -> Iterator[str]:
    if isinstance(error, str):
        yield error
    if not isinstance(error, Mapping):
        return
    for name in ("message", "msg", "detail", "error_msg", "status_msg", "title"):
        value = error.get(name)
        if isinstance(value, str) and value.strip():
            yield value
            break
        if isinstance(value, list | Mapping):  # FastAPI: what is wrong with which field
            yield " ".join(_leaves(value))
            break
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping):
        yield from (str(value) for name in ("raw", "reasons") if (value := metadata.get(name)))


def _leaves(value: Any) -> Iterator[str]:
    """The texts in a small structure."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for item in inner:
        yield from (item,) if isinstance(item, str) else _leaves(item)


def _codes(error: Any) -> Iterator[Any]:
    """Words and numbers that say which error it is, the outermost first."""
    for _ in range(4):
        if not isinstance(error, Mapping):
            return
        yield from (error.get(name) for name in ("code", "status", "type", "status_code", "reason"))
        details = error.get("details")
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, Mapping):
                yield detail.get("reason")
        error = error.get("innererror") or error.get("error")


def _status(value: Any) -> int | None:
    """An HTTP status of an error, from a number or its digits."""
    if isinstance(value, str) and len(value) == 3:
        value = int(value)
    return value if type(value) is int and 400 <= value < 600 else None
