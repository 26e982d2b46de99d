"""What a failed call to the judge means for the user: what happened, where, and what mends it. Never shows the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valor_ray.judges.gateway.call.outcome import HttpKind, HttpOutcome

if TYPE_CHECKING:
    from valor_ray.config.judging import Endpoint

GO_ON = "What is recorded stays: the same command goes on from there."


def explain(outcome: HttpOutcome, config: Endpoint, section: str) -> str:
    """One message for a try that gave no usable answer.

    section: of the settings that the endpoint stands in: "judge", "vlm", "judge.others[0]", "policy.endpoint".
    """
    named = name_of(section)
    where = f"the {named} at {config.address}"
    match outcome.kind:
        case HttpKind.TIMEOUT:
            return (
                f"No answer from {where} within {config.timeout_s:g} s. Raise {section}.timeout_s, or check that it is "
                "not overloaded."
            )
        case HttpKind.UNREACHABLE if "proxy" in outcome.text:
            return (
                f"Cannot reach {where} ({outcome.text}). Correct HTTPS_PROXY or HTTP_PROXY, or name the host in "
                "NO_PROXY."
            )
        case HttpKind.UNREACHABLE:
            return f"Cannot reach {where} ({outcome.text}). Start it, or correct {section}.base_url{_instead(section)}."
        case HttpKind.MISNAMED:
            return f"Cannot reach {where} ({outcome.text}). Correct {section}.base_url{_or_proxy(outcome)}."
        case HttpKind.REFUSED:
            return f"The {named} declined: {outcome.text}"
        case HttpKind.MODERATED:
            return f"{where[0].upper()}{where[1:]} took offence: {outcome.text or 'no reason given'}"
        case HttpKind.CUT:
            return (
                f"The {named} {config.model!r} at {config.address} was cut at its token limit: {outcome.text}. Raise "
                f"the limit ({section}.extra: max_tokens or max_completion_tokens), or have it think less "
                "(reasoning_effort)."
            )
        case HttpKind.BROKEN if named == "writer":
            return (
                f"The writer {config.model!r} at {config.address} gave no completion: {outcome.text}. Check "
                f"{section}.base_url: most addresses end in /v1."
            )
        case HttpKind.BROKEN:
            return (
                f"The {named} {config.model!r} at {config.address} did not keep to the answer format: {outcome.text}. "
                f"Choose a model with structured output ({section}.model)."
            )
    status = f"HTTP {outcome.status} from {where}" if outcome.status != 200 else f"An error from {where}"
    return f"{status}: {_advice(outcome, config, section)}"


def name_of(section: str) -> str:
    """What messages call whoever stands in a section of the settings."""
    return {"vlm": "VLM", "policy": "writer"}.get(section.partition(".")[0].partition("[")[0], "judge")


def _instead(section: str) -> str:
    """A way on without the endpoint, where one setting makes it: vlm.base_url=null would want a vlm.model, too."""
    return "; --set judge.base_url=null starts the offline judge instead" if section == "judge" else ""


def _or_proxy(outcome: HttpOutcome) -> str:
    return ", or HTTPS_PROXY, HTTP_PROXY and NO_PROXY" if "proxy" in outcome.text else ""


def _advice(outcome: HttpOutcome, config: Endpoint, section: str) -> str:
    said = f" It says: {outcome.text}" if outcome.text else ""
    match outcome.kind:
        case HttpKind.FORBIDDEN if config.api_key_env is None:
            return f"it wants an API key. Name the environment variable that holds it: {section}.api_key_env.{said}"
        case HttpKind.FORBIDDEN:
            return (
                f"it refuses the API key. Put a valid key into the environment variable {config.api_key_env} "
                f"({section}.api_key_env).{said}"
            )
        case HttpKind.DENIED:
            return (
                f"this account, place or model is not allowed there. Ask the provider, or change {section}.model or "
                f"{section}.base_url.{said}"
            )
        case HttpKind.SPENT:
            return f"the account has no quota or credit left. Top it up or raise its limit. {GO_ON}{said}"
        case HttpKind.UNKNOWN:
            return f"no model {config.model!r} or no such path. Check {section}.model and {section}.base_url.{said}"
        case HttpKind.UNSTRUCTURED:
            return (
                f"it does not take {section}.answer_format={config.answer_format}. Set it to auto, json_object or "
                f"prompt.{said}"
            )
        case HttpKind.THROTTLED:
            return (
                f"too many requests. Wait, or set {section}.requests_per_minute to the account's limit.{said}"
            )
        case HttpKind.FAILED:
            return f"it failed. See its log.{said}"
    if outcome.status == 413 and name_of(section) == "writer":
        return f"the question is too long for it. Shorten it.{said}"
    if outcome.status == 413:
        pictures = section.partition(".")[0]
        return f"the picture is too large for it. Lower {pictures}.max_side or {pictures}.jpeg_quality.{said}"
    named = [key for key in config.extra if key in outcome.text]
    field = f" Correct {section}.extra.{named[0]}." if named else ""
    return f"it refuses the request: {outcome.text or 'no reason given'}{field}"
