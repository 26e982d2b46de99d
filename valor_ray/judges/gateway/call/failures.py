"""What a failed call to the judge means for the user: what happened, where, and what mends it. Never shows the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valor_ray.judges.gateway.call.transport import HttpKind, HttpOutcome

if TYPE_CHECKING:
    from valor_ray.config.judging import EndpointConfig


def explain(outcome: HttpOutcome, config: EndpointConfig) -> str:
    """One message for a try that gave no usable answer."""
    where = f"the judge at {config.base_url}"
    match outcome.kind:
        case HttpKind.TIMEOUT:
            return (
                f"No answer from {where} within {config.timeout_s:g} s. Raise judge.timeout_s, or check that it is "
                "not overloaded."
            )
        case HttpKind.UNREACHABLE:
            return (
                f"Cannot reach {where} ({outcome.text}). Start it, or correct judge.base_url; "
                "--set judge.base_url=null starts the offline judge instead."
            )
        case HttpKind.MISNAMED:
            return f"Cannot reach {where} ({outcome.text}). Correct judge.base_url."
        case HttpKind.REFUSED:
            return f"The judge declined: {outcome.text}"
        case HttpKind.BROKEN:
            return (
                f"The judge {config.model!r} at {config.base_url} did not keep to the answer format: {outcome.text}. "
                "Choose a model with structured output (judge.model)."
            )
    return f"HTTP {outcome.status} from {where}: {_advice(outcome, config)}"


def _advice(outcome: HttpOutcome, config: EndpointConfig) -> str:
    if outcome.kind is HttpKind.FORBIDDEN:
        if config.api_key_env is None:
            return "it wants an API key. Name the environment variable that holds it: --set judge.api_key_env=NAME."
        return f"it refuses the API key. Put a valid key into the environment variable {config.api_key_env}."
    if outcome.kind is HttpKind.UNKNOWN:
        return f"no model {config.model!r} or no such path. Check judge.model and judge.base_url."
    if outcome.kind is HttpKind.THROTTLED:
        return "too many requests or no quota left. Wait, or set judge.requests_per_minute to the account's limit."
    if outcome.status == 413:
        return "the picture is too large for it. Lower judge.max_side or judge.jpeg_quality."
    if outcome.kind is HttpKind.FAILED:
        return "it failed. See its log."
    return f"it refuses the request: {outcome.text}"
