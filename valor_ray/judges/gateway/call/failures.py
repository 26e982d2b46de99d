"""What a failed call to the judge means for the user: what happened, where, and what mends it. Never shows the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valor_ray.judges.gateway.call.transport import HttpKind, HttpOutcome

if TYPE_CHECKING:
    from valor_ray.config.judging import Endpoint


def explain(outcome: HttpOutcome, config: Endpoint, section: str) -> str:
    """One message for a try that gave no usable answer.

    section: of the settings that the endpoint stands in: "judge", "vlm", "judge.others[0]".
    """
    named = name_of(section)
    where = f"the {named} at {config.base_url}"
    match outcome.kind:
        case HttpKind.TIMEOUT:
            return (
                f"No answer from {where} within {config.timeout_s:g} s. Raise {section}.timeout_s, or check that it is "
                "not overloaded."
            )
        case HttpKind.UNREACHABLE:
            return f"Cannot reach {where} ({outcome.text}). Start it, or correct {section}.base_url{_instead(section)}."
        case HttpKind.MISNAMED:
            return f"Cannot reach {where} ({outcome.text}). Correct {section}.base_url."
        case HttpKind.REFUSED:
            return f"The {named} declined: {outcome.text}"
        case HttpKind.BROKEN:
            return (
                f"The {named} {config.model!r} at {config.base_url} did not keep to the answer format: {outcome.text}. "
                f"Choose a model with structured output ({section}.model)."
            )
    return f"HTTP {outcome.status} from {where}: {_advice(outcome, config, section)}"


def name_of(section: str) -> str:
    """What messages call whoever stands in a section of the settings."""
    return "VLM" if section.startswith("vlm") else "judge"


def _instead(section: str) -> str:
    """A way on without the endpoint, where one setting makes it: vlm.base_url=null would want a vlm.model, too."""
    return "; --set judge.base_url=null starts the offline judge instead" if section == "judge" else ""


def _advice(outcome: HttpOutcome, config: Endpoint, section: str) -> str:
    if outcome.kind is HttpKind.FORBIDDEN:
        if config.api_key_env is None:
            return f"it wants an API key. Name the environment variable that holds it: {section}.api_key_env."
        return f"it refuses the API key. Put a valid key into the environment variable {config.api_key_env}."
    if outcome.kind is HttpKind.UNKNOWN:
        return f"no model {config.model!r} or no such path. Check {section}.model and {section}.base_url."
    if outcome.kind is HttpKind.THROTTLED:
        return f"too many requests or no quota left. Wait, or set {section}.requests_per_minute to the account's limit."
    if outcome.status == 413:
        pictures = section.partition(".")[0]
        return f"the picture is too large for it. Lower {pictures}.max_side or {pictures}.jpeg_quality."
    if outcome.kind is HttpKind.FAILED:
        return "it failed. See its log."
    return f"it refuses the request: {outcome.text}"
