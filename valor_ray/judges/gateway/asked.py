"""How requests to an endpoint ended: one of them, and what all have taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from valor_ray.records import Usage

Contents = tuple[Mapping[str, Any] | None, ...]  # of the samples of a call; of one that failed (None,)


@dataclass(frozen=True)
class Asked:
    """How a request ended."""

    content: Mapping[str, Any] | None
    outcome: str  # HttpKind, or "impatient"
    missing: str  # why there is no content, for the user
    usage: Usage  # of all tries
    throttled: int  # tries that got 429
    hedged: bool
    others: Contents = ()  # of further samples in the same call


@dataclass
class Took:
    """What the answers of a gateway's life took."""

    calls: int = 0
    latency_s: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usage_said: bool = True  # False: some completion did not say, and was estimated
    forms: set[str] = field(default_factory=set)  # in which the schema was asked for


def apart(asked: Asked, n: int) -> list[Asked]:
    """A call for n samples as one for each that came: they share its cost, and the first has its prompt and tries.

    Of one that failed n times the same, of which the first bears what it took.
    """
    if asked.content is None:
        return [replace(asked, usage=Usage() if place else asked.usage) for place in range(n)]
    usage, came = asked.usage, [each for each in asked.others if each is not None]
    tokens = [int(each["completion_tokens"]) for each in came]
    each_usd = usage.cost_usd / (1 + len(came))
    own = replace(usage, completion_tokens=max(0, usage.completion_tokens - sum(tokens)), cost_usd=each_usd)
    parts = [replace(asked, usage=own, others=())]
    for content in asked.others:
        part = Usage()
        if content is not None:
            part = replace(
                usage,
                prompt_tokens=0,
                completion_tokens=content["completion_tokens"],
                cost_usd=each_usd,
                tries=0,
            )
        parts.append(replace(asked, content=content, usage=part, throttled=0, hedged=False, others=()))
    return parts
