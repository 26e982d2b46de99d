"""Writers behind endpoints with the manners of real providers, over real HTTP: what counts as a reply, what is paid."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from rough_endpoint import Behave, endpoint, failed

from valor_ray.answer import MALFORMED, REFUSED, status_without_program, tokens_of
from valor_ray.config.models import PolicyConfig
from valor_ray.errors import ConfigError, PolicyError, QuestionError
from valor_ray.judges.gateway.ledger import Ledger
from valor_ray.program.parse import parse_reply
from valor_ray.records import Reply
from valor_ray.writers.writer import OpenWriter, open_writer, refuse_to_train

T = TypeVar("T")
GOOD = '<plan>\n1. Count.\n</plan>\n<answer>\nfinal_answer = len(gd_detect(img_pth, "ball"))\n</answer>'
QUESTION = "How many balls are there?"


def policy(url: str, **changes: Any) -> PolicyConfig:
    of_policy = {key: changes.pop(key) for key in list(changes) if key in PolicyConfig.model_fields}
    own = {"base_url": url, "model": "m", "api_key_env": None, "timeout_s": 30, "retries": 1, **changes}
    return PolicyConfig.model_validate({"model": "tabletop:policy", "endpoint": own, **of_policy})


def wrote(*texts: str | None, finish: str = "stop", **message: Any) -> web.Response:
    """A completion with a choice for each text."""
    choices = [
        {"index": i, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
        for i, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 100, "completion_tokens": 10 * len(texts)}
    return web.json_response({"object": "chat.completion", "choices": choices, "usage": usage})


def always(response: Callable[[dict[str, Any]], web.Response]) -> Behave:
    async def behave(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return response(body)

    return behave


def several(body: dict[str, Any]) -> web.Response:
    return wrote(*[f"{GOOD}{i}" for i in range(body.get("n", 1))])


def with_writer(config: PolicyConfig, folder: Path, use: Callable[[OpenWriter], Awaitable[T]]) -> T:
    async def once() -> T:
        ledger = Ledger(folder)
        writer = open_writer(config, ledger)
        try:
            return await use(writer)
        finally:
            await writer.close()
            ledger.close()

    return asyncio.run(once())


def ask(config: PolicyConfig, folder: Path, question: str = QUESTION, **more: Any) -> list[Reply]:
    return with_writer(config, folder, lambda writer: writer.generate(question, **more))


def test_system_and_question_are_one_message_and_the_sampling_is_the_policys(tmp_path: Path) -> None:
    with endpoint(always(several)) as rough:
        (reply,) = ask(policy(rough.url), tmp_path, seed=7)
        ask(policy(rough.url, merge_system=False, prompt="short"), tmp_path, seed=7)
    merged, apart = rough.bodies
    assert [message["role"] for message in merged["messages"]] == ["user"]
    assert merged["messages"][0]["content"].endswith(f"\n\nQuestion: {QUESTION}")
    assert [message["role"] for message in apart["messages"]] == ["system", "user"]
    sampling = {"temperature": 0.7, "top_p": 0.8, "max_tokens": 2000, "seed": 7}
    assert set(merged) == {"model", "messages", *sampling} and merged.items() >= sampling.items()
    assert parse_reply(reply.text).well_formed
    assert (reply.policy_version, reply.finish_reason, tokens_of(reply)) == ("m", "stop", (100, 10))


def test_extra_replaces_our_fields_and_null_leaves_them_out(tmp_path: Path) -> None:
    extra = {"temperature": None, "top_p": None, "max_completion_tokens": 9000, "seed": None, "top_k": 20}
    with endpoint(always(several)) as rough:
        ask(policy(rough.url, extra=extra), tmp_path)
    assert set(rough.bodies[0]) == {"model", "messages", "max_completion_tokens", "top_k"}


@pytest.mark.parametrize(
    ("thinking_as", "thinking", "sent"),
    [
        ("none", False, {}),
        ("chat_template", False, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("chat_template", True, {"chat_template_kwargs": {"enable_thinking": True}}),
        ("reasoning_effort", False, {"reasoning_effort": "none"}),
        ("reasoning_effort", True, {}),
    ],
)
def test_thinking_is_told_as_the_endpoint_wants_it(
    tmp_path: Path, thinking_as: str, thinking: bool, sent: dict[str, Any]
) -> None:
    with endpoint(always(several)) as rough:
        ask(policy(rough.url, thinking_as=thinking_as, thinking=thinking), tmp_path)
    (body,) = rough.bodies
    assert {name: body[name] for name in ("chat_template_kwargs", "reasoning_effort") if name in body} == sent


@pytest.mark.parametrize(
    "before",
    ["<think>Perhaps <plan>a</plan>?</think>\n", "Perhaps so.</think>", "Here is my program:\n"],
)
def test_thinking_and_words_before_the_tags_are_passed_over(tmp_path: Path, before: str) -> None:
    with endpoint(
        always(lambda body: wrote(before + GOOD, reasoning_content="Hm, <plan>no</plan>"))
    ) as rough:
        (reply,) = ask(policy(rough.url), tmp_path)
    assert parse_reply(reply.text) == parse_reply(GOOD)


@pytest.mark.parametrize(
    ("response", "status", "words"),
    [
        (
            lambda: wrote(None, refusal="I cannot help with that."),
            REFUSED,
            "declined: I cannot help with that.",
        ),
        (
            lambda: wrote("half a", finish="content_filter"),
            REFUSED,
            "took offence: finish_reason content_filter",
        ),
        (
            lambda: failed(400, "The prompt was flagged by our content policy"),
            REFUSED,
            "took offence: The prompt",
        ),
        (lambda: wrote("", finish="length"), MALFORMED, "cut at its token limit before it wrote any text"),
        (
            lambda: wrote("", finish="length", reasoning_content="Hm"),
            MALFORMED,
            "it thought, and wrote nothing",
        ),
    ],
)
def test_a_refusal_and_a_cut_are_replies_without_text_and_kept_like_any(
    tmp_path: Path, response: Callable[[], web.Response], status: str, words: str
) -> None:
    with endpoint(always(lambda body: response())) as rough:
        first = ask(policy(rough.url), tmp_path, seed=1)
        again = ask(policy(rough.url), tmp_path, seed=1)
    assert rough.calls == 1 and first[0].text == again[0].text == ""
    assert words in first[0].nothing and first[0].nothing == again[0].nothing
    assert status_without_program(first[0]) == status


def test_an_empty_reply_is_asked_for_once_more_and_a_cut_text_keeps_what_there_is(tmp_path: Path) -> None:
    async def empty_first(n: int, body: dict[str, Any], request: web.Request) -> web.StreamResponse:
        return wrote("" if n == 0 else GOOD)

    with endpoint(empty_first) as rough:
        assert ask(policy(rough.url), tmp_path / "a")[0].text == GOOD and rough.calls == 2
    for nothing in ({}, {"reasoning_content": GOOD}):  # a program where it thinks is a draft
        with endpoint(always(lambda body, nothing=nothing: wrote("", **nothing))) as rough:
            (reply,) = ask(policy(rough.url), tmp_path / str(len(nothing)))
        assert rough.calls == 2 and (reply.text, reply.finish_reason) == ("", "empty")
        assert "gave an empty reply" in reply.nothing and status_without_program(reply) == MALFORMED
    with endpoint(always(lambda body: wrote("<plan>1. Cou", finish="length"))) as rough:
        (reply,) = ask(policy(rough.url), tmp_path / "cut")
    assert (reply.text, reply.finish_reason, reply.nothing) == ("<plan>1. Cou", "length", "")


def test_samples_of_a_seed_come_in_one_call_and_only_new_ones_are_paid_for(tmp_path: Path) -> None:
    with endpoint(always(several)) as rough:
        config = policy(rough.url, price_in=1, price_out=10)
        four = ask(config, tmp_path, n=4, seed=3)
        eight = ask(config, tmp_path, n=8, seed=3)
        ask(config, tmp_path, n=8, seed=3)
        ask(config, tmp_path, n=1, seed=4)
    assert [body.get("n") for body in rough.bodies] == [4, 4, None]
    assert len({body["seed"] for body in rough.bodies}) == 3
    assert [reply.text for reply in four] == [f"{GOOD}{i}" for i in range(4)]
    assert [reply.text for reply in eight] == [f"{GOOD}{i % 4}" for i in range(8)]
    assert sum(reply.cost_usd for reply in four) == pytest.approx((100 * 1 + 40 * 10) / 1e6)
    assert sum(reply.cost_usd for reply in eight) == pytest.approx((100 * 1 + 40 * 10) / 1e6)
    assert sum(tokens_of(reply)[1] for reply in four) == 40


def test_without_a_seed_replies_are_new_ones(tmp_path: Path) -> None:
    with endpoint(always(several)) as rough:
        ask(policy(rough.url), tmp_path)
        ask(policy(rough.url), tmp_path)
    assert rough.bodies[0]["seed"] != rough.bodies[1]["seed"]


def no_n(body: dict[str, Any]) -> web.Response:
    return failed(400, "Multiple candidates is not enabled for this model") if "n" in body else wrote(GOOD)


@pytest.mark.parametrize(
    ("answers", "word", "calls"),
    [(no_n, "does not take n", 4), (lambda body: wrote(GOOD), "fewer replies", 3)],
)
def test_where_n_is_refused_or_not_heeded_each_sample_is_asked_for_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answers: Any, word: str, calls: int
) -> None:
    async def twice(writer: OpenWriter) -> list[Reply]:
        first = await writer.generate(QUESTION, n=3, seed=0)
        return first + await writer.generate(QUESTION, n=2, seed=1)

    with endpoint(always(answers)) as rough, caplog.at_level(logging.WARNING):
        replies = with_writer(policy(rough.url), tmp_path, twice)
    assert len(replies) == 5 and all(reply.text == GOOD for reply in replies)
    assert rough.calls == calls + 2 and sum("n" in body for body in rough.bodies) == 1
    assert len({body["seed"] for body in rough.bodies}) == 5
    assert sum(word in record.getMessage() for record in caplog.records) == 1


def test_many_first_questions_at_a_time_do_not_take_a_refused_n_for_the_end(tmp_path: Path) -> None:
    async def many(writer: OpenWriter) -> list[list[Reply]]:
        return await asyncio.gather(*(writer.generate(f"{QUESTION} {i}", n=2, seed=0) for i in range(12)))

    with endpoint(always(no_n)) as rough:
        replies = with_writer(policy(rough.url), tmp_path, many)
    assert all(reply.text == GOOD for pair in replies for reply in pair)


PICKY = {
    "OpenAI's o-series": (
        {"max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
         "'max_completion_tokens' instead.",
         "temperature": "Unsupported value: 'temperature' does not support 0.7 with this model.",
         "top_p": "Unsupported parameter: 'top_p' is not supported with this model."},
        {"max_completion_tokens", "seed"},
    ),
    "Mistral": ({"seed": "extra_forbidden body seed Extra inputs are not permitted"},
                {"temperature", "top_p", "max_tokens"}),
    "Google": ({"seed": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'},
               {"temperature", "top_p", "max_tokens"}),
}  # fmt: skip


@pytest.mark.parametrize("manner", list(PICKY))
def test_a_field_that_is_refused_by_name_is_left_out_from_then_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, manner: str
) -> None:
    refusals, taken = PICKY[manner]

    def picky(body: dict[str, Any]) -> web.Response:
        words = next((words for name, words in refusals.items() if name in body), None)
        return wrote(GOOD) if words is None else failed(400, words)

    async def many(writer: OpenWriter) -> None:
        await asyncio.gather(*(writer.generate(f"{QUESTION} {i}", seed=0) for i in range(10)))
        await writer.generate(QUESTION, seed=0)

    with endpoint(always(picky)) as rough, caplog.at_level(logging.WARNING):
        with_writer(policy(rough.url), tmp_path, many)
    assert set(rough.bodies[-1]) == {"model", "messages", *taken}
    assert rough.calls == 10 * (1 + len(refusals)) + 1
    assert sum("does not take" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "max_tokens is too large: 2000. This model takes at most 1024."),  # a value, not the field
        (400, "This model's maximum context length is 4096 tokens, however you requested 5000 tokens"),
        (413, "too large"),
    ],
)
def test_a_refused_request_is_the_questions_fault_and_is_not_kept(
    tmp_path: Path, status: int, words: str
) -> None:
    with endpoint(always(lambda body: failed(status, words))) as rough:
        for _ in range(2):
            with pytest.raises(QuestionError, match=words[:20]):
                ask(policy(rough.url), tmp_path, seed=0)
    assert rough.calls == 2


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (lambda: failed(401, "bad key"), "the writer at http"),
        (
            lambda: failed(429, "You exceeded your current quota, please check your plan and billing"),
            "no quota",
        ),
        (lambda: failed(404, "no such model"), "Check policy.endpoint.model"),
        (lambda: failed(503, "down"), "HTTP 503 from the writer"),
        (lambda: web.Response(text="<html>"), "gave no completion"),
    ],
)
def test_what_hinders_every_reply_is_told_with_the_settings_name(
    tmp_path: Path, response: Callable[[], web.Response], words: str
) -> None:
    with endpoint(always(lambda body: response())) as rough, pytest.raises(PolicyError) as caught:
        ask(policy(rough.url), tmp_path)
    assert words in str(caught.value) and "judge" not in str(caught.value)


def test_a_limit_in_dollars_ends_the_writing(tmp_path: Path) -> None:
    with endpoint(always(several)) as rough, pytest.raises(PolicyError) as caught:
        config = policy(rough.url, price_in=1, price_out=10, max_cost_usd=0.000001)
        ask(config, tmp_path)
    assert rough.calls == 0 and "policy.endpoint.max_cost_usd=1e-06 is reached" in str(caught.value)


def test_a_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WRITER_KEY", raising=False)
    ledger = Ledger(tmp_path)
    with pytest.raises(ConfigError, match=r"WRITER_KEY \(named by policy.endpoint.api_key_env\) is not set"):
        open_writer(policy("http://127.0.0.1:9/v1", api_key_env="WRITER_KEY"), ledger)
    ledger.close()


def test_an_endpoint_cannot_be_trained() -> None:
    refuse_to_train(PolicyConfig(model="tabletop:policy"))
    with pytest.raises(ConfigError, match="cannot be trained: an endpoint has no weights"):
        refuse_to_train(policy("http://127.0.0.1:9/v1"))


def test_the_key_stands_in_no_reply_of_any_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WRITER_KEY", "sk-planted-secret")
    with endpoint(always(lambda body: wrote("a", "b sk-planted-secret"))) as rough:
        replies = ask(policy(rough.url, api_key_env="WRITER_KEY"), tmp_path, n=2, seed=0)
    assert [reply.text for reply in replies] == ["a", "b …"]


def test_a_whole_prompt_is_sent_as_it_is(tmp_path: Path) -> None:
    async def once(rough_url: str) -> None:
        ledger = Ledger(tmp_path)
        writer = open_writer(policy(rough_url), ledger, whole=True)
        await writer.generate("Write a VisProg program.", seed=0)
        await writer.close()
        ledger.close()

    with endpoint(always(several)) as rough:
        asyncio.run(once(rough.url))
    assert rough.bodies[0]["messages"] == [{"role": "user", "content": "Write a VisProg program."}]
