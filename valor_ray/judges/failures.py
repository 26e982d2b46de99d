"""What a failed request to the judge means for the user. Never shows the API key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openai

    from valor_ray.config import JudgeConfig


def explain(error: openai.APIError, config: JudgeConfig) -> str:
    """One message: what happened, where, and which setting or command mends it."""
    import openai

    where = f"the judge at {config.base_url}"
    if isinstance(error, openai.APITimeoutError):
        return (
            f"No answer from {where} within {config.timeout_s:g} s, after {config.retries + 1} tries. "
            "Raise judge.timeout_s, or check that it is not overloaded."
        )
    if isinstance(error, openai.APIConnectionError):
        return (
            f"Cannot reach {where}. Start it, or correct judge.base_url; "
            "--set judge.base_url=null starts the offline judge instead."
        )
    if not isinstance(error, openai.APIStatusError):
        return (
            f"A reply of {where} cannot be read. Check that judge.base_url is an OpenAI-compatible endpoint."
        )
    return f"HTTP {error.status_code} from {where}: {_advice(error.status_code, config, _detail(error))}"


def _advice(status: int, config: JudgeConfig, detail: str) -> str:
    if status in (401, 403):
        if config.api_key_env is None:
            return "it wants an API key. Name the environment variable that holds it: --set judge.api_key_env=NAME."
        return f"it refuses the API key. Put a valid key into the environment variable {config.api_key_env}."
    if status == 404:
        return f"no model {config.model!r} or no such path. Check judge.model and judge.base_url."
    if status == 429:
        return f"too many requests or no quota left, after {config.retries + 1} tries. Wait, or raise judge.retries."
    if status == 413:
        return "the picture is too large for it. Lower judge.max_side or judge.jpeg_quality."
    if status >= 500:
        return f"it failed, after {config.retries + 1} tries. See its log."
    return f"it refuses the request: {detail}"


def _detail(error: openai.APIStatusError) -> str:
    """The endpoint's own words, with the key cut out should it repeat it."""
    sent = error.request.headers.get("authorization", "").removeprefix("Bearer ")
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    text = str(said or error.response.text)[:300]
    return text.replace(sent, "…") if len(sent) > 4 else text
