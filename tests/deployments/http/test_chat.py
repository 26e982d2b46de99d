"""Chat completions: what of OpenAI's protocol does something here, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from http_app import IMAGE, Ask, chat, error_of

PICTURE = {"type": "image_url", "image_url": {"url": IMAGE}}
QUESTION = {"type": "text", "text": "How many?"}


def user(*parts: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "content": parts[0] if isinstance(parts[0], str) else list(parts)}


def content_of(ask: Ask, *messages: dict[str, Any], **fields: Any) -> str:
    response = ask("/v1/chat/completions", {"model": "valor", "messages": list(messages)} | fields)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]["message"]["content"]


def refusal_of(ask: Ask, *messages: dict[str, Any], **fields: Any) -> dict[str, str]:
    return error_of(ask("/v1/chat/completions", {"model": "valor", "messages": list(messages)} | fields), 400)


def events(ask: Ask, **fields: Any) -> list[Any]:
    response = ask("/v1/chat/completions", chat(stream=True, **fields))
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = response.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def test_chat_answers_and_traces_on_request(ask: Ask) -> None:
    message = ask("/v1/chat/completions", chat()).json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "1", "refusal": None}
    traced = ask("/v1/chat/completions", chat(trace=True)).json()["choices"][0]["message"]["valor"]
    assert traced["answer"] == 1 and len(traced["trace"]) == 2


def test_chat_streams_in_one_piece(ask: Ask) -> None:
    lines = ask("/v1/chat/completions", chat(stream=True)).text.split("\n\n")
    assert json.loads(lines[0].removeprefix("data: "))["choices"][0]["delta"]["content"] == "1"
    assert lines[2] == "data: [DONE]"


def test_chat_takes_the_last_question_and_keeps_the_picture(ask: Ask) -> None:
    before = [*chat()["messages"], {"role": "assistant", "content": "1"}]
    and_then, fail = ([*before, {"role": "user", "content": text}] for text in ("And?", "fail"))
    answered = ask("/v1/chat/completions", chat(messages=and_then)).json()["choices"][0]["message"]
    assert answered == {"role": "assistant", "content": "1", "refusal": None}
    assert error_of(ask("/v1/chat/completions", chat(messages=fail)), 502)["code"] == "policy"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"model": "gpt-5"}, 404, "model_not_found"),
        ({"model": None}, 404, "model_not_found"),
        ({"messages": None}, 400, "request"),
        ({"messages": []}, 400, "request"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "request"),
        ({"messages": [{"role": "user", "content": "no picture"}]}, 400, "image"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 400, "request"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "request"),
        ({"n": 2}, 400, "request"),
        ({"seed": -1}, 400, "request"),
    ],
)
def test_bad_chats_are_refused(ask: Ask, changes: dict[str, Any], status: int, code: str) -> None:
    assert error_of(ask("/v1/chat/completions", chat(**changes)), status)["code"] == code


def test_usage_is_what_the_engine_counted(ask: Ask) -> None:
    usage = ask("/v1/chat/completions", chat()).json()["usage"]
    assert usage == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_a_stream_ends_with_usage_only_when_asked(ask: Ask) -> None:
    plain = events(ask)
    assert all("usage" not in chunk and chunk["choices"] for chunk in plain)
    *chunks, last = events(ask, stream_options={"include_usage": True})
    assert [chunk["usage"] for chunk in chunks] == [None, None]
    assert last["choices"] == [] and last["usage"]["total_tokens"] == 7
    assert all("usage" not in chunk for chunk in events(ask, stream_options={"include_usage": False}))


def test_a_failure_has_its_status_also_when_a_stream_was_asked_for(ask: Ask) -> None:
    question = user({"type": "text", "text": "fail"}, PICTURE)
    asked = ask("/v1/chat/completions", chat(messages=[question], stream=True))
    assert error_of(asked, 502)["type"] == "server_error"


def test_one_picture_a_question(ask: Ask) -> None:
    for many in (2, 3):
        error = refusal_of(ask, user(QUESTION, *[PICTURE] * many))
        assert f"One picture a question: the last message with pictures has {many}" in error["message"]
        assert error["param"] == "messages"


def test_the_newest_picture_counts_and_older_ones_are_passed_over(ask: Ask) -> None:
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
    before = [user(QUESTION, broken, broken), {"role": "assistant", "content": "1"}]
    assert content_of(ask, *before, user(QUESTION, PICTURE)) == "1"
    assert content_of(ask, *before, user(PICTURE), user("And now?")) == "1"
    assert "One picture" in refusal_of(ask, *before, user("And now?"))["message"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "Be short."}, user(QUESTION, PICTURE)],
        [{"role": "developer", "content": [QUESTION]}, user(QUESTION, PICTURE)],
        [user(PICTURE), user("How many?")],  # as some clients send them apart
        [user(QUESTION, PICTURE), {"role": "assistant", "content": None, "tool_calls": []}],
        [user(QUESTION, PICTURE), {"role": "tool", "content": "x", "tool_call_id": "1"}],
        [user(QUESTION | {"cache_control": {}}, PICTURE | {"image_url": {"url": IMAGE, "detail": "low"}})],
        [user(QUESTION, {"type": "image_url", "image_url": IMAGE})],
        [user({"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": IMAGE})],
        [user({"type": "text", "text": "How"}, PICTURE, {"type": "text", "text": "many?"})],
    ],
)
def test_messages_as_clients_write_them_are_understood(ask: Ask, messages: list[dict[str, Any]]) -> None:
    assert content_of(ask, *messages) == "1"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "robot", "content": "How many?"},
        {"content": "How many?"},
        user({"type": "input_audio", "input_audio": {}}),
        user({"type": "image", "source": {"type": "base64", "data": "x"}}),
        user({"type": "image_url", "image_url": {"url": 7}}),
        user({"type": "image_url"}),
        user({"type": "text", "text": ["a"]}),
        {"role": "user", "content": {"text": "a"}},
        {"role": "user"},
    ],
)
def test_messages_that_say_something_else_are_refused(ask: Ask, message: dict[str, Any]) -> None:
    assert refusal_of(ask, message)["param"] == "messages"


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0, "top_p": 0.1, "frequency_penalty": 1, "presence_penalty": 1, "logit_bias": {}},
        {"max_tokens": 1, "max_completion_tokens": 1, "stop": ["1"], "user": "me", "metadata": {"a": "b"}},
        {"n": 1, "logprobs": False, "top_logprobs": 0, "response_format": {"type": "text"}},
        {"tools": [{"type": "function"}], "tool_choice": "auto", "parallel_tool_calls": False},
        {"stream": None, "stream_options": None, "seed": None, "trace": None, "n": None, "audio": None},
        {"modalities": ["text"], "store": True, "service_tier": "auto", "reasoning_effort": "low"},
        {"a_field_of_tomorrow": [1, {"a": 2}]},
    ],
)
def test_fields_that_tune_or_identify_change_nothing(ask: Ask, fields: dict[str, Any]) -> None:
    assert ask("/v1/chat/completions", chat(**fields)).json()["choices"][0]["message"]["content"] == "1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("n", "1"),
        ("seed", 1.5),
        ("seed", True),
        ("seed", "7"),
        ("seed", 2**31),
        ("stream", "false"),
        ("trace", 1),
        ("stream_options", {"include_usage": "yes"}),
        ("stream_options", True),
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
        ("logprobs", True),
        ("top_logprobs", 5),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy"}),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ("function_call", {"name": "f"}),
    ],
)
def test_fields_that_ask_for_another_kind_of_answer_are_refused(ask: Ask, name: str, value: Any) -> None:
    error = error_of(ask("/v1/chat/completions", chat(**{name: value})), 400)
    assert error["message"].startswith(f"`{name}` must be ") and error["param"] == name


def test_a_long_model_name_comes_back_in_part_only(ask: Ask) -> None:
    error = error_of(ask("/v1/chat/completions", chat(model="x" * 1_000_000)), 404)
    assert error["code"] == "model_not_found" and len(error["message"]) < 200
    assert error_of(ask("/v1/chat/completions", chat(model=["valor"])), 404)["param"] == "model"
