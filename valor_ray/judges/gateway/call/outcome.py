"""How one HTTP try at an endpoint ended: the kinds that a gateway tells apart, and what is known of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HttpKind(StrEnum):
    ANSWERED = "answered"
    REFUSED = "refused"  # the model declined
    MODERATED = "moderated"  # the provider's filter took offence at this request, or at the answer
    CUT = "cut"  # the answer ended at the token limit before it said anything that can be read
    BROKEN = "broken"  # a reply that is no completion, or not the JSON asked for
    THROTTLED = "throttled"  # 429
    FAILED = "failed"  # 5xx
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    MISNAMED = (
        "misnamed"  # no such host, no such certificate, another address, a proxy that lets nobody through
    )
    REJECTED = "rejected"  # 400, 413, 422: this request, not the endpoint
    UNSTRUCTURED = "unstructured"  # it does not take this kind of response_format
    FORBIDDEN = "forbidden"  # the key is refused
    DENIED = "denied"  # the key is good, and may not: region, model, project
    SPENT = "spent"  # no quota or credit left
    UNKNOWN = "unknown"  # 404: no such model or path


ENDPOINT_DOWN = (HttpKind.FAILED, HttpKind.TIMEOUT, HttpKind.UNREACHABLE, HttpKind.MISNAMED)
HOPELESS = (
    HttpKind.FORBIDDEN,
    HttpKind.DENIED,
    HttpKind.SPENT,
    HttpKind.UNKNOWN,
)  # for every further request, too
NO_ANSWER = (
    HttpKind.REFUSED,
    HttpKind.MODERATED,
    HttpKind.CUT,
    HttpKind.REJECTED,
)  # to this request, however asked


@dataclass(frozen=True)
class HttpOutcome:
    kind: HttpKind
    text: str = ""  # the model's words; the endpoint's when it is an error
    status: int = 0  # HTTP, or what an error under status 200 says it is; 0: no answer
    retry_after_s: float | None = None
    prompt_tokens: int | None = None  # None: the endpoint does not say, or nothing that can be
    completion_tokens: int | None = None
    place: str = ""  # of an answer: where in the reply its text stood, "message.content"
    cut: bool = False  # an answer that ended at the token limit
    others: tuple[
        HttpOutcome, ...
    ] = ()  # further choices, where `n` asked for some; all tokens stand in the first
