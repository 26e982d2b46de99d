"""Judges with the manners of real providers, over real HTTP: a table from a manner's name to what it answers."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from rough_endpoint import Behave

YES = '{"reason": "it holds", "verdict": "yes"}'
NO = '{"reason": "it does not", "verdict": "no"}'
USAGE = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
Answer = tuple[int, Mapping[str, str], Any]  # status, headers, JSON or bytes
Manner = Callable[[int, dict[str, Any], str], Answer]  # number of the call from 0, body, the body's text


def chat(content: Any, finish: str = "stop", usage: Any = USAGE, **message: Any) -> dict[str, Any]:
    reply = {"role": "assistant", "content": content, **message}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    return {**body, "choices": [{"index": 0, "finish_reason": finish, "message": reply}], "usage": usage}


def says(content: Any, *args: Any, **more: Any) -> Manner:
    return lambda n, body, text: (200, {}, chat(content, *args, **more))


def fails(status: int, message: str, headers: Mapping[str, str] | None = None, **error: Any) -> Manner:
    return lambda n, body, text: (status, headers or {}, {"error": {"message": message, **error}})


def replies(body: Any, status: int = 200, **headers: str) -> Manner:
    return lambda n, _body, text: (status, headers, body)


def first(times: int, manner: Manner, then: Manner) -> Manner:
    return lambda n, body, text: (manner if n < times else then)(n, body, text)


def unless(without: str, manner: Manner, then: Manner) -> Manner:
    """`manner` for requests that hold these words."""
    return lambda n, body, text: (manner if without in text else then)(n, body, text)


def form_of(body: Mapping[str, Any]) -> str:
    return str(body.get("response_format", {"type": "prompt"})["type"])


def takes(forms: tuple[str, ...], refusal: Manner) -> Manner:
    """Answers well when the schema comes in one of these forms, and is told in the prompt where it must be."""

    def answer(n: int, body: dict[str, Any], text: str) -> Answer:
        if form_of(body) not in forms:
            return refusal(n, body, text)
        told = form_of(body) == "json_schema" or "JSON schema" in text
        return 200, {}, chat(YES if told else "It holds.")

    return answer


OK = says(YES)
TOOL_CALL = [{"type": "function", "function": {"name": "logic", "arguments": YES}}]
DRAFT = f"<think>At first: {NO} But no: the plan is right.</think>\n"

# The answer is read as it was meant.
READ: dict[str, Manner] = {
    "plain": OK,
    "fence": says(f"```json\n{YES}\n```"),
    "fence without a name": says(f"```\n{YES}\n```\n"),
    "after words": says(f"Here is my verdict:\n{YES}"),
    "before words": says(f"{YES}\nI hope this helps {{you}}!"),
    "words with braces": says(f"The set {{a, b}} counts.\n{YES}"),
    "twice the same": says(f"{YES}\n\nAgain, as JSON: {YES}"),
    "byte order mark": says(f"\ufeff{YES}"),
    "after thinking": says(DRAFT + YES),
    "after thinking that the template opened": says(DRAFT.removeprefix("<think>") + YES),
    "thinking quoted in the reason": says('{"reason": "a stray </think> in the plan", "verdict": "yes"}'),
    "harmony channels": says(f"<|channel|>analysis<|message|>{NO}<|end|><|channel|>final<|message|>{YES}"),
    "special token after": says(f"{YES}<|im_end|>"),
    "double braces": says("{" + YES + "}"),
    "in a list": says(f"[{YES}]"),
    "in an object": says(f'{{"answer": {YES}}}'),
    "as text in JSON": says(json.dumps(YES)),
    "as a written tool call": says(f'{{"name": "logic", "arguments": {YES}}}'),
    "parts": says([{"type": "thinking", "thinking": NO}, {"type": "text", "text": YES}]),
    "an object as content": says(json.loads(YES)),
    "a tool call": says(None, "tool_calls", tool_calls=TOOL_CALL),
    "an old function call": says(None, function_call=TOOL_CALL[0]["function"]),
    "all of it where it thinks": says("", reasoning_content=YES),
    "with thinking beside it": says(YES, reasoning_content=f"Perhaps {NO}?"),
    "whole at the token limit": says(YES, "length"),
    "no usage": says(YES, usage=None),
    "half a character": says(YES.replace("it holds", "\\ud800 holds")),
    "gzip": lambda n, body, text: (
        200,
        {"Content-Encoding": "gzip"},
        gzip.compress(json.dumps(chat(YES)).encode()),
    ),
    "a list around the reply": lambda n, body, text: (200, {}, [chat(YES)]),
}

# No verdict can be had of it, or two: missing, never a guess.
UNREAD: dict[str, Manner] = {
    "two verdicts": says(f"{NO}\nOn second thoughts:\n{YES}"),
    "two names": says('{"reason": "a", "verdict": "no", "verdict": "yes"}'),
    "one that fits beside one that does not": says(f'{{"verdict": "no"}}\n{YES}'),
    "one in another that is broken": says(f'{{"reason": "he wrote {YES} here", "verdict": "no"}}'),
    "capital letter": says(YES.replace("yes", "Yes")),
    "one field too many": says(YES.replace("{", '{"sure": 0.9, ', 1)),
    "only words": says("The verdict is yes."),
    "python": says("{'reason': 'it holds', 'verdict': 'yes'}"),
    "no number": says('{"reason": "x", "verdict": NaN}'),
    "thinking without an end": says(f"<think>Perhaps {YES}"),
    "a draft where it thinks": says("", reasoning_content=f"Perhaps {YES}"),
    "more objects than are looked at": says(YES + "{}" * 40 + NO),
    "depth": says('{"reason":' * 9000),
    "html": replies(b"<html>Bad gateway</html>"),
    "nothing": replies(b""),
    "no choices": replies({"choices": []}),
    "null": replies(b"null"),
    "a stream": replies(b"data: " + json.dumps(chat(YES)).encode() + b"\n\ndata: [DONE]"),
    "no UTF-8": replies(b'{"choices": [{"message": {"content": "\xff"}}]}'),
    "gzip that is none": replies(json.dumps(chat(YES)).encode(), **{"Content-Encoding": "gzip"}),
    "gzip in gzip": lambda n, body, text: (
        200,
        {"Content-Encoding": "gzip, gzip"},
        gzip.compress(gzip.compress(json.dumps(chat(YES)).encode())),
    ),
}

# One request has no answer, in the provider's words, at once; others have theirs.
MISSING: dict[str, tuple[Manner, str]] = {  # with words of the reason
    "flagged (OpenRouter)": (
        fails(403, "Your input was flagged", code=403, metadata={"reasons": ["violence"]}), "flagged"),
    "content filter (Azure)": (
        fails(400, "The response was filtered due to the prompt", code="content_filter"), "filtered"),
    "inner error (Azure)": (
        fails(400, "Bad request", innererror={"code": "ResponsibleAIPolicyViolation"}), "took offence"),
    "data inspection (DashScope)": (
        fails(400, "Input data may contain inappropriate content.", code="data_inspection_failed"), "inappropriate"),
    "finish reason": (says(None, "content_filter"), "content_filter"),
    "safety (Gemini)": (says(None, "SAFETY"), "safety"),
    "blocked prompt (Gemini)": (
        replies({"choices": [], "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), "PROHIBITED_CONTENT"),
    "filter that cuts an answer": (says(YES, "content_filter"), "content_filter"),
    "under status 200": (
        replies({"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"]}}}), "flagged"),
    "refusal": (says(None, refusal="I cannot judge this"), "cannot judge"),
    "token limit": (says('{"reason": "the plan counts the cu', "length"), "token limit"),
    "token limit while thinking": (says("", "length", reasoning_content="so"), "token limit"),
    "a verdict before the limit": (says(f"Say {NO} were right. Then", "length"), "token limit"),
    "too long": (fails(400, "This model's maximum context length is 4096 tokens"), "context length"),
    "unclear 403": (fails(403, "Request blocked"), "Request blocked"),
}  # fmt: skip

# Every further request must fail: the run ends, in words that say what to do.
ENDS: dict[str, tuple[Manner, str]] = {
    "quota (OpenAI)": (
        fails(429, "You exceeded your current quota", type="insufficient_quota", code="insufficient_quota"), "quota"),
    "credit (Anthropic)": (
        fails(400, "Your credit balance is too low to access the API.", type="invalid_request_error"), "Top it up"),
    "402": (fails(402, "Insufficient Balance"), "Top it up"),
    "credit under 200": (replies({"error": {"code": 402, "message": "Insufficient credits"}}), "Top it up"),
    "no credits (403)": (fails(403, "Your team does not have any credits"), "Top it up"),
    "quota of a day": (fails(429, "slow down", {"Retry-After": "90000"}), "patience"),
    "key": (fails(401, "Incorrect API key provided"), "API key"),
    "key (Gemini)": (
        replies([{"error": {"code": 400, "message": "API key not valid.", "status": "X"}}], 400), "API key"),
    "region": (
        fails(403, "Country, region, or territory not supported", code="unsupported_country_region_territory"),
        "not allowed"),
    "location (Gemini)": (fails(400, "User location is not supported for the API use."), "not allowed"),
    "model of another project": (fails(403, "Project p does not have access to model m"), "not allowed"),
    "model": (fails(404, "The model m does not exist"), "judge.model"),
    "model under 400": (fails(400, "m is not a valid model ID", code="model_not_found"), "judge.model"),
    "elsewhere": (lambda n, body, text: (308, {"Location": "https://other.example/v1"}, {}), "other.example"),
    "a field it does not know": (fails(400, "Unsupported value: 'temperature'"), "temperature"),
}  # fmt: skip

# Waited out, or tried again: an answer in the end.
WAITED: dict[str, Manner] = {
    "429": first(2, fails(429, "slow down", {"Retry-After": "0.05"}), OK),
    "429 under 200": first(3, replies({"error": {"code": 429, "message": "Rate limit exceeded"}}), OK),
    "429 under 200, in a choice": first(
        2, replies({"choices": [{"error": {"code": 429, "message": "x"}, "finish_reason": "error"}]}), OK
    ),
    "a minute's quota (Gemini)": first(
        1,
        replies(
            [{"error": {"code": 429, "message": "You exceeded your current quota, check your plan and billing",
                        "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "0.05s"}]}}], 429),
        OK,
    ),
    "overloaded under 200": first(1, replies({"error": {"message": "Overloaded", "type": "overloaded_error"}}), OK),
    "an error as text": first(1, replies({"error": "model is temporarily unavailable"}), OK),
    "finish reason error": first(1, says("", "error"), OK),
    "529": first(1, fails(529, "Overloaded"), OK),
    "empty once": first(1, says(""), OK),
}  # fmt: skip

# Asked in the form that it takes.
FORMS: dict[str, tuple[Manner, str]] = {
    "takes json_object": (
        takes(("json_object", "prompt"), fails(400, "This response_format type is unavailable now")), "json_object"),
    "takes neither": (takes(("prompt",), fails(422, "response_format: extra fields not permitted")), "prompt"),
    "says so with 500": (takes(("prompt",), fails(500, "Failed to parse grammar")), "prompt"),
    "FastAPI": (
        takes(("json_object",), replies({"detail": [{"loc": ["body", "response_format"], "msg": "unexpected"}]}, 422)),
        "json_object"),
    "takes it and heeds it not": (
        lambda n, body, text: (200, {}, chat(YES if "JSON schema" in text else "It holds, I think.")), "json_schema"),
}  # fmt: skip


def behaving(manner: Manner) -> Behave:
    """For rough_endpoint.endpoint."""

    async def behave(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        status, headers, reply = manner(n, body, await request.text())
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        return web.Response(body=data, status=status, headers={"Content-Type": "application/json", **headers})

    return behave


def by_name(manners: Mapping[str, Manner]) -> Manner:
    """The manner that a request's first line names, each with a count of its own calls."""
    calls: Counter[str] = Counter()

    def answer(n: int, body: dict[str, Any], text: str) -> Answer:
        name = str(body["messages"][0]["content"]).partition("\n")[0]
        calls[name] += 1
        return manners.get(name, OK)(calls[name] - 1, body, text)

    return answer
