"""What an endpoint sends: any bytes and headers are an answer that stood there, a reason, or an end."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from valor_ray.judges.gateway.call.answer import read_answer
from valor_ray.judges.gateway.call.outcome import HttpKind, HttpOutcome
from valor_ray.judges.gateway.call.reply import outcome_of
from valor_ray.judges.gateway.call.schema import fits
from valor_ray.judges.gateway.call.waiting import LONGEST_S
from valor_ray.judges.plan_heads import SCHEMA
from valor_ray.untrusted.decode import REPLACED

VERDICTS = st.builds(
    lambda reason, verdict, more: {**more, "reason": reason, "verdict": verdict},
    st.text(max_size=20) | st.sampled_from(['{"verdict": "no"}', "</think>", "```", "\ud800"]),
    st.sampled_from(["yes", "no", "Yes", True, None, "yes no"]),
    st.just({}) | st.dictionaries(st.sampled_from(["sure", "verdict_", "answer"]), st.booleans(), max_size=1),
)
TEXTS = st.lists(
    VERDICTS.map(json.dumps)
    | st.text(max_size=15)
    | st.sampled_from(
        ["```json\n", "\n```", "<think>", "</think>", "{", "}", '{"', "[", "]", '"', "\\", ",", "<|im_end|>"]
    ),
    max_size=6,
).map("".join)
NAMES = st.sampled_from(
    ["error", "errors", "message", "code", "type", "status", "choices", "content", "refusal", "finish_reason", "detail",
     "usage", "prompt_tokens", "completion_tokens", "metadata", "details", "retryDelay", "promptFeedback", "tool_calls",
     "function", "arguments", "reasoning_content", "text", "innererror", "base_resp"]
)  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
COMPLETIONS = st.builds(
    lambda content, finish, usage, more: {
        "choices": [{"message": {"content": content, **more}, "finish_reason": finish}],
        "usage": usage,
    },
    TEXTS | JSON,
    st.sampled_from(["stop", "length", "content_filter", "error", None, 3, "SAFETY"]),
    JSON | st.fixed_dictionaries({"prompt_tokens": JSON, "completion_tokens": JSON}),
    st.dictionaries(NAMES, JSON | TEXTS, max_size=2),
)
BODIES = (
    (JSON | COMPLETIONS).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60)
    | st.tuples(COMPLETIONS, st.integers(0, 200), st.binary(max_size=4)).map(
        lambda cut: (data := json.dumps(cut[0]).encode())[: cut[1]] + cut[2] + data[cut[1] + 1 :]
    )
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset", "x-ratelimit-reset-tokens", "location",
         "x-ratelimit-remaining-tokens", "anthropic-ratelimit-requests-reset", "ratelimit-reset"]
    ),
    st.text(max_size=30) | st.integers(-5, 10**15).map(str) | st.datetimes().map(str)
    | st.from_regex(r"[0-9]{1,3}(ms|s|m|h)([0-9]{1,3}s)?", fullmatch=True),
    max_size=3,
)  # fmt: skip


def stood_in(content: Any, text: str) -> bool:
    """Whether the object stood in the text, as JSON or in a JSON text; half characters were replaced."""
    scan = json.JSONDecoder()
    texts, seen = [text], 0
    while texts and seen < 200:
        text, seen = texts.pop(), seen + 1
        for at, character in enumerate(text):
            if character not in '{["':
                continue
            try:
                value, _ = scan.raw_decode(text, at)
            except ValueError:
                continue
            whole = json.loads(re.sub("[\ud800-\udfff]", REPLACED, json.dumps(value, ensure_ascii=False)))
            if content in (value, whole):
                return True
            if isinstance(value, str) and value != text:
                texts.append(value)
    return False


@given(
    TEXTS,
    st.booleans(),
    st.sampled_from(["message.content", "message.tool_calls", "message.reasoning_content"]),
)
def test_an_accepted_answer_fits_the_schema_and_stood_in_the_text(text: str, cut: bool, place: str) -> None:
    content, why = read_answer(HttpOutcome(HttpKind.ANSWERED, text, 200, place=place, cut=cut), SCHEMA)
    assert (content is None) == bool(why) and len(why) < 600
    if content is not None:
        assert fits(content, SCHEMA) and stood_in(content, text)
        json.dumps(content, ensure_ascii=False).encode()


@given(VERDICTS, VERDICTS, TEXTS)
def test_two_verdicts_that_differ_are_never_one(first: Any, second: Any, between: str) -> None:
    text = f"{json.dumps(first)} {between} {json.dumps(second)}"
    content, _ = read_answer(HttpOutcome(HttpKind.ANSWERED, text, 200, place="message.content"), SCHEMA)
    if content is not None and "think" not in text:
        said = {str(value["verdict"]) for value in (first, second) if fits(value, SCHEMA)}
        assert said <= {content["verdict"]}


@given(
    st.sampled_from(
        [200, 201, 204, 301, 400, 401, 402, 403, 404, 407, 413, 422, 429, 451, 500, 503, 529, 999]
    ),
    HEADERS,
    BODIES,
)
def test_any_reply_is_an_outcome(status: int, headers: dict[str, str], body: bytes) -> None:
    outcome = outcome_of(status, headers, body)
    assert outcome.kind in HttpKind and (outcome.kind is not HttpKind.ANSWERED or 200 <= status < 300)
    assert outcome.retry_after_s is None or 0 <= outcome.retry_after_s <= LONGEST_S
    for tokens in (outcome.prompt_tokens, outcome.completion_tokens):
        assert tokens is None or (type(tokens) is int and 0 <= tokens <= 10**7)
    outcome.text.encode()
    if outcome.kind is HttpKind.ANSWERED:
        content, why = read_answer(outcome, SCHEMA)
        assert (content is None) == bool(why)
        assert content is None or (fits(content, SCHEMA) and stood_in(content, outcome.text))
    else:
        assert len(outcome.text) < 400 and outcome.text.isprintable()
